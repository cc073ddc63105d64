/* Question: do threads start, share memory, wait for each other and end, as on Linux?
 *
 * Counters show lost updates, the rings show lost wake-ups, and the stacks that are reused by
 * many short threads show what one thread leaves behind for the next.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 200
#define SHORT_LIVED 50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int counter, turn;
static _Atomic int atomic_counter;
static _Thread_local int own;

static int gettid_now(void) { return (int)syscall(SYS_gettid); }

/* Counts together with the others; its own variable must only ever be its own. */
static void *count(void *argument)
{
    int number = (int)(intptr_t)argument;
    intptr_t right = own == 0 && gettid_now() != getpid();
    own = number;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        atomic_counter++;
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        if (i % 50 == 0)
            sched_yield();
    }
    return (void *)(right & (own == number));
}

/* Waits for its turn, then passes it on. */
static void *pass(void *argument)
{
    int number = (int)(intptr_t)argument;
    for (int i = 0; i < ROUNDS / 10; i++) {
        pthread_mutex_lock(&lock);
        while (turn != number)
            pthread_cond_wait(&turned, &lock);
        turn = (turn + 1) % THREADS;
        counter++;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return (void *)1;
}

static void *leave(void *argument) { pthread_exit((char *)argument + 1); }

/* Runs `work` in all threads at once and returns how many of them say that all was right. */
static int together(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    int right = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
            return -1;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        right += (int)(intptr_t)result;
    }
    return right;
}

static int one_after_another(void)
{
    int right = 0;
    for (intptr_t i = 0; i < SHORT_LIVED; i++) {
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, NULL, leave, (void *)i) != 0)
            return -1;
        pthread_join(thread, &result);
        right += (intptr_t)result == i + 1;
    }
    return right;
}

static void *outlive(void *argument)
{
    (void)argument;
    usleep(20000);
    printf("the last thread ends the process\n");
    return NULL;
}

int main(void)
{
    pthread_barrier_init(&barrier, NULL, THREADS);
    int right = together(count);
    printf("counting: %d of %d threads right, %d, %d\n", right, THREADS, counter, atomic_counter);
    counter = 0;
    right = together(pass);
    printf("in turn: %d of %d threads right, %d\n", right, THREADS, counter);
    printf("one after another: %d of %d\n", one_after_another(), SHORT_LIVED);

    pthread_t thread;
    pthread_create(&thread, NULL, outlive, NULL);
    pthread_exit(NULL);
}
