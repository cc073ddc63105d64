/* Question: which calls of a program that emulates another system become signals? */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static volatile char selector;
static siginfo_t seen;
static volatile long rax;

static void trapped(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    selector = 0;
    seen = *info;
    ucontext_t *at = context;
    rax = at->uc_mcontext.gregs[REG_RAX];
    at->uc_mcontext.gregs[REG_RAX] = 4321;
}

static int set(const char *what, long mode, unsigned long start, unsigned long len, const volatile void *at)
{
    int result = prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, start, len, at);
    printf("%s: %d %s\n", what, result, result ? strerrorname_np(errno) : "");
    return result;
}

static void call(const char *what)
{
    memset(&seen, 0, sizeof seen);
    rax = 0;
    selector = 1;
    long result = syscall(SYS_getppid);
    selector = 0;
    printf("%s: %s, signal %d code %d call %d arch %x errno %d address %s, rax %ld\n", what,
           result == 4321 ? "trapped" : result == getppid() ? "made" : "odd", seen.si_signo, seen.si_code,
           seen.si_syscall, seen.si_arch, seen.si_errno, seen.si_call_addr ? "there" : "none", rax);
}

/* The selector is the first thread's, too, which makes no calls between these two. */
static volatile int may_begin, is_done;

static void *in_thread(void *unused)
{
    while (!may_begin)
        ;
    call("in a thread");
    is_done = 1;
    return unused;
}

static void in_child(const char *what, int value, const volatile char *at)
{
    fflush(stdout);
    int status;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, 0, 0, at);
        selector = value;
        syscall(SYS_getppid);
        selector = 0;
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("%s: exited %d signal %d\n", what, WIFEXITED(status), WTERMSIG(status));
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    pthread_t thread;

    sigaction(SIGSYS, &action, NULL);
    set("on with a far selector", 1, 0, 0, (void *)UINT64_C(0xffff800000000000));
    set("on with an empty range", 1, 4096, 0, &selector);
    set("on with a range that wraps", 1, -4096, 8192, &selector);
    set("off with a range", 0, 4096, 4096, NULL);
    set("another mode", 7, 0, 0, NULL);
    call("before");
    set("on", 1, 0, 0, &selector);
    call("with a selector");
    pthread_create(&thread, NULL, in_thread, NULL);
    may_begin = 1;
    while (!is_done)
        ;
    pthread_join(thread, NULL);
    set("on but for all", 1, 1, (1UL << 47) - 1, &selector);
    call("from code that may");
    set("off", 0, 0, 0, NULL);
    call("after");
    in_child("allowed", 0, &selector);
    in_child("blocked", 1, &selector);
    in_child("neither", 2, &selector);
    in_child("an address of nothing", 1, (char *)8);
    return 0;
}
