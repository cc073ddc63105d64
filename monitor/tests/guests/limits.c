/* Question: do resource limits act on the program as on Linux, and on nothing else?
 *
 * Each limit is set in a child, which does what the limit is about, and then starts a thread, a
 * child and another program: what needs nothing of the limit must go on working.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1L << 20)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static int failed(int result) { return result ? errno : 0; }
static int error_of(void *at) { return at == MAP_FAILED ? errno : 0; }

static int set(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit = { soft, hard };
    return failed(setrlimit(resource, &limit));
}

static void show(const char *what, int resource)
{
    struct rlimit limit = { 0, 0 };
    getrlimit(resource, &limit);
    printf("  %s: %lld %lld\n", what, (long long)limit.rlim_cur, (long long)limit.rlim_max);
}

static void *nothing(void *argument) { return argument; }

static void goes_on(void)
{
    pthread_t thread;
    int status = -1, made = pthread_create(&thread, NULL, nothing, NULL);
    if (made == 0)
        pthread_join(thread, NULL);
    printf("  thread %d", made);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "limits", "tell", NULL);
        printf(", no program: %d\n", errno);
        _exit(1);
    }
    printf(", child %d", child < 0 ? errno : 0);
    if (child > 0)
        waitpid(child, &status, 0);
    printf(", ended %d\n", status);
}

static char *const big = (char *)(64 * MIB);

static void address_space(void)
{
    /* What is mapped already is little. */
    printf("  set: %d\n", set(RLIMIT_AS, 256 * MIB, 512 * MIB));
    show("address space", RLIMIT_AS);
    void *half = mmap(NULL, (size_t)big * 2, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    printf("  128 MiB: %d\n", error_of(half));
    printf("  128 MiB more: %d\n", error_of(mmap(NULL, 128 * MIB, RW, ANON, -1, 0)));
    printf("  grown: %d\n", error_of(mremap(half, 128 * MIB, 300 * MIB, MREMAP_MAYMOVE)));
    printf("  replaced: %d\n", error_of(mmap(half, 128 * MIB, RW, ANON | MAP_FIXED, -1, 0)));
    char *now = sbrk(0);
    printf("  heap: %d\n", brk(now + 200 * MIB) ? errno : 0);
    printf("  small: %d\n", error_of(mmap(NULL, MIB, RW, ANON, -1, 0)));
    printf("  malloc: %d\n", malloc(200 * MIB) != NULL);
    printf("  unmapped: %d\n", failed(munmap(half, 128 * MIB)));
    printf("  again: %d\n", error_of(mmap(NULL, 128 * MIB, RW, ANON, -1, 0)));
    printf("  lower than what is mapped: %d\n", set(RLIMIT_AS, MIB, 512 * MIB));
    printf("  a page: %d\n", error_of(mmap(NULL, 4096, RW, ANON, -1, 0)));
    printf("  higher: %d\n", set(RLIMIT_AS, 512 * MIB, 512 * MIB));
    goes_on();
}

