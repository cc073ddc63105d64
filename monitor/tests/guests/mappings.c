/* Question: does every flag of the mapping calls do, and every mistake get, what it does on Linux? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

#define PAGE 4096L
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static int failed(long result) { return result == -1 ? errno : 0; }
static int error_of(void *at) { return at == MAP_FAILED ? errno : 0; }

static sigjmp_buf back;
static siginfo_t last;

static void caught(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    last = *info;
    siglongjmp(back, 1);
}

/* How an access ends: 0, or the signal and its code; the address must be the one touched. */
static int touch(volatile char *at, int write)
{
    if (sigsetjmp(back, 1))
        return last.si_signo * 100 + last.si_code + 10000 * (last.si_addr != at);
    if (write)
        *at = 1;
    else
        (void)*at;
    return 0;
}

static void call(volatile unsigned char *at, const char *what)
{
    if (sigsetjmp(back, 1)) {
        printf("%s: %d\n", what, last.si_signo * 100 + last.si_code);
        return;
    }
    ((void (*)(void))(uintptr_t)at)();
    printf("%s: returned\n", what);
}

static void flags(void)
{
    struct { int flags; const char *name; } cases[] = {
        { MAP_POPULATE, "populate" },   { MAP_LOCKED, "locked" },
        { MAP_NORESERVE, "noreserve" }, { MAP_STACK, "stack" },
        { MAP_NONBLOCK | MAP_POPULATE, "nonblock" },
        { 0x4000000, "uninitialized" }, { MAP_32BIT, "32 bit" },
        { MAP_DENYWRITE, "denywrite" }, { MAP_EXECUTABLE, "executable" },
        { MAP_HUGETLB, "huge" },        { MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), "2 MiB" },
        { MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), "1 GiB" },
        { MAP_HUGETLB | (13 << MAP_HUGE_SHIFT), "8 KiB" },
        { MAP_SYNC, "sync" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int type = MAP_SHARED; type <= MAP_SHARED_VALIDATE; type++) {
            char *at = mmap(NULL, 4 * PAGE, RW, type | MAP_ANONYMOUS | cases[i].flags, -1, 0);
            printf("%s %d: %d, touched %d\n", cases[i].name, type, error_of(at),
                   at == MAP_FAILED ? -1 : touch(at, 1));
            if (at != MAP_FAILED)
                munmap(at, 4 * PAGE);
        }
    }
    char path[] = "/tmp/km-mappings-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    printf("extend: %d\n", failed(ftruncate(file, 2 * PAGE)));
    printf("sync: %d\n", error_of(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, file, 0)));
    printf("validate, unknown: %d\n",
           error_of(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | (1 << 29), file, 0)));
    printf("shared, unknown: %d\n", error_of(mmap(NULL, PAGE, RW, MAP_SHARED | (1 << 29), file, 0)));
    close(file);
}

static void mistakes(void)
{
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY), pipes[2];
    int folder = open("/tmp", O_RDONLY);
    char path[] = "/tmp/km-mappings-XXXXXX";
    int file = mkstemp(path), reads = open(path, O_RDONLY), writes = open(path, O_WRONLY);
    unlink(path);
    if (pipe(pipes) != 0)
        return;
