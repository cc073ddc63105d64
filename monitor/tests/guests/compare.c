/* Question: can a program compare what processes share, and take descriptors from them? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr 459
#define SYS_lsm_list_modules 461
#endif

static void *const elsewhere = (void *)0x10000000000, *const beyond = (void *)0x800000000000;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

/* Which of two different things comes first is by chance. */
static void equal(const char *what, long result)
{
    show(what, result > 0 ? 1 : result);
}

static long compare(pid_t one, pid_t other, int kind, long first, long second)
{
    return syscall(SYS_kcmp, one, other, kind, first, second);
}

static void *in_thread(void *unused)
{
    (void)unused;
    for (int kind = KCMP_VM; kind <= KCMP_SYSVSEM; kind++) {
        printf("thread, %d", kind);
        equal("", compare(getpid(), gettid(), kind, 0, 0));
    }
    return NULL;
}

static void files(pid_t child)
{
    int one = open("/dev/null", O_RDONLY), again = dup(one), other = open("/dev/null", O_RDONLY);
    equal("the same file", compare(getpid(), getpid(), KCMP_FILE, one, again));
    equal("another file", compare(getpid(), getpid(), KCMP_FILE, one, other));
    equal("a child's", compare(getpid(), child, KCMP_FILE, 1, 1));
    show("not open", compare(getpid(), getpid(), KCMP_FILE, one, 900));
    int there = 0;
    for (int hidden = 960; hidden < 1000; hidden++) {
        there += compare(getpid(), getpid(), KCMP_FILE, hidden, one) != -1 || errno != EBADF;
        there += compare(getpid(), getpid(), KCMP_FILE, one, hidden) != -1 || errno != EBADF;
    }
    printf("that should not be there: %d\n", there);
    int epoll = epoll_create1(0), ends[2];
    if (pipe(ends) != 0)
        return;
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    struct kcmp_epoll_slot slot = {epoll, ends[0], 0}, none = {epoll, one, 0};
    equal("epoll's target", compare(getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], (long)&slot));
    equal("no target", compare(getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], (long)&none));
    show("a slot elsewhere", compare(getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], (long)elsewhere));
    show("a slot beyond", compare(getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], (long)beyond));
}

static void take(pid_t child)
{
    int self = syscall(SYS_pidfd_open, getpid(), 0), other = syscall(SYS_pidfd_open, child, 0);
    int taken = syscall(SYS_pidfd_getfd, self, 1, 0);
    printf("own: %d, closed on exec: %d\n", taken > 2, fcntl(taken, F_GETFD) == FD_CLOEXEC);
    equal("the same", compare(getpid(), getpid(), KCMP_FILE, taken, 1));
    show("not open", syscall(SYS_pidfd_getfd, self, 900, 0));
    show("below zero", syscall(SYS_pidfd_getfd, self, -1, 0));
    show("flags", syscall(SYS_pidfd_getfd, self, 1, 1));
    show("no process", syscall(SYS_pidfd_getfd, 1, 1, 0));
    show("nothing", syscall(SYS_pidfd_getfd, 900, 1, 0));
    int there = 0;
    for (int hidden = 940; hidden < 1100; hidden++) {
        there += syscall(SYS_pidfd_getfd, self, hidden, 0) != -1 || errno != EBADF;
        // Natively they are not open, and under the monitor nothing of a child's can be had.
        there += syscall(SYS_pidfd_getfd, other, hidden, 0) != -1;
    }
    printf("that should not be there: %d\n", there);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    show("a dead child's", syscall(SYS_pidfd_getfd, other, 1, 0));
}

static void modules(void)
{
    uint64_t ids[64], attributes[512];
    uint32_t size = sizeof ids, small = 1;
    long count = syscall(SYS_lsm_list_modules, ids, &size, 0);
    show("modules", count);
    printf("  %u\n", size);
    for (long i = 0; i < count; i++)
        printf("  %d\n", (int)ids[i]);
    if (count != 0)
        show("no room", syscall(SYS_lsm_list_modules, ids, &small, 0));
    show("flags", syscall(SYS_lsm_list_modules, ids, &size, 1));
    show("no size", syscall(SYS_lsm_list_modules, ids, NULL, 0));
    /* A kernel without the call does not look at the address. */
    if (count >= 0)
        show("a size beyond", syscall(SYS_lsm_list_modules, ids, beyond, 0));
    size = sizeof attributes;
    show("current", syscall(SYS_lsm_get_self_attr, 100, attributes, &size, 0));
    show("no attribute", syscall(SYS_lsm_get_self_attr, 0, attributes, &size, 0));
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    for (int kind = KCMP_VM; kind <= KCMP_SYSVSEM; kind++) {
        printf("child, %d", kind);
        equal("", compare(getpid(), child, kind, 0, 0));
    }
    show("unknown", compare(getpid(), getpid(), 99, 0, 0));
    show("nobody", compare(getpid(), 0x3fffff, KCMP_VM, 0, 0));
    show("nobody's file", compare(0x3fffff, getpid(), KCMP_FILE, 0, 0));
    files(child);
    take(child);
    modules();
    return 0;
}
