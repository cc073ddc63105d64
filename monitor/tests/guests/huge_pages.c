/* Question: is memory that is written in order what it is on Linux, whatever the monitor puts behind it? */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };
static const size_t MIB = 1 << 20;

static char *map(size_t size, int flags)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

/* So much that no neighbour becomes one mapping with it, whose huge pages would be counted, too. */
static char *map_apart(size_t size)
{
    char *at = map(size + 2 * PAGE, 0);
    mprotect(at, PAGE, PROT_NONE);
    mprotect(at + PAGE + size, PAGE, PROT_NONE);
    return at + PAGE;
}

static void fill(char *at, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i += PAGE)
        *(uint64_t *)(at + i) = seed + i;
}

static int holds(const char *at, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i += PAGE)
        if (*(const uint64_t *)(at + i) != seed + i || at[i + PAGE - 1] != 0)
            return 0;
    return 1;
}

static int is_zero(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i += PAGE)
        if (at[i] || at[i + PAGE - 1])
            return 0;
    return 1;
}

/* KiB of huge pages in the mappings of so many bytes from `at`. */
static long huge(const char *at, size_t size)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[256];
    unsigned long start, end;
    long kib, sum = 0;
    int inside = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = start < (uintptr_t)at + size && end > (uintptr_t)at;
        else if (inside && sscanf(line, "AnonHugePages: %ld", &kib) == 1)
            sum += kib;
    }
    if (!maps)
        return -1;
    fclose(maps);
    return sum;
}

/* Whether every program gets huge pages, asked for or not, wherever a mapping happens to begin. */
static int are_for_all(void)
{
    FILE *setting = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    char line[64] = "";
    if (setting) {
        if (!fgets(line, sizeof line, setting))
            line[0] = 0;
        fclose(setting);
    }
    return strstr(line, "[always]") != NULL;
}

/* Fills 20 MiB, and then the first 2 anew. KiB of huge pages in these. */
static long huge_again(char *at)
{
    fill(at, 20 * MIB, 13);
    madvise(at, 2 * MIB, MADV_DONTNEED);
    fill(at, 2 * MIB, 14);
    return huge(at, 2 * MIB);
}