static void data(void)
{
    printf("  set: %d\n", set(RLIMIT_DATA, 64 * MIB, 64 * MIB));
    show("data", RLIMIT_DATA);
    char *now = sbrk(0);
    printf("  heap: %d\n", brk(now + 100 * MIB) ? errno : 0);
    printf("  private: %d\n", error_of(mmap(NULL, 100 * MIB, RW, ANON, -1, 0)));
    printf("  read-only: %d\n", error_of(mmap(NULL, 100 * MIB, PROT_READ, ANON, -1, 0)));
    printf("  shared: %d\n",
           error_of(mmap(NULL, 100 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
    void *none = mmap(NULL, 100 * MIB, PROT_NONE, ANON, -1, 0);
    printf("  inaccessible: %d, made writable: %d\n", error_of(none),
           failed(mprotect(none, 100 * MIB, RW)));
    printf("  a little: %d\n", error_of(mmap(NULL, 8 * MIB, RW, ANON, -1, 0)));
    goes_on();
}

static void descriptors(void)
{
    printf("  set: %d\n", set(RLIMIT_NOFILE, 3, 4096));
    printf("  open: %d\n", open("/dev/null", O_RDONLY) < 0 ? errno : 0);
    int pipes[2];
    printf("  pipe: %d, dup: %d\n", failed(pipe(pipes)), dup(1) < 0 ? errno : 0);
    printf("  dup2 to 3: %d\n", dup2(1, 3) < 0 ? errno : 0);
    goes_on();
    printf("  set: %d\n", set(RLIMIT_NOFILE, 0, 4096));
    goes_on();
    printf("  set: %d\n", set(RLIMIT_NOFILE, 20, 4096));
    int last = -1;
    for (int i = 0; i < 30; i++) {
        int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
        last = next < 0 ? last : next;
    }
    printf("  last descriptor: %d\n", last);
    goes_on();
}

static void file_size(void)
{
    signal(SIGXFSZ, SIG_IGN);
    char path[] = "/tmp/km-limits-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    printf("  set: %d\n", set(RLIMIT_FSIZE, 10, 4096));
    char bytes[32] = { 0 };
    printf("  written: %zd, then %d\n", write(file, bytes, sizeof bytes),
           write(file, bytes, 1) < 0 ? errno : 0);
    printf("  extended: %d\n", ftruncate(file, 5000) ? errno : 0);
    printf("  set: %d\n", set(RLIMIT_FSIZE, 0, 0));
    goes_on();
    int maps = open("/proc/self/maps", O_RDONLY);
    printf("  maps: %d\n", maps >= 0 && read(maps, bytes, 1) == 1);
    signal(SIGXFSZ, SIG_DFL);
    fflush(stdout);
    if (write(file, bytes, 32) == 32 || ftruncate(file, 5000) == 0)
        printf("  no signal\n");
}

static void locked(void)
{
    if (setresuid(12345, 12345, 12345) != 0)
        return;
    printf("  set: %d\n", set(RLIMIT_MEMLOCK, 64 * 1024, 64 * 1024));
    char *at = mmap(NULL, MIB, RW, ANON, -1, 0);
    printf("  64 KiB: %d, more: %d\n", failed(mlock(at, 64 * 1024)), failed(mlock(at, 128 * 1024)));
    printf("  MAP_LOCKED: %d\n",
           error_of(mmap(NULL, 128 * 1024, RW, ANON | MAP_LOCKED, -1, 0)));
    printf("  set: %d\n", set(RLIMIT_MEMLOCK, 0, 0));
    printf("  a page: %d\n", failed(mlock(at + 512 * 1024, 4096)));
    goes_on();
}

static void priorities(void)
{
    if (setresuid(12345, 12345, 12345) != 0)
        return;
    struct sched_param parameters = { .sched_priority = 5 };
    printf("  nice: %d, real time: %d\n", setpriority(PRIO_PROCESS, 0, -5) ? errno : 0,
           sched_setscheduler(0, SCHED_FIFO, &parameters) ? errno : 0);
    printf("  raise: %d\n", set(RLIMIT_NICE, 40, 40));
    goes_on();
}

static void pending(void)
{
    if (setresuid(12346, 12346, 12346) != 0)
        return;
    printf("  set: %d\n", set(RLIMIT_SIGPENDING, 3, 3));
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    int sent = 0;
    union sigval value = { 0 };
    while (sent < 10 && sigqueue(getpid(), SIGRTMIN, value) == 0)
        sent++;
    printf("  queued: %d, then %d\n", sent, errno);
    printf("  set: %d\n", set(RLIMIT_SIGPENDING, 0, 0));
    goes_on();
}

static void processor(void)
{
    printf("  set: %d\n", set(RLIMIT_CPU, 1, 3));
    fflush(stdout);
    for (volatile long i = 0;; i++) {}
}

static void core(void)
{
    printf("  set: %d\n", set(RLIMIT_CORE, 0, 0));
    goes_on();
    fflush(stdout);
    abort();
}

static void others(void)
{
    int resources[] = { RLIMIT_RSS, RLIMIT_LOCKS, RLIMIT_MSGQUEUE, RLIMIT_RTTIME, RLIMIT_NPROC };
    for (unsigned i = 0; i < sizeof resources / sizeof *resources; i++) {
        printf("  %d: %d\n", resources[i], set(resources[i], 50000, 60000));
        show("is", resources[i]);
    }
    goes_on();
    printf("  wrong order: %d, no such limit: %d, nowhere: %d\n", set(RLIMIT_AS, 2, 1),
           set(99, 1, 1), failed(setrlimit(RLIMIT_AS, (void *)16)));
}

static void number_of_processes(void)
{
    if (setresuid(12347, 12347, 12347) != 0)
        return;
    printf("  set: %d\n", set(RLIMIT_NPROC, 1, 1000));
    pthread_t thread;
    printf("  thread: %d\n", pthread_create(&thread, NULL, nothing, NULL));
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    printf("  child: %d\n", child < 0 ? errno : 0);
    execl("/proc/self/exe", "limits", "tell", NULL);
    printf("  no program: %d\n", errno);
}

static void of_another(void)
{
    int pipes[2], back[2];
    char byte = 'x';
    if (pipe(pipes) != 0 || pipe(back) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        if (read(pipes[0], &byte, 1) != 1)
            _exit(1);
        show("as told", RLIMIT_AS);
        printf("  300 MiB: %d\n", error_of(mmap(NULL, 300 * MIB, RW, ANON, -1, 0)));
        printf("  100 MiB: %d\n", error_of(mmap(NULL, 100 * MIB, RW, ANON, -1, 0)));
        fflush(stdout);
        _exit(write(back[1], &byte, 1) != 1);
    }
    struct rlimit old, limit = { 256 * MIB, 1024 * MIB };
    int result = prlimit(child, RLIMIT_AS, &limit, &old);
    printf("  set: %d, was %d\n", failed(result), old.rlim_cur == RLIM_INFINITY);
    result = prlimit(child, RLIMIT_AS, NULL, &old);
    printf("  is: %d %ld %ld\n", failed(result), (long)old.rlim_cur, (long)old.rlim_max);
    show("not here", RLIMIT_AS);
    fflush(stdout);
    if (write(pipes[1], &byte, 1) != 1)
        return;
    waitpid(child, NULL, 0);
    printf("  nobody's: %d\n", failed(prlimit(99999999, RLIMIT_AS, NULL, &old)));
}

static void raised(void)
{
    printf("  set: %d\n", set(RLIMIT_AS, 300 * MIB, 400 * MIB));
    if (setresuid(12348, 12348, 12348) != 0)
        return;
    printf("  hard limit raised: %d\n", set(RLIMIT_AS, 300 * MIB, 500 * MIB));
    printf("  soft limit raised: %d\n", set(RLIMIT_AS, 400 * MIB, 400 * MIB));
    show("is", RLIMIT_AS);
    printf("  without limit: %d\n", set(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY));
    goes_on();
}

static void stack_beyond_others(void)
{
    struct rlimit stack;
    getrlimit(RLIMIT_STACK, &stack);
    printf("  stack: %d\n", set(RLIMIT_STACK, 1024 * MIB, stack.rlim_max));
    printf("  data: %d\n", set(RLIMIT_DATA, 64 * MIB, 64 * MIB));
    printf("  address space: %d\n", set(RLIMIT_AS, 512 * MIB, 512 * MIB));
    goes_on();
}

static const struct {
    const char *name;
    void (*test)(void);
} tests[] = {
    { "address space", address_space }, { "data", data },
    { "descriptors", descriptors },     { "file size", file_size },
    { "locked", locked },               { "priorities", priorities },
    { "pending", pending },             { "processor", processor },
    { "core", core },                   { "others", others },
    { "number", number_of_processes },  { "of another", of_another },
    { "raised", raised },               { "stack", stack_beyond_others },
};

/* What /proc tells of the limits that count memory. */
static void told(void)
{
    char line[256];
    FILE *limits = fopen("/proc/self/limits", "r");
    while (limits && fgets(line, sizeof line, limits))
        if (strncmp(line, "Max data", 8) == 0 || strncmp(line, "Max address", 11) == 0 || strncmp(line, "Max core", 8) == 0)
            fputs(line, stdout);
    if (limits)
        fclose(limits);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && strcmp(argv[1], "tell") == 0) {
        show("; told address space", RLIMIT_AS);
        show("told data", RLIMIT_DATA);
        told();
        return 0;
    }
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
        int status = 0;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            tests[i].test();
            fflush(stdout);
            _exit(0);
        }
        waitpid(child, &status, 0);
        printf("  end: %d\n", status & 0x7f ? -(status & 0x7f) : WEXITSTATUS(status));
    }
    return 0;
}