#define TRY(what, ...) printf("%s: %d\n", what, error_of(mmap(__VA_ARGS__)))
    TRY("no descriptor", NULL, PAGE, RW, MAP_PRIVATE, -1, 0);
    TRY("closed descriptor", NULL, PAGE, RW, MAP_PRIVATE, 500, 0);
    TRY("no descriptor, no length", NULL, 0, RW, MAP_PRIVATE, -1, 0);
    TRY("odd offset", NULL, PAGE, RW, MAP_PRIVATE, file, 1);
    TRY("odd offset, anonymous", NULL, PAGE, RW, ANON, -1, 1);
    TRY("page offset, anonymous", NULL, PAGE, RW, ANON, -1, PAGE);
    TRY("offset too high", NULL, 2 * PAGE, RW, MAP_PRIVATE, file, -PAGE);
    TRY("pipe", NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0);
    TRY("folder", NULL, PAGE, PROT_READ, MAP_PRIVATE, folder, 0);
    TRY("null device", NULL, PAGE, PROT_READ, MAP_PRIVATE, null, 0);
    TRY("zero device", NULL, PAGE, RW, MAP_PRIVATE, zero, 0);
    TRY("zero device, shared, to write", NULL, PAGE, RW, MAP_SHARED, zero, 0);
    TRY("write only", NULL, PAGE, PROT_READ, MAP_PRIVATE, writes, 0);
    TRY("read only, shared, to write", NULL, PAGE, RW, MAP_SHARED, reads, 0);
    TRY("read only, private, to write", NULL, PAGE, RW, MAP_PRIVATE, reads, 0);
    TRY("no type", NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0);
    TRY("no type, a file", NULL, PAGE, RW, 0, file, 0);
    TRY("type 4", NULL, PAGE, RW, 4 | MAP_ANONYMOUS, -1, 0);
    TRY("protection unknown", NULL, PAGE, 0x10, ANON, -1, 0);
    TRY("all there is", NULL, (size_t)-1, RW, ANON, -1, 0);
    TRY("nearly all", NULL, (size_t)-PAGE, RW, ANON, -1, 0);
    TRY("more than addresses", NULL, 1UL << 47, RW, ANON, -1, 0);
    TRY("fixed at 1", (void *)1, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    TRY("fixed too high", (void *)(1UL << 47), PAGE, RW, ANON | MAP_FIXED, -1, 0);
    TRY("fixed in the kernel", (void *)(-16 * PAGE), PAGE, RW, ANON | MAP_FIXED, -1, 0);
    TRY("fixed, free, too high", (void *)(1UL << 47), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    TRY("grows down, shared", NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    TRY("grows down, a file", NULL, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, file, 0);
#undef TRY
    char *at = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
    munmap(at + 2 * PAGE, PAGE);
#define TRY(what, result) printf("%s: %d\n", what, failed(result))
    TRY("munmap odd", munmap(at + 1, PAGE));
    TRY("munmap nothing", munmap(at, 0));
    TRY("munmap too much", munmap(at, (size_t)-1));
    TRY("munmap high", munmap((void *)(1UL << 48), PAGE));
    TRY("mprotect odd", mprotect(at + 1, PAGE, RW));
    TRY("mprotect nothing", mprotect(at, 0, RW));
    TRY("mprotect too much", mprotect(at, (size_t)-1, RW));
    TRY("mprotect over", mprotect(at, -2 * PAGE, RW));
    TRY("mprotect unknown", mprotect(at, PAGE, 0x10));
    TRY("mprotect across a hole", mprotect(at, 4 * PAGE, PROT_READ));
    TRY("mprotect both directions", mprotect(at, PAGE, PROT_GROWSDOWN | PROT_GROWSUP));
    TRY("mprotect down of what does not", mprotect(at, PAGE, PROT_READ | PROT_GROWSDOWN));
    TRY("mprotect read-only file", mprotect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reads, 0), PAGE, RW));
    TRY("madvise odd", madvise(at + 1, PAGE, MADV_DONTNEED));
    TRY("madvise unknown", madvise(at, PAGE, 999));
    TRY("madvise nothing", madvise(at, 0, MADV_DONTNEED));
    TRY("madvise across a hole", madvise(at, 4 * PAGE, MADV_DONTNEED));
    TRY("madvise over", madvise(at, -2 * PAGE, MADV_DONTNEED));
    /* What is mapped is gone through; then there is nothing. */
    size_t beyond = 0x7ffffffff000 - (uintptr_t)at;
    TRY("madvise far beyond", madvise(at, beyond, MADV_NORMAL));
    TRY("munlock far beyond", munlock(at, beyond));
    TRY("msync far beyond", msync(at, beyond, MS_ASYNC));
    TRY("msync odd", msync(at + 1, PAGE, MS_SYNC));
    TRY("msync both", msync(at, PAGE, MS_SYNC | MS_ASYNC));
    TRY("msync unknown", msync(at, PAGE, 0x100));
    TRY("msync across a hole", msync(at, 4 * PAGE, MS_SYNC));
    TRY("mlock across a hole", mlock(at, 4 * PAGE));
    TRY("mlock2 unknown", mlock2(at, PAGE, 2));
    TRY("mlock2 on fault", mlock2(at, PAGE, MLOCK_ONFAULT));
    TRY("munlock", munlock(at, PAGE));
    unsigned char resident[8];
    TRY("mincore odd", mincore(at + 1, PAGE, resident));
    TRY("mincore across a hole", mincore(at, 4 * PAGE, resident));
    TRY("mincore into nowhere", mincore(at, PAGE, (void *)16));
    TRY("remap_file_pages", remap_file_pages(at, PAGE, 0, 0, 0));
#undef TRY
#define TRY(what, ...) printf("%s: %d\n", what, error_of(mremap(__VA_ARGS__)))
    TRY("mremap odd", at + 1, PAGE, PAGE, 0);
    TRY("mremap to nothing", at, PAGE, 0, 0);
    TRY("mremap unmapped", at + 2 * PAGE, PAGE, PAGE, 0);
    TRY("mremap across a hole", at, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    TRY("mremap across a hole, staying", at, 4 * PAGE, 8 * PAGE, 0);
    TRY("mremap across a hole, shorter", at, 4 * PAGE, 3 * PAGE, 0);
    TRY("mremap unknown", at, PAGE, PAGE, 64);
    TRY("mremap fixed without moving", at, PAGE, PAGE, MREMAP_FIXED, at + 8 * PAGE);
    TRY("mremap onto itself", at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + PAGE);
    TRY("mremap to an odd place", at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + 1);
    /* Linux 6.1 says ENOMEM. */
    if (at_least(6, 18))
        TRY("mremap far too long", at, PAGE, 1UL << 48, MREMAP_MAYMOVE);
    TRY("mremap copies private", at, 0, PAGE, MREMAP_MAYMOVE);
    TRY("mremap kept, in place", at, PAGE, PAGE, MREMAP_DONTUNMAP, NULL);
    TRY("mremap kept, longer", at, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
#undef TRY
    close(null), close(zero), close(folder), close(file), close(reads), close(writes);
    close(pipes[0]), close(pipes[1]);
}

static void moving(void)
{
    char *at = mmap(NULL, 8 * PAGE, RW, ANON, -1, 0);
    strcpy(at, "first");
    strcpy(at + 4 * PAGE, "fifth");
    char *kept = mremap(at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    printf("kept: moved %d, %s, left %d\n", kept != at, kept, at[0]);
    char *target = mmap(NULL, 4 * PAGE, PROT_NONE, ANON, -1, 0);
    char *fixed = mremap(at + 4 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    printf("fixed: %d, %s, source %d, behind %d\n", fixed == target, fixed,
           touch(at + 4 * PAGE, 0), touch(target + 2 * PAGE, 0));
    printf("shrunk: %d, %d\n", mremap(at + 5 * PAGE, 3 * PAGE, PAGE, 0) == at + 5 * PAGE,
           touch(at + 6 * PAGE, 0));
    printf("grown in place: %d\n", error_of(mremap(at + 5 * PAGE, PAGE, 3 * PAGE, 0)));
    printf("no room in place: %d\n", error_of(mremap(at, PAGE, 3 * PAGE, 0)));
    char *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *twin = mremap(shared, 0, PAGE, MREMAP_MAYMOVE);
    strcpy(shared, "twins");
    printf("a twin: %d %s\n", twin != shared, twin);
    char *middle = mmap(NULL, 5 * PAGE, RW, ANON, -1, 0);
    munmap(middle + PAGE, PAGE);
    mprotect(middle + 3 * PAGE, PAGE, PROT_READ);
    for (int i = 0; i < 5; i++)
        printf("page %d: %d %d\n", i, touch(middle + i * PAGE, 0), touch(middle + i * PAGE, 1));
}

static void files(void)
{
    char path[] = "/tmp/km-mappings-XXXXXX", bytes[16] = { 0 };
    int file = mkstemp(path);
    unlink(path);
    printf("extend: %d\n", failed(ftruncate(file, 2 * PAGE + 100)));
    char *shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, file, 0);
    char *private = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, file, 0);
    strcpy(shared, "shared");
    strcpy(private + PAGE, "private");
    printf("%s, %s, %s\n", private, private + PAGE, shared[PAGE] ? "written" : "not written");
    shared[2 * PAGE + 200] = 'x';
    printf("read back: %zd %s\n", pread(file, bytes, 7, 0), bytes);
    for (int i = 1; i < 4; i++)
        printf("page %d: %d %d %d\n", i, touch(shared + i * PAGE + 8, 0),
               touch(private + i * PAGE + 8, 1), touch(shared + i * PAGE + 8, 1));
    printf("cut: %d\n", failed(ftruncate(file, PAGE)));
    for (int i = 0; i < 3; i++)
        printf("page %d: %d %d\n", i, touch(shared + i * PAGE, 0), touch(private + i * PAGE, 0));
    printf("extend: %d\n", failed(ftruncate(file, 4 * PAGE)));
    for (int i = 0; i < 4; i++)
        printf("page %d: %d %d\n", i, touch(shared + i * PAGE, 1), shared[i * PAGE]);
    errno = 0;
    ssize_t got = pread(file, shared + 5 * PAGE, 10, 0);
    printf("read into nothing: %d\n", got < 0 && errno == EFAULT);
    close(file);
    printf("after close: %d\n", touch(shared, 1));
}

static void sealed(void)
{
    int memory = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    printf("extend: %d\n", failed(ftruncate(memory, 2 * PAGE)));
    char *at = mmap(NULL, PAGE, RW, MAP_SHARED, memory, 0);
    printf("busy: %d\n", failed(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE)));
    printf("future: %d\n", failed(fcntl(memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK)));
    printf("old: %d, new: %d, private: %d\n", touch(at, 1),
           error_of(mmap(NULL, PAGE, RW, MAP_SHARED, memory, 0)),
           error_of(mmap(NULL, PAGE, RW, MAP_PRIVATE, memory, 0)));
    char *reads = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, memory, 0);
    printf("made writable: %d\n", failed(mprotect(reads, PAGE, RW)));
    printf("cut: %d\n", failed(ftruncate(memory, PAGE)));
    close(memory);
    memory = memfd_create("huge", MFD_HUGETLB);
    printf("huge: %d, %d\n", failed(memory),
           memory < 0 ? -1 : error_of(mmap(NULL, 2 << 20, RW, MAP_SHARED, memory, 0)));
    close(memory);
    memory = shm_open("/km-mappings", O_RDWR | O_CREAT | O_EXCL, 0600);
    printf("shm: %d, %d\n", failed(memory), failed(ftruncate(memory, PAGE)));
    at = mmap(NULL, PAGE, RW, MAP_SHARED, memory, 0);
    printf("unlinked: %d, touched %d\n", failed(shm_unlink("/km-mappings")), touch(at, 1));
    close(memory);
}

