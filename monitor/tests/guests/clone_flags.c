/* Question: does clone make of each flag what Linux makes of it?
 *
 * Every child tells through shared memory or its status. Numbers that differ from run to run
 * (processes, descriptors, addresses) are compared, not printed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK (256 * 1024)

static struct {
    volatile int value, number, started, go;
} *shared;
static volatile int plain;
static volatile int caught;
static char *stack;
static int descriptor = -1;

static void catch(int signal) { caught = signal; }

static void show_end(const char *what, pid_t child, int options)
{
    int status = 0;
    pid_t got = waitpid(child, &status, options);
    if (got != child)
        printf("%s: nothing to wait for: %d\n", what, errno);
    else if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else
        printf("%s: killed by %d\n", what, WTERMSIG(status));
}

static long clone3(struct clone_args *args, size_t size)
{
    return syscall(SYS_clone3, args, size);
}

/* A child without a stack of its own. */
static long forked(unsigned long long flags, int exit_signal)
{
    struct clone_args args = { .flags = flags, .exit_signal = exit_signal };
    return clone3(&args, sizeof args);
}

static void exit_signals(void)
{
    int signals[] = { 0, SIGUSR1, SIGCHLD, SIGRTMAX };
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(SIGUSR1, catch);
        signal(SIGRTMAX, catch);
        caught = 0;
        long child = syscall(SYS_clone, (long)signals[i], 0, 0, 0, 0);
        if (child == 0)
            _exit(3);
        printf("exit signal %d: plain wait: ", signals[i]);
        show_end("", child, 0);
        if (signals[i] != SIGCHLD)
            show_end("then with __WALL", child, __WALL);
        printf("caught %d\n", caught);
    }
    long child = syscall(SYS_clone, 200L, 0, 0, 0, 0);
    if (child == 0)
        _exit(4);
    printf("no signal at all: ");
    show_end("", child, __WCLONE);
}

static int child_of_vm(void *unused)
{
    (void)unused;
    plain = 42;
    shared->started = 1;
    while (!shared->go)
        usleep(1000);
    plain = 43;
    return 7;
}

static void beside(void)
{
    plain = 0;
    shared->started = shared->go = 0;
    pid_t child = clone(child_of_vm, stack + STACK, CLONE_VM | SIGCHLD, NULL);
    if (child < 0) {
        printf("shared memory beside the parent: %d\n", errno);
        return;
    }
    while (!shared->started)
        usleep(1000);
    printf("shared memory, both running: %d, another process: %d\n", plain, child != getpid());
    shared->go = 1;
    show_end("shared memory", child, 0);
    printf("after it: %d\n", plain);
}

static int opens(void *unused)
{
    (void)unused;
    descriptor = open("/dev/null", O_RDONLY);
    if (chdir("/tmp") != 0)
        return 1;
    umask(0);
    signal(SIGUSR2, SIG_IGN);
    return 0;
}

