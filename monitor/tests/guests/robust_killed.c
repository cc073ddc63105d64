/* Question: is a robust lock in shared memory released, however its owner ends? */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct { pthread_mutex_t locks[2]; volatile int ready; } *shared;
static char *nowhere;
static char *const program[] = { "/bin/true", NULL };

static void *nothing(void *argument) { return argument; }

static void killed(void) { raise(SIGKILL); }
static void by_parent(void) { for (;;) pause(); }
static void terminated(void) { raise(SIGTERM); }
static void faulted(void) { *nowhere = 1; }
static void ended(void) { _exit(3); }
static void executed(void) { execv(program[0], program); execv("/bin/busybox", program); }

/* A child in its memory, which is back before it is killed. */
static void after_spawn(void)
{
    pid_t child;
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, (char *[]){"self", "nothing", NULL}, NULL) == 0)
        waitpid(child, NULL, 0);
    raise(SIGKILL);
}

static void after_fork(void)
{
    pid_t child = fork();
    if (child == 0)
        raise(SIGKILL); /* It owns nothing. */
    waitpid(child, NULL, 0);
    printf("  the parent has it: %s\n", strerrorname_np(pthread_mutex_trylock(&shared->locks[0])));
    fflush(stdout);
    raise(SIGKILL);
}

static void after_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, nothing, NULL);
    pthread_join(thread, NULL);
    _exit(4);
}

static void show(const char *what, int lock)
{
    int result = pthread_mutex_lock(&shared->locks[lock]);
    printf("%s: %s\n", what, result == 0 ? "free" : strerrorname_np(result));
    if (result == EOWNERDEAD)
        pthread_mutex_consistent(&shared->locks[lock]);
    if (result == 0 || result == EOWNERDEAD)
        pthread_mutex_unlock(&shared->locks[lock]);
}

static void try(const char *what, void (*end)(void))
{
    int status;
    shared->ready = 0;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 2; i++)
            pthread_mutex_lock(&shared->locks[i]);
        shared->ready = 1;
        end();
        _exit(9);
    }
    while (!shared->ready)
        usleep(1000);
    if (end == by_parent)
        kill(child, SIGKILL);
    /* Somebody may wait for it by then. */
    show(what, 0);
    waitpid(child, &status, 0);
    show("  the other one", 1);
    printf("  status %x\n", status);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "nothing") == 0)
        return 0;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < 2; i++)
        pthread_mutex_init(&shared->locks[i], &kind);
    try("killed by itself", killed);
    try("killed by its parent", by_parent);
    try("terminated", terminated);
    try("at a fault", faulted);
    try("at its end", ended);
    try("at the next program", executed);
    try("killed after a child in its memory", after_spawn);
    try("killed after a child", after_fork);
    try("ended after a thread", after_a_thread);
    return 0;
}