static void inherited(void)
{
    char *at = mmap(NULL, 6 * PAGE, RW, ANON, -1, 0);
    char *shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(at, 'x', 6 * PAGE);
    printf("dontfork: %d\n", failed(madvise(at + PAGE, PAGE, MADV_DONTFORK)));
    printf("wipeonfork: %d\n", failed(madvise(at + 3 * PAGE, PAGE, MADV_WIPEONFORK)));
    printf("wipeonfork, shared: %d\n", failed(madvise(shared, PAGE, MADV_WIPEONFORK)));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 5; i++)
            printf("  page %d: %d %d\n", i, touch(at + i * PAGE, 0),
                   i == 1 ? 0 : at[i * PAGE]);
        /* What is not there can be mapped. */
        printf("  in its place: %d\n",
               error_of(mmap(at + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)));
        printf("  touched: %d\n", touch(at + PAGE, 1));
        shared[0] = 'c';
        at[0] = 'c';
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("shared %c, private %c\n", shared[0], at[0]);
    printf("dofork: %d\n", failed(madvise(at + PAGE, PAGE, MADV_DOFORK)));
    printf("keeponfork: %d\n", failed(madvise(at + 3 * PAGE, PAGE, MADV_KEEPONFORK)));
    fflush(stdout);
    child = fork();
    if (child == 0)
        _exit(touch(at + PAGE, 0) != 0 || at[3 * PAGE] != 'x');
    int status;
    waitpid(child, &status, 0);
    printf("forked whole: %d\n", status);
}

