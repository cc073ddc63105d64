/* Question: where a program has threads, is what it closes right behind `open("/proc/self/stat")` closed for everybody? And
 * can it open that after what forbids new threads, and before what threads forbid?
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 200, CHILDREN = 25, CALLS = 20000 };

static void *wait_for_ever(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static int look(void)
{
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd < 0 ? errno : 0;
}

static void closing(void)
{
    int locked = 0, open_end = 0;
    char path[] = "/tmp/proc-and-closing-XXXXXX", byte;
    int keep = mkstemp(path);
    for (int i = 0; i < ROUNDS; i++) {
        int held = open(path, O_RDWR | O_CLOEXEC), wanted = open(path, O_RDWR | O_CLOEXEC), ends[2];
        flock(held, LOCK_EX);
        look();
        close(held);
        locked += flock(wanted, LOCK_EX | LOCK_NB) != 0;
        close(wanted);
        if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
            return;
        look();
        close(ends[1]);
        open_end += read(ends[0], &byte, 1) != 0;
        close(ends[0]);
    }
    close(keep);
    unlink(path);
    printf("still locked: %d, still open: %d\n", locked, open_end);
}

/* A queue goes on telling of messages. */
static void notified(void)
{
    struct mq_attr shape = {.mq_maxmsg = 4, .mq_msgsize = 64};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
    struct timespec limit = {5, 0};
    char name[32];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, NULL);
    snprintf(name, sizeof name, "/closing-%d", getpid());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    mq_unlink(name);
    int asked = mq_notify(queue, &event), looked = look();
    int sent = mq_send(queue, "hello", 5, 0);
    int told = sigtimedwait(&set, NULL, &limit) == SIGRTMIN + 3;
    printf("notified: %d, looked: %d, sent: %d, told: %d\n", asked, looked, sent, told);
}

/* A child with one thread and many calls behind it, which needs to be alone. */
static int alone(void)
{
    int refused = 0, status;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (int calls = 0; calls < CALLS; calls++)
                syscall(SYS_getppid);
            _exit(look() != 0 || unshare(CLONE_NEWUSER) != 0);
        }
        waitpid(child, &status, 0);
        refused += status != 0;
    }
    return refused;
}

int main(void)
{
    pthread_t thread;
    printf("refused: %d\n", alone());
    fflush(stdout);
    /* The signal that tells of a message shall find no thread that does not wait for it. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
        return 1;
    sigprocmask(SIG_SETMASK, &before, NULL);
    closing();
    notified();
    int unshared = unshare(CLONE_NEWPID), looked = look();
    printf("unshared: %d, looked: %d\n", unshared, looked);
    return 0;
}
