/* Question: does a message queue tell of its first message, by signal and by thread? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static mqd_t queue;
static sem_t told;
static int value;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

static void on_thread(union sigval with)
{
    value = with.sival_int;
    sem_post(&told);
}

static void empty(void)
{
    char message[64];
    show("received", mq_receive(queue, message, sizeof message, NULL));
}

int main(void)
{
    struct mq_attr shape = {.mq_maxmsg = 4, .mq_msgsize = 64};
    char name[32];
    sigset_t set;
    siginfo_t info;
    sem_init(&told, 0, 0);
    snprintf(name, sizeof name, "/notify-%d", getpid());
    queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
    if (queue < 0) {
        printf("no queues: %s\n", strerrorname_np(errno));
        return 1;
    }
    mq_unlink(name);

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
    event.sigev_value.sival_int = 4711;
    show("by signal", mq_notify(queue, &event));
    show("once more", mq_notify(queue, &event));
    show("sent", mq_send(queue, "hello", 5, 0));
    show("signal is the one", sigwaitinfo(&set, &info) == SIGRTMIN + 3 ? 0 : -1);
    printf("code %d, value %d, from %d\n", info.si_code, info.si_value.sival_int, info.si_pid == getpid());
    empty();

    struct sigevent thread = {.sigev_notify = SIGEV_THREAD};
    thread.sigev_notify_function = on_thread;
    thread.sigev_value.sival_int = 42;
    show("by thread", mq_notify(queue, &thread));
    show("sent", mq_send(queue, "hello", 5, 0));
    sem_wait(&told);
    printf("value %d\n", value);
    empty();

    struct sigevent nothing = {.sigev_notify = SIGEV_NONE};
    show("by nothing", mq_notify(queue, &nothing));
    show("not any more", mq_notify(queue, NULL));
    show("nor before", mq_notify(queue, NULL));

    event.sigev_signo = 99;
    show("no signal", syscall(SYS_mq_notify, queue, &event));
    event.sigev_notify = 7;
    show("no way", syscall(SYS_mq_notify, queue, &event));
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_value.sival_ptr = (void *)0x10000000000;
    event.sigev_signo = queue;
    show("a cookie elsewhere", syscall(SYS_mq_notify, queue, &event));
    event.sigev_value.sival_ptr = &info;
    show("no socket", syscall(SYS_mq_notify, queue, &event));
    int wrong = 0;
    for (event.sigev_signo = 960; event.sigev_signo < 1000; event.sigev_signo++)
        wrong += syscall(SYS_mq_notify, queue, &event) != -1 || errno != EBADF;
    for (int other = 960; other < 1000; other++)
        wrong += syscall(SYS_mq_notify, other, NULL) != -1 || errno != EBADF;
    printf("descriptors that are there: %d\n", wrong);
    show("elsewhere", syscall(SYS_mq_notify, queue, (void *)0x10000000000));
    show("beyond", syscall(SYS_mq_notify, queue, (void *)0x800000000000));
    show("no queue", syscall(SYS_mq_notify, 0, NULL));
    return 0;
}