static void shared_parts(void)
{
    struct { int flags; const char *name; } cases[] = {
        { CLONE_VM, "memory" },
        { CLONE_VM | CLONE_FS, "memory, folders" },
        { CLONE_VM | CLONE_FILES, "memory, files" },
        { CLONE_VM | CLONE_SIGHAND, "memory, handlers" },
        { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_IO | CLONE_SYSVSEM, "all" },
        { CLONE_VM | CLONE_VFORK, "memory, waited for" },
        { CLONE_VM | CLONE_VFORK | CLONE_FS | CLONE_FILES | CLONE_SIGHAND, "all, waited for" },
        { CLONE_FS, "folders" },
        { CLONE_FS | CLONE_IO | CLONE_SYSVSEM | CLONE_VFORK, "folders, waited for" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[256];
        umask(077);
        descriptor = -1;
        signal(SIGUSR2, catch);
        if (chdir("/") != 0)
            return;
        pid_t child = clone(opens, stack + STACK, cases[i].flags | SIGCHLD, NULL);
        printf("sharing %s: ", cases[i].name);
        show_end("", child, __WALL);
        int open_here = descriptor >= 0 && fcntl(descriptor, F_GETFD) >= 0;
        void (*handler)(int) = signal(SIGUSR2, SIG_DFL);
        printf("  number known %d, open %d, in %s, mask %o, handler %d\n", descriptor >= 0, open_here,
               getcwd(folder, sizeof folder), umask(022), handler == SIG_IGN);
        if (open_here)
            close(descriptor);
    }
    if (chdir("/") != 0)
        return;
}

/* The shared table outlives a child that executes another program. */
static char *const again[] = { "/bin/true", NULL };

static int executes(void *unused)
{
    (void)unused;
    execv(again[0], again);
    return 9;
}

static int count_descriptors(void)
{
    int count = 0;
    for (int i = 0; i < 2000; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

static void executing(void)
{
    int flags[] = { CLONE_VM, CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND,
                    CLONE_VM | CLONE_VFORK | CLONE_FILES };
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        int before = count_descriptors();
        pid_t child = clone(executes, stack + STACK, flags[i] | SIGCHLD, NULL);
        show_end("executes", child, __WALL);
        printf("as many descriptors as before: %d\n", count_descriptors() == before);
    }
}

static void numbers(void)
{
    shared->number = 0;
    int parents = 0, pidfd = -1;
    volatile int *in_child = &shared->number;
    struct clone_args args = {
        .flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_PIDFD,
        .exit_signal = SIGCHLD,
        .parent_tid = (uintptr_t)&parents,
        .child_tid = (uintptr_t)in_child,
        .pidfd = (uintptr_t)&pidfd,
    };
    long child = clone3(&args, sizeof args);
    if (child == 0)
        _exit(*in_child == getpid() ? 0 : 1);
    struct pollfd poll_child = { .fd = pidfd, .events = POLLIN };
    printf("pidfd: polled %d, close-on-exec %d\n", poll(&poll_child, 1, -1),
           fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
    printf("numbers: %d %d\n", parents == child, shared->number == child);
    show_end("numbered", child, 0);
    close(pidfd);
    int old = -1;
    child = syscall(SYS_clone, (long)CLONE_PIDFD | SIGCHLD, 0, &old, 0, 0);
    if (child == 0)
        _exit(0);
    siginfo_t info;
    printf("old pidfd: %d\n", waitid(P_PIDFD, old, &info, WEXITED));
    close(old);
    /* Cleared when the child with the same memory has ended. */
    volatile int word = 1;
    child = clone(opens, stack + STACK, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL,
                  &word);
    show_end("with a word to clear", child, 0);
    printf("cleared: %d\n", word == 0);
    word = 1;
    child = clone(executes, stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_CHILD_CLEARTID | SIGCHLD,
                  NULL, NULL, NULL, &word);
    printf("cleared by execve: %d\n", word == 0);
    show_end("executed", child, 0);
}

static void family(void)
{
    int pipes[2];
    if (pipe(pipes) != 0)
        return;
    pid_t me = getpid();
    pid_t child = fork();
    if (child == 0) {
        long sibling = forked(CLONE_PARENT, 0);
        if (sibling == 0)
            _exit(getppid() == me ? 11 : 12);
        if (write(pipes[1], &sibling, sizeof sibling) != sizeof sibling)
            _exit(1);
        _exit(sibling > 0 ? 0 : errno);
    }
    show_end("child", child, 0);
    long sibling = 0;
    printf("told: %d\n", read(pipes[0], &sibling, sizeof sibling) == sizeof sibling);
    show_end("its sibling", sibling, __WALL);
    close(pipes[0]);
    close(pipes[1]);
}

static void handlers(void)
{
    signal(SIGUSR1, catch);
    signal(SIGUSR2, SIG_IGN);
    long child = forked(CLONE_CLEAR_SIGHAND, SIGCHLD);
    if (child == 0) {
        int first = signal(SIGUSR1, SIG_DFL) == SIG_DFL;
        int second = signal(SIGUSR2, SIG_DFL) == SIG_IGN;
        _exit(first + 2 * second);
    }
    show_end("handlers cleared", child, 0);
    signal(SIGUSR2, SIG_DFL);
}

static int waits(void *unused)
{
    (void)unused;
    usleep(50000);
    shared->value = 5;
    return 0;
}

static void waiting(void)
{
    shared->value = 0;
    pid_t child = clone(waits, stack + STACK, CLONE_VFORK | SIGCHLD, NULL);
    printf("waited for a copy: %d\n", shared->value);
    show_end("copy", child, 0);
    shared->value = 0;
    child = clone(waits, stack + STACK, CLONE_VFORK | CLONE_VM | SIGCHLD, NULL);
    printf("waited for a borrower: %d\n", shared->value);
    show_end("borrower", child, 0);
    char *other = malloc(STACK);
    child = clone(waits, other + STACK, SIGCHLD, NULL);
    show_end("a copy with a stack of its own", child, 0);
    free(other);
}

static void refusals(void)
{
    struct { unsigned long long flags; int signal; const char *what; } cases[] = {
        { CLONE_SIGHAND, SIGCHLD, "handlers without memory" },
        { CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND, SIGCHLD, "shared and cleared" },
        { CLONE_THREAD, 0, "thread without memory" },
        { CLONE_NEWNS | CLONE_FS, SIGCHLD, "mounts and folders" },
        { CLONE_NEWUSER | CLONE_FS, SIGCHLD, "users and folders" },
        { CLONE_PARENT, SIGCHLD, "sibling with a signal" },
        { 0, 65, "no signal" },
        { 1ULL << 40, 0, "no flag" },
        { CLONE_DETACHED, 0, "an old flag" },
        { 17, 0, "a signal among the flags" },
        { CLONE_INTO_CGROUP, SIGCHLD, "a cgroup that is standard input" },
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        long child = forked(cases[i].flags, cases[i].signal);
        if (child == 0)
            _exit(0);
        printf("%s: %s\n", cases[i].what, child < 0 ? strerrorname_np(errno) : "made");
        if (child > 0)
            waitpid(child, NULL, __WALL);
    }
    struct clone_args args = { .exit_signal = SIGCHLD, .stack = 0x10000 };
    printf("stack without a length: %d\n", clone3(&args, sizeof args) < 0 ? errno : 0);
    args = (struct clone_args){ .exit_signal = SIGCHLD, .stack_size = 0x10000 };
    printf("length without a stack: %d\n", clone3(&args, sizeof args) < 0 ? errno : 0);
    args = (struct clone_args){ .exit_signal = SIGCHLD, .set_tid_size = 1 };
    printf("numbers from nowhere: %d\n", clone3(&args, sizeof args) < 0 ? errno : 0);
    int pids[40] = { 0 };
    args = (struct clone_args){ .exit_signal = SIGCHLD, .set_tid = (uintptr_t)pids,
                                .set_tid_size = 33 };
    printf("too many numbers: %d\n", clone3(&args, sizeof args) < 0 ? errno : 0);
    args.set_tid_size = 1;
    printf("number 0: %d\n", clone3(&args, sizeof args) < 0 ? errno : 0);
    printf("too short: %d\n", clone3(&args, 8) < 0 ? errno : 0);
    printf("too long: %d\n", clone3(&args, 5000) < 0 ? errno : 0);
    char longer[256] = { 0 };
    longer[200] = 1;
    printf("unknown part: %d\n", clone3((void *)longer, sizeof longer) < 0 ? errno : 0);
    printf("nowhere: %d\n", clone3((void *)16, sizeof args) < 0 ? errno : 0);
    int word = 0;
    printf("one place for two: %d\n",
           syscall(SYS_clone, (long)CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &word, 0, 0) < 0
               ? errno : 0);
}

static void chosen_number(void)
{
    long child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    pid_t wish[1] = { child };
    struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)wish,
                               .set_tid_size = 1 };
    long got = clone3(&args, sizeof args);
    if (got == 0)
        _exit(0);
    printf("the number that was chosen: %d %d\n", got == child, got < 0 ? errno : 0);
    show_end("chosen", got, 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    exit_signals();
    beside();
    shared_parts();
    executing();
    numbers();
    family();
    handlers();
    waiting();
    refusals();
    chosen_number();
    return 0;
}
