/* Question: does a program lock all of its memory, present and future, within its limit? */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

enum { LENGTH = 1 << 20 };

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

/* How many of the first pages at `memory` are in RAM. */
static int present(void *memory)
{
    unsigned char pages[LENGTH / 4096];
    int count = 0;
    if (mincore(memory, LENGTH, pages) != 0)
        return -errno;
    for (size_t i = 0; i < sizeof pages; i++)
        count += pages[i] & 1;
    return count;
}

static void *map(int protection, int more)
{
    void *memory = mmap(NULL, LENGTH, protection, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Locked memory cannot be dropped: madvise(2) tells which it is. */
static void is_locked(const char *what, void *memory)
{
    if (memory == NULL) {
        show(what, -1);
        return;
    }
    printf("%s: ", what);
    show("dropped", madvise(memory, LENGTH, MADV_DONTNEED));
}

static void limits(void)
{
    struct rlimit small = {4 << 20, 4 << 20}, none = {0, 0};
    if (setgid(1000) != 0 || setuid(1000) != 0) {
        puts("no such user");
        return;
    }
    setrlimit(RLIMIT_MEMLOCK, &small);
    void *large = mmap(NULL, 32 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("more than the limit", mlockall(MCL_CURRENT));
    show("more than the limit, on fault", mlockall(MCL_CURRENT | MCL_ONFAULT));
    show("the future only", mlockall(MCL_FUTURE));
    void *fits = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("a map within the limit", fits == MAP_FAILED ? -1 : 0);
    void *more = mmap(NULL, 8 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("a map beyond the limit", more == MAP_FAILED ? -1 : 0);
    char *heap = sbrk(0);
    show("a heap beyond the limit", sbrk(8 << 20) == (void *)-1 ? -1 : 0);
    printf("it stayed: %d\n", sbrk(0) == heap);
    show("the future on fault", mlockall(MCL_FUTURE | MCL_ONFAULT));
    more = mmap(NULL, 8 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show("a map beyond the limit, on fault", more == MAP_FAILED ? -1 : 0);
    show("a heap beyond the limit, on fault", sbrk(8 << 20) == (void *)-1 ? -1 : 0);
    printf("it stayed: %d\n", sbrk(0) == heap);
    munlockall();
    munmap(large, 32 << 20);
    setrlimit(RLIMIT_MEMLOCK, &none);
    show("no limit left", mlockall(MCL_CURRENT));
    show("no limit left, future", mlockall(MCL_FUTURE));
    show("unlocking is free", munlockall());
}

int main(void)
{
    show("nothing", mlockall(0));
    show("unknown", mlockall(8));
    show("only on fault", mlockall(MCL_ONFAULT));
    show("unlocked before", munlockall());

    void *before = map(PROT_READ | PROT_WRITE, 0), *none = map(PROT_NONE, 0);
    printf("before: %d\n", present(before));
    show("current", mlockall(MCL_CURRENT));
    printf("before: %d, none: %d\n", present(before), present(none));
    is_locked("before", before);
    void *after = map(PROT_READ | PROT_WRITE, 0);
    printf("after: %d\n", present(after));
    is_locked("after", after);

    show("future", mlockall(MCL_FUTURE));
    after = map(PROT_READ | PROT_WRITE, 0);
    printf("after: %d\n", present(after));
    is_locked("after", after);
    char *heap = sbrk(LENGTH);
    is_locked("heap", (void *)(((unsigned long)heap + 4095) & ~4095UL));
    int segment = shmget(IPC_PRIVATE, LENGTH, 0600);
    void *shared = shmat(segment, NULL, 0);
    printf("segment: %d\n", present(shared));
    show("detached", shmdt(shared));
    shmctl(segment, IPC_RMID, NULL);

    int status;
    if (fork() == 0) {
        is_locked("child's copy", after);
        is_locked("child's own", map(PROT_READ | PROT_WRITE, 0));
        _exit(4);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));

    show("unlocked", munlockall());
    is_locked("after", after);
    is_locked("new", map(PROT_READ | PROT_WRITE, 0));

    show("future on fault", mlockall(MCL_FUTURE | MCL_ONFAULT));
    char *touched = map(PROT_READ | PROT_WRITE, MAP_NORESERVE);
    madvise(touched, LENGTH, MADV_NOHUGEPAGE);
    touched[0] = 1;
    printf("touched: %d\n", present(touched));
    is_locked("on fault", touched);
    void *moved = mremap(touched, LENGTH, 2 * LENGTH, MREMAP_MAYMOVE);
    is_locked("grown", moved);
    show("unlocked again", munlockall());
    if (fork() == 0) {
        limits();
        _exit(5);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    return 0;
}
