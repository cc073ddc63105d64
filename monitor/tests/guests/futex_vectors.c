/* Question: do the futex calls that take several futexes at once work, and the rarer operations? */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_requeue
#define SYS_futex_requeue 456
#endif

enum { SIZE_32 = 2, PRIVATE = 128, WAITERS = 4 };

struct waiter {
    uint64_t value, address;
    uint32_t flags, reserved;
};

static void *const elsewhere = (void *)0x10000000000, *const beyond = (void *)0x800000000000;
static uint32_t words[200], lock_word;
static volatile int waiting, ended;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

static struct timespec in_ms(long ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static long waitv(struct waiter *list, unsigned count, unsigned flags, void *limit)
{
    return syscall(SYS_futex_waitv, list, count, flags, limit, CLOCK_MONOTONIC);
}

static long futex(void *word, int operation, long value, void *more, void *other, long last)
{
    return syscall(SYS_futex, word, operation, value, more, other, last);
}

static void fill(struct waiter *list, int count)
{
    for (int i = 0; i < count; i++)
        list[i] = (struct waiter){words[i], (uintptr_t)&words[i], SIZE_32 | PRIVATE, 0};
}

static void *wake_third(void *unused)
{
    (void)unused;
    while (futex(&words[2], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0)
        usleep(1000);
    return NULL;
}

static void waits(void)
{
    struct waiter list[129];
    pthread_t waker;
    fill(list, 129);
    struct timespec limit = in_ms(20);
    show("time is up", waitv(list, 128, 0, &limit));
    show("too many", waitv(list, 129, 0, &limit));
    show("none", waitv(list, 0, 0, &limit));
    show("no list", waitv(NULL, 1, 0, &limit));
    show("a list elsewhere", waitv(elsewhere, 1, 0, &limit));
    show("a list beyond", waitv(beyond, 1, 0, &limit));
    show("a time beyond", waitv(list, 1, 0, beyond));
    show("flags", waitv(list, 1, 1, &limit));
    list[1].value = 1;
    show("another value", waitv(list, 2, 0, &limit));
    fill(list, 4);
    list[1].flags = 0x77;
    show("wrong flags", waitv(list, 2, 0, &limit));
    fill(list, 4);
    list[1].reserved = 1;
    show("reserved", waitv(list, 2, 0, &limit));
    uint64_t bad[] = {0, 1, (uintptr_t)elsewhere, (uintptr_t)elsewhere + 1, (uintptr_t)beyond, -8};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fill(list, 4);
        list[1].address = bad[i];
        show("a bad address", waitv(list, 2, 0, &limit));
    }
    fill(list, 4);
    pthread_create(&waker, NULL, wake_third, NULL);
    show("the third was woken", waitv(list, 4, 0, NULL));
    pthread_join(waker, NULL);
}

static void *wait_first(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    futex(&words[0], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Who is woken without a reason waits at the first word again, as Linux has it: then there are fewer at the second. */
static int wake_all(int moved)
{
    int at_second = 0;
    while (ended < WAITERS) {
        at_second += futex(&words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        usleep(1000);
        if (at_second > 0 || moved == 0)
            futex(&words[0], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return at_second;
}

/* Until as many wait on `from` as there are, one after the other is moved to `to`. */
static void requeues(void)
{
    struct waiter pair[2];
    pthread_t threads[WAITERS];
    fill(pair, 2);
    for (int i = 0; i < WAITERS; i++)
        pthread_create(&threads[i], NULL, wait_first, NULL);
    int moved = 0;
    while (moved < WAITERS) {
        long result = syscall(SYS_futex_requeue, pair, 0, 0, 1);
        if (result < 0) {
            show("requeue", result);
            break;
        }
        moved += result;
    }
    printf("moved %d\n", moved);
    printf("woken where they were moved to: %s\n", wake_all(moved) > 0 ? "yes" : "none");
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    show("no list", syscall(SYS_futex_requeue, NULL, 0, 0, 1));
    show("a list elsewhere", syscall(SYS_futex_requeue, elsewhere, 0, 0, 1));
    show("flags", syscall(SYS_futex_requeue, pair, 1, 0, 1));
    pair[0].value = 3;
    show("another value", syscall(SYS_futex_requeue, pair, 0, 0, 1));
    pair[0].address = (uintptr_t)elsewhere;
    show("a bad address", syscall(SYS_futex_requeue, pair, 0, 0, 1));
    pair[0].address = (uintptr_t)beyond;
    show("a worse address", syscall(SYS_futex_requeue, pair, 0, 0, 1));
}

static void *wait_for_lock(void *unused)
{
    (void)unused;
    uint32_t *condition = &words[8];
    __atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
    long got = futex(condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &lock_word, 0);
    int owner = (lock_word & FUTEX_TID_MASK) == (uint32_t)gettid();
    long left = futex(&lock_word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    return (void *)(intptr_t)(got == 0 && owner && left == 0);
}

static void inheritance(void)
{
    struct timespec limit = in_ms(20), past = {1, 0};
    pthread_t waiter;
    void *good;
    uint32_t *condition = &words[8];
    show("lock", futex(&lock_word, FUTEX_LOCK_PI2_PRIVATE, 0, &limit, NULL, 0));
    printf("mine: %d\n", lock_word == (uint32_t)gettid());
    show("lock again", futex(&lock_word, FUTEX_LOCK_PI2_PRIVATE, 0, &limit, NULL, 0));
    show("try", futex(&lock_word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    pthread_create(&waiter, NULL, wait_for_lock, NULL);
    long moved;
    do
        moved = futex(condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &lock_word, 0);
    while (moved == 0);
    show("moved", moved);
    show("unlock", futex(&lock_word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    pthread_join(waiter, &good);
    printf("it had the lock: %d\n", (int)(intptr_t)good);
    show("unlock another's", futex(&lock_word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    show("wait and time is up", futex(condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &past, &lock_word, 0));
    show("another value", futex(condition, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &words[9], 5));
    show("elsewhere", futex(elsewhere, FUTEX_LOCK_PI2_PRIVATE, 0, NULL, NULL, 0));
}

static void *die_with_lock(void *mutex)
{
    pthread_mutex_lock(mutex);
    return NULL;
}

static void robust(int protocol)
{
    pthread_mutexattr_t kind;
    pthread_mutex_t mutex;
    pthread_t owner;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&kind, protocol);
    pthread_mutex_init(&mutex, &kind);
    pthread_create(&owner, NULL, die_with_lock, &mutex);
    pthread_join(owner, NULL);
    printf("owner died: %d\n", pthread_mutex_lock(&mutex) == EOWNERDEAD);
    printf("consistent: %d\n", pthread_mutex_consistent(&mutex));
    printf("unlock: %d\n", pthread_mutex_unlock(&mutex));
}

int main(void)
{
    waits();
    requeues();
    inheritance();
    robust(PTHREAD_PRIO_NONE);
    robust(PTHREAD_PRIO_INHERIT);
    return 0;
}