static void advice(void)
{
    int all[] = { 0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                  100, 101, 102, 103 };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        char *at = mmap(NULL, 4 * PAGE, RW, ANON, -1, 0);
        char *shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        memset(at, 'x', 4 * PAGE);
        memset(shared, 'x', 4 * PAGE);
        if (all[i] == 100 || all[i] == 101)
            continue;
        int first = failed(madvise(at, 2 * PAGE, all[i]));
        int second = failed(madvise(shared, 2 * PAGE, all[i]));
        int third = touch(at, 0), fourth = touch(shared, 0);
        printf("advice %d: %d %d, %d %d, %d %d\n", all[i], first, second, third, fourth,
               third || all[i] == MADV_FREE ? 0 : at[0], fourth ? 0 : shared[0]);
        munmap(at, 4 * PAGE);
        munmap(shared, 4 * PAGE);
    }
}

static void segments(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
    char *first = shmat(id, NULL, 0), *second = shmat(id, NULL, SHM_RDONLY);
    strcpy(first, "segment");
    printf("%s, write %d\n", second, touch(second, 1));
    printf("over another: %d\n", error_of(shmat(id, first, 0)));
    printf("replacing it: %d\n", shmat(id, first, SHM_REMAP) == first);
    printf("replacing nowhere: %d\n", error_of(shmat(id, NULL, SHM_REMAP)));
    printf("odd: %d, rounded: %d\n", error_of(shmat(id, first + 8 * PAGE + 1, 0)),
           shmat(id, first + 1, SHM_REMAP | SHM_RND) == first);
    unsigned char *code = shmat(id, NULL, SHM_EXEC);
    code[8] = 0xc3;
    call(code + 8, "code in a segment");
    call((unsigned char *)first + 8, "data in a segment");
    printf("part unmapped: %d\n", failed(munmap(first + PAGE, PAGE)));
    printf("detached: %d, again: %d\n", failed(shmdt(first)), failed(shmdt(first)));
    printf("left: %d %d\n", touch(first, 0), touch(first + 2 * PAGE, 0));
    shmctl(id, IPC_RMID, NULL);
    printf("gone: %d\n", error_of(shmat(id + 77777, NULL, 0)));
}

