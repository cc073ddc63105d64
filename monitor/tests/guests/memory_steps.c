/* Question: how much memory does a program have after each thing it does with it? Whoever runs it asks for
   the next step with a line, and looks from outside. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };
static const size_t MIB = 1 << 20;

static void done(const char *what)
{
    static char line[16];
    printf("%s\n", what);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(0);
}

static char *map(size_t size)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

static void touch(char *at, size_t size, size_t step)
{
    for (size_t i = 0; i < size; i += step)
        at[i] = 1;
}

/* Writes the first bytes of a mapping and makes it longer. */
static char *grow(char *at, size_t size, size_t to, size_t written)
{
    touch(at, written, PAGE);
    at = mremap(at, size, to, MREMAP_MAYMOVE);
    if (at == MAP_FAILED) {
        perror("mremap");
        exit(1);
    }
    return at;
}

static void ordered(void)
{
    char *all = map(64 * MIB);
    touch(all, 64 * MIB, PAGE);
    done("64 MiB written");
    all = grow(all, 64 * MIB, 128 * MIB, 0);
    touch(all + 64 * MIB, 64 * MIB, PAGE);
    done("grown to 128 MiB and written");
}

static void returned(void)
{
    char *all = map(64 * MIB);
    touch(all, 64 * MIB, PAGE);
    done("64 MiB written");
    madvise(all, 16 * MIB, MADV_DONTNEED);
    done("16 MiB of it given up");
    munmap(all + 48 * MIB, 16 * MIB);
    done("16 MiB of it unmapped");
    mmap(all + 16 * MIB, 16 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    done("16 MiB of it replaced");
    munmap(all, 48 * MIB);
    done("all of it unmapped");
    char *heap = sbrk(32 * MIB);
    touch(heap, 32 * MIB, PAGE);
    done("32 MiB of heap written");
    sbrk(-32 * (long)MIB);
    done("the heap shrunk");
}

static void sparse(void)
{
    char *all = map(256 * MIB);
    touch(all, 256 * MIB, 2 * MIB);
    done("a page of each 2 MiB written");
    touch(all, 256 * MIB, 64 << 10);
    done("a page of each 64 KiB written");
    munmap(all, 256 * MIB);
    all = map(256 * MIB);
    for (unsigned i = 0, page = 1; i < 4096; i++, page = page * 75 % 65537)
        all[(size_t)(page % 65536) * PAGE] = 1;
    done("4096 pages written at random");
    munmap(all, 256 * MIB);
    all = map(256 * MIB);
    touch(all, 32 * MIB, PAGE);
    touch(all + 32 * MIB, 224 * MIB, 2 * MIB);
    done("32 MiB written, and a page of each 2 MiB behind them");
    munmap(all, 256 * MIB);
    done("and unmapped");
    all = grow(map(64 * MIB), 64 * MIB, 256 * MIB, 4 * MIB);
    touch(all, 256 * MIB, 2 * MIB);
    done("4 MiB of 64 written, grown to 256, and a page of each 2 MiB");
    all = grow(all, 256 * MIB, 384 * MIB, 0);
    touch(all, 384 * MIB, 2 * MIB);
    done("grown to 384, and a page of each 2 MiB");
    munmap(all, 384 * MIB);
    for (int i = 0; i < 100; i++) {
        touch(all = map(MIB), MIB, PAGE);
        munmap(all, MIB);
    }
    for (int i = 0; i < 64; i++)
        map(MIB)[0] = 1;
    done("64 mappings of 1 MiB begun, when 100 had been written");
}

/* Mappings and steps of the heap that stay. */
static void staying(void)
{
    for (int i = 0; i < 60; i++)
        touch(map(MIB), MIB, PAGE);
    done("60 mappings of 1 MiB written");
    for (int i = 0; i < 64; i++)
        map(MIB)[0] = 1;
    done("and 64 begun");
    for (int i = 0; i < 60; i++)
        touch(sbrk(128 << 10), 128 << 10, PAGE);
    done("60 steps of the heap written");
    for (int i = 0; i < 64; i++)
        *(char *)sbrk(128 << 10) = 1;
    done("and 64 more begun");
}

static char look(const char *at, size_t size)
{
    char all = 0;
    for (size_t i = 0; i < size; i += PAGE)
        all |= ((const volatile char *)at)[i];
    return all;
}

/* What is read and not written is the one page of zeros, however often. */
static void read_mostly(void)
{
    char *all = map(256 * MIB);
    for (size_t i = 0; i < 256 * MIB; i += 2 * MIB) {
        all[i] = 1;
        look(all + i, 2 * MIB);
    }
    done("256 MiB read in order, and a page of each 2 MiB written");
    munmap(all, 256 * MIB);
    for (int i = 0; i < 100; i++) {
        look(all = map(MIB), MIB);
        munmap(all, MIB);
    }
    for (int i = 0; i < 64; i++)
        map(MIB)[0] = 1;
    done("64 mappings of 1 MiB begun, when 100 had been read");
}

static void moving(long times)
{
    char *base = (char *)(257L << 30);
    for (long i = 0; i < times; i++) {
        char *wish = base + i * 2 % (160 << 10) * (long)MIB;
        char *at = mmap(wish, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            perror("mmap");
            exit(1);
        }
        *at = 1;
        munmap(at, PAGE);
    }
    done("a page mapped at ever new places");
}

static void *wait(void *unused)
{
    pause();
    return unused;
}

static void threads(long count)
{
    pthread_t thread;
    while (count--)
        if (pthread_create(&thread, NULL, wait, NULL) != 0)
            exit(1);
    done("threads wait");
}

int main(int argc, char **argv)
{
    done("begun");
    if (strcmp(argv[1], "returned") == 0)
        returned();
    else if (strcmp(argv[1], "sparse") == 0)
        sparse();
    else if (strcmp(argv[1], "staying") == 0)
        staying();
    else if (strcmp(argv[1], "read-mostly") == 0)
        read_mostly();
    else if (strcmp(argv[1], "ordered") == 0)
        ordered();
    else if (strcmp(argv[1], "moving") == 0)
        moving(argc > 2 ? atol(argv[2]) : 1);
    else
        threads(argc > 2 ? atol(argv[2]) : 1);
    return 0;
}
