/* Question: do anonymous mappings behave: fixed, holes, protection, growth, reserve, refusals? */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096L
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static int error_of(void *at) { return at == MAP_FAILED ? errno : 0; }
static int failed(int result) { return result ? errno : 0; }

static void refusals(void)
{
    printf("length 0: %d\n", error_of(mmap(NULL, 0, RW, ANON, -1, 0)));
    printf("neither shared nor private: %d\n", error_of(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0)));
    printf("odd fixed address: %d\n",
           error_of(mmap((void *)0x10001, PAGE, RW, ANON | MAP_FIXED, -1, 0)));
    printf("more than there is: %d\n", error_of(mmap(NULL, 1UL << 62, RW, ANON, -1, 0)));
    printf("munmap of length 0: %d\n", failed(munmap((void *)0x10000, 0)));
    printf("munmap of nothing: %d\n", failed(munmap((void *)0x10000, PAGE)));
    printf("mprotect of nothing: %d\n", failed(mprotect((void *)0x10000, PAGE, RW)));
}

static void holes(void)
{
    char *at = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);
    memset(at, 1, 8 * PAGE);
    printf("hole: %d\n", failed(munmap(at + 2 * PAGE, PAGE)));
    printf("msync across it: %d\n", failed(msync(at, 8 * PAGE, MS_ASYNC)));
    printf("mprotect across it: %d\n", failed(mprotect(at, 8 * PAGE, PROT_READ)));
    printf("no replacing: %d\n",
           error_of(mmap(at, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)));
    char *back = mmap(at + 2 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    printf("filled again: %d, zero: %d\n", back == at + 2 * PAGE, back[0] == 0);
    char *over = mmap(at, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    printf("replaced: %d, zero: %d\n", over == at, over[7 * PAGE] == 0);
    printf("a hint that is free is taken: %d\n",
           munmap(at, 8 * PAGE) == 0 && mmap(at, PAGE, RW, ANON, -1, 0) == at);
}

static void growth(void)
{
    char *at = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
    strcpy(at + 3 * PAGE, "kept");
    char *moved = mremap(at, 4 * PAGE, 4096 * PAGE, MREMAP_MAYMOVE);
    printf("grown: %s, zero: %d\n", moved + 3 * PAGE, moved[4000 * PAGE] == 0);
    char *shrunk = mremap(moved, 4096 * PAGE, PAGE, 0);
    printf("shrunk in place: %d\n", shrunk == moved);
    printf("madvise: %d\n", failed(madvise(shrunk, PAGE, MADV_DONTNEED)));
    printf("forgotten: %d\n", shrunk[0] == 0);
}

static void code(void)
{
    unsigned char *at = mmap(NULL, PAGE, RW, ANON, -1, 0);
    memcpy(at, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
    printf("made executable: %d\n", failed(mprotect(at, PAGE, PROT_READ | PROT_EXEC)));
    printf("returns %d\n", ((int (*)(void))at)());
}

static void reserve(void)
{
    char *at = mmap(NULL, 64L << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    printf("64 GiB reserved: %d\n", error_of(at));
    printf("a page of it: %d\n", failed(mprotect(at + (32L << 30), PAGE, RW)));
    at[32L << 30] = 1;
    printf("given back: %d\n", failed(munmap(at, 64L << 30)));
}

static void many(void)
{
    char *at = mmap(NULL, 2000 * PAGE, RW, ANON, -1, 0);
    int wrong = 0;
    for (long i = 0; i < 2000; i += 2)
        wrong += mprotect(at + i * PAGE, PAGE, PROT_READ) != 0;
    for (long i = 1; i < 2000; i += 2)
        at[i * PAGE] = (char)i;
    for (long i = 0; i < 2000; i++)
        wrong += at[i * PAGE] != (i % 2 ? (char)i : 0);
    printf("2000 areas, wrong: %d\n", wrong);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    refusals();
    holes();
    growth();
    code();
    reserve();
    many();
    return 0;
}