static void executing(void)
{
    unsigned char *at = mmap(NULL, PAGE, RW, ANON, -1, 0);
    *at = 0xc3;
    call(at, "data");
    mprotect(at, PAGE, PROT_READ | PROT_EXEC);
    call(at, "code");
    printf("write: %d\n", touch((char *)at, 1));
    mprotect(at, PAGE, RW | PROT_EXEC);
    *at = 0x90;
    at[1] = 0xc3;
    call(at, "both");
    mprotect(at, PAGE, PROT_EXEC);
    call(at, "only code");
    mprotect(at, PAGE, PROT_WRITE);
    printf("only write: %d %d\n", touch((char *)at, 1), touch((char *)at, 0));
    mprotect(at, PAGE, PROT_NONE);
    call(at, "nothing");
}

static void many(void)
{
    int count = 0;
    char *whole = mmap(NULL, 40000 * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    for (long i = 0; i < 40000; i += 2)
        count += mprotect(whole + i * PAGE, PAGE, RW) == 0;
    printf("made %d, touched %d %d\n", count, touch(whole + 39998 * PAGE, 1),
           touch(whole + 39999 * PAGE, 1));
    printf("all again: %d\n", failed(munmap(whole, 40000 * PAGE)));
}

static void big(void)
{
    for (int shift = 30; shift <= 36; shift++) {
        char *at = mmap(NULL, 1UL << shift, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
        printf("2^%d: %d, part %d, touched %d\n", shift, error_of(at),
               failed(mprotect(at + (1UL << (shift - 1)), PAGE, RW)),
               touch(at + (1UL << (shift - 1)), 1));
        munmap(at, 1UL << shift);
    }
}

static volatile int ran;
static void run(int signal) { (void)signal; ran = 1; }

/* Whether a handler runs on a stack that is not there before. */
static int handler_on(char *at)
{
    stack_t stack = { .ss_sp = at, .ss_size = 16 * PAGE };
    struct sigaction action = { .sa_handler = run, .sa_flags = SA_ONSTACK };
    sigaction(SIGUSR1, &action, NULL);
    sigaltstack(&stack, NULL);
    ran = 0;
    raise(SIGUSR1);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    return ran;
}

static void growing(void)
{
    char *room = mmap(NULL, 4096 * PAGE, PROT_NONE, ANON, -1, 0);
    munmap(room, 4096 * PAGE);
    char *top = room + 4095 * PAGE;
    char *at = mmap(top, PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    printf("grows down: %d\n", at == top);
    printf("a page below: %d, below that: %d\n", touch(at - 8, 1), touch(at - 3 * PAGE, 1));
    printf("far below: %d, between: %d\n", touch(at - 1000 * PAGE, 1), touch(at - 500 * PAGE, 0));
    char *below = at - 2000 * PAGE;
    mmap(below, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    printf("up to the gap: %d, into it: %d\n", touch(below + 258 * PAGE, 1),
           touch(below + 200 * PAGE, 1));
    int pipes[2];
    pipe(pipes);
    printf("written from below: %d\n", failed(write(pipes[1], at - 1010 * PAGE, 8)));
    printf("read to below: %d\n", failed(read(pipes[0], at - 1020 * PAGE, 8)));
    struct iovec vectors[] = { { at - 1030 * PAGE, 4 }, { at - 1040 * PAGE, 4 } };
    printf("written from both: %d\n", failed(writev(pipes[1], vectors, 2)));
    printf("a path below: %d\n", failed(access(at - 1050 * PAGE, F_OK)));
    printf("a handler below: %d\n", handler_on(at - 1100 * PAGE));
    printf("beyond the limit: %d\n", touch(at - 2040 * PAGE, 1));
    printf("whole: %d\n", failed(munmap(below, 2001 * PAGE)));
}

/* How a child that looks at a page ends: 0, or by a signal, or the signal and its code as in touch(). */
static int in_child(volatile char *at)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(touch(at, 0) / 100);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

/* What is said of pages and mappings goes with them. */
static void advice_that_moves(void)
{
    int has_guards = at_least(6, 13);
    char *at = mmap(NULL, 16 * PAGE, RW, ANON, -1, 0);
    char *to = mmap(NULL, 32 * PAGE, PROT_NONE, ANON, -1, 0);
    if (has_guards) {
        printf("guards: %d %d\n", failed(madvise(at + PAGE, PAGE, 102)), failed(madvise(at + 4 * PAGE, PAGE, 102)));
        printf("touched: %d %d\n", touch(at + PAGE, 1), touch(at + 2 * PAGE, 1));
        to = mremap(at, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        printf("moved:");
        for (int i = 0; i < 12; i++)
            printf(" %d", touch(to + i * PAGE, i % 2));
        printf("; shorter: %d;", failed((long)mremap(to, 12 * PAGE, 5 * PAGE, 0)));
        for (int i = 0; i < 6; i++)
            printf(" %d", touch(to + i * PAGE, 0));
        char *kept = mremap(to, 5 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
        printf("; kept: %d;", error_of(kept));
        for (int i = 0; i < 5; i++)
            printf(" %d/%d", touch(kept + i * PAGE, 1), touch(to + i * PAGE, 1));
        printf("\n");
    }
    at = mmap(NULL, 16 * PAGE, RW, ANON, -1, 0);
    printf("not inherited: %d;", failed(madvise(at + 2 * PAGE, 2 * PAGE, MADV_DONTFORK)));
    for (int i = 0; i < 6; i++)
        printf(" %d", in_child(at + i * PAGE));
    to = mmap(NULL, 32 * PAGE, PROT_NONE, ANON, -1, 0);
    to = mremap(at + 2 * PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 4 * PAGE);
    printf("; moved: %d;", error_of(to));
    for (int i = 0; i < 4; i++)
        printf(" %d", in_child(to + i * PAGE));
    printf("; here: %d\n", touch(to + 3 * PAGE, 1));
    fflush(stdout);
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    flags();
    mistakes();
    moving();
    files();
    sealed();
    inherited();
    advice();
    segments();
    executing();
    many();
    big();
    growing();
    advice_that_moves();
    return 0;
}
