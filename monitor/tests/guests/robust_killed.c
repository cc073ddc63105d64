/* Question: is a robust lock in shared memory released, however its owner ends? */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct { pthread_mutex_t locks[2]; volatile int ready; } *shared;
static char *volatile nowhere;
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

static pthread_barrier_t taken;

static void *takes(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_barrier_wait(&taken);
    for (;;)
        pause();
    return lock;
}

static void take_by_threads(void)
{
    pthread_t threads[2];
    pthread_barrier_init(&taken, NULL, 3);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, takes, &shared->locks[i]);
    pthread_barrier_wait(&taken);
}

/* Threads that make no call of their own. */
static atomic_int spinning;

static void *takes_silently(void *lock)
{
    pthread_mutex_lock(lock);
    for (spinning++;;)
        ;
    return lock;
}

static void take_silently(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, takes_silently, &shared->locks[i]);
    while (spinning < 2)
        usleep(1000);
}

static void before_a_child(void)
{
    if (fork() == 0) {
        usleep(300000); /* It owns nothing, and outlives its parent. */
        _exit(0);
    }
    raise(SIGKILL);
}

static void take_both(void)
{
    for (int i = 0; i < 2; i++)
        pthread_mutex_lock(&shared->locks[i]);
}

/* The last thread that is left is not the first one. */
static void *kills(void *argument) { usleep(10000); raise(SIGKILL); return argument; }
static void first_ended(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, kills, NULL);
    pthread_exit(NULL);
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

static void try(const char *what, void (*take)(void), void (*end)(void))
{
    int status;
    shared->ready = 0;
    pid_t child = fork();
    if (child == 0) {
        take();
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
    try("killed by itself", take_both, killed);
    try("killed by its parent", take_both, by_parent);
    try("terminated", take_both, terminated);
    try("at a fault", take_both, faulted);
    try("at its end", take_both, ended);
    try("at the next program", take_both, executed);
    try("killed after a child in its memory", take_both, after_spawn);
    try("killed after a child", take_both, after_fork);
    try("ended after a thread", take_both, after_a_thread);
    try("threads, killed by one", take_by_threads, killed);
    try("threads, killed by their parent", take_by_threads, by_parent);
    try("threads, at their end", take_by_threads, ended);
    try("threads, at a fault", take_by_threads, faulted);
    try("threads, at the next program", take_by_threads, executed);
    try("threads, killed after a child in their memory", take_by_threads, after_spawn);
    try("threads, killed before a child", take_by_threads, before_a_child);
    try("threads without a call, killed by their parent", take_silently, by_parent);
    try("threads without a call, at a fault", take_silently, faulted);
    try("killed after the first thread", take_both, first_ended);
    return 0;
}