static void moves(void)
{
    char *at = map(24 * MIB, 0);
    fill(at, 24 * MIB, 1);
    char *away = mremap(at, 24 * MIB, 64 * MIB, MREMAP_MAYMOVE);
    printf("grows: %d, keeps its content: %d\n", away != MAP_FAILED, holds(away, 24 * MIB, 1));
    printf("what is new is zero: %d\n", is_zero(away + 24 * MIB, 40 * MIB));
    fill(away, 64 * MIB, 2);
    char *to = map(64 * MIB, 0);
    to = mremap(away + 8 * MIB, 48 * MIB, 48 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    printf("moves a part: %d\n", to != MAP_FAILED && holds(to, 48 * MIB, 2 + 8 * MIB));
    away = mremap(to, 48 * MIB, 6 * MIB + PAGE, 0);
    printf("shrinks: %d\n", away == to && holds(to, 6 * MIB + PAGE, 2 + 8 * MIB));
}

static void changes(void)
{
    char *at = map(32 * MIB, 0);
    fill(at, 32 * MIB, 3);
    munmap(at + 9 * MIB, 3 * PAGE);
    mprotect(at + 13 * MIB + PAGE, 3 * MIB, PROT_READ);
    madvise(at + 20 * MIB, 5 * MIB + PAGE, MADV_DONTNEED);
    printf("all around is kept: %d %d %d\n", holds(at, 9 * MIB, 3),
           holds(at + 13 * MIB, 7 * MIB, 3 + 13 * MIB),
           holds(at + 26 * MIB, 6 * MIB, 3 + 26 * MIB));
    printf("what was given up is zero: %d\n", is_zero(at + 20 * MIB, 5 * MIB + PAGE));
    char *again = mmap(at + 9 * MIB, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("what is mapped anew is zero: %d\n", is_zero(again, PAGE));
    at = mmap(NULL, 32 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 32; i += 8) {
        mprotect(at + i * MIB, 8 * MIB, PROT_READ | PROT_WRITE);
        fill(at + i * MIB, 8 * MIB, 4 + i * MIB);
    }
    printf("made accessible in parts: %d\n", holds(at, 32 * MIB, 4));
    mprotect(at, 32 * MIB, PROT_READ | PROT_WRITE | PROT_EXEC);
    at[7 * MIB] = (char)0xc3;
    ((void (*)(void))(uintptr_t)(at + 7 * MIB))();
    mprotect(at, 32 * MIB, PROT_READ | PROT_WRITE);
    printf("it was code, and is data again: %d\n", holds(at + 8 * MIB, 24 * MIB, 4 + 8 * MIB));
}

static void children(void)
{
    char *at = map(32 * MIB, 0);
    int status;
    fill(at, 16 * MIB, 5);
    pid_t child = fork();
    if (child == 0) {
        int same = holds(at, 16 * MIB, 5);
        fill(at, 32 * MIB, 6);
        _exit(same && holds(at, 32 * MIB, 6) ? 0 : 1);
    }
    waitpid(child, &status, 0);
    printf("a child has its own: %d\n", status);
    printf("the parent's is unchanged: %d %d\n", holds(at, 16 * MIB, 5), is_zero(at + 16 * MIB, 16 * MIB));
    fill(at + 16 * MIB, 16 * MIB, 7);
    printf("and goes on: %d\n", holds(at + 16 * MIB, 16 * MIB, 7));
}

static char *shared;

static void *fill_part(void *number)
{
    size_t part = (uintptr_t)number;
    for (size_t i = part * 256 << 10; i < 32 * MIB; i += MIB)
        fill(shared + i, 256 << 10, i);
    return NULL;
}

static void threads(void)
{
    pthread_t thread[4];
    shared = map(32 * MIB, 0);
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, fill_part, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    printf("four threads filled it: %d\n", holds(shared, 32 * MIB, 0));
}

static void again(void)
{
    for (size_t size = 64 << 10; size <= 16 * MIB; size *= 4)
        for (int i = 0; i < 40; i++) {
            char *at = map(size, 0);
            if (!is_zero(at, size))
                printf("%zu bytes were not zero, %d\n", size, i);
            fill(at, size, 8);
            munmap(at, size);
        }
    printf("what comes and goes begins as zero\n");
}

static void refused(void)
{
    char *at = map(16 * MIB, 0);
    madvise(at, 16 * MIB, MADV_NOHUGEPAGE);
    fill(at, 16 * MIB, 9);
    printf("huge pages where the program wants none: %ld\n", huge(at, 16 * MIB));
    char *to = mremap(at, 16 * MIB, 24 * MIB, MREMAP_MAYMOVE);
    fill(to, 24 * MIB, 10);
    printf("and when it has grown: %ld\n", huge(to, 24 * MIB));
    /* No mapping of this length has come and gone. */
    at = map(20 * MIB, 0);
    madvise(at, 2 * MIB, MADV_NOHUGEPAGE);
    printf("where it wants none at the beginning: %ld\n", huge_again(at));
    at = map(20 * MIB, 0);
    munmap(at, 2 * MIB);
    mmap(at, 2 * MIB, PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_FIXED, -1, 0);
    printf("in a stack before it: %ld\n", are_for_all() ? 0 : huge_again(at));
    at = map(16 * MIB, MAP_STACK);
    fill(at, 16 * MIB, 11);
    printf("in a stack: %ld\n", are_for_all() ? 0 : huge(at, 16 * MIB));
    at = map(20 * MIB, MAP_NORESERVE);
    fill(at, 20 * MIB, 15);
    printf("without reserve: %ld\n", are_for_all() ? 0 : huge(at, 20 * MIB));
    at = map(20 * MIB, 0);
    syscall(SYS_mbind, at, 20 * MIB, 0 /* MPOL_DEFAULT */, NULL, 0, 0);
    fill(at, 20 * MIB, 16);
    printf("where it says whose node's pages: %ld\n", are_for_all() ? 0 : huge(at, 20 * MIB));
    printf("switched off: %d\n", prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    at = map_apart(16 * MIB);
    fill(at, 16 * MIB, 12);
    printf("huge pages then: %ld\n", huge(at, 16 * MIB));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    moves();
    changes();
    children();
    threads();
    again();
    refused();
    return 0;
}
