/* Question: does nobody run on when a thread ends the process, not even who waits for that thread? */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 300 };

static pthread_mutex_t held;
static pthread_barrier_t has_lock;

/* Whoever joins it, or waits for its lock, is in the system call by then. */
static void *end_all(void *argument)
{
    pthread_mutex_lock(&held);
    pthread_barrier_wait(&has_lock);
    usleep(1000);
    _exit(3);
    return argument;
}

static void *take(void *argument)
{
    pthread_barrier_wait(&has_lock);
    pthread_mutex_lock(&held);
    _exit(4);
    return argument;
}

int main(void)
{
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&held, &kind);
    pthread_barrier_init(&has_lock, NULL, 2);
    int others = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t ending, taking;
            pthread_create(&ending, NULL, end_all, NULL);
            pthread_create(&taking, NULL, take, NULL);
            pthread_join(ending, NULL);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        others += !WIFEXITED(status) || WEXITSTATUS(status) != 3;
    }
    printf("%d of %d ended otherwise\n", others, ROUNDS);
    return 0;
}
