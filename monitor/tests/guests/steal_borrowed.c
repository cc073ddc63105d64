/*
 * Question: can a child that shares its parent's memory, and has threads, take what one of them is refused to execute?
 * One executes the file of the process's memory again and again; two try to read by every number meanwhile. Natively
 * that file is never open.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 65536, SECONDS = 4 };

static volatile uint64_t word = 12345;
static volatile int stolen, done;
static char stacks[3][STACK] __attribute__((aligned(16)));

/* The word's own address is its offset in /proc/self/mem. The C library knows nothing of these threads. */
static int steal(void *unused)
{
    (void)unused;
    while (!done)
        for (int fd = 3; fd < 12; fd++) {
            uint64_t value = 0;
            if (syscall(SYS_pread64, fd, &value, sizeof value, (long)&word) == sizeof value && value == word)
                stolen = done = 1;
        }
    syscall(SYS_exit, 0);
    return 0;
}

static int borrow(void *unused)
{
    int flags = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES | CLONE_FS;
    char *none[] = {NULL};
    (void)unused;
    if (clone(steal, stacks[1] + STACK, flags, NULL) < 0 || clone(steal, stacks[2] + STACK, flags, NULL) < 0)
        syscall(SYS_exit_group, 2);
    for (time_t end = time(NULL) + SECONDS; !done && time(NULL) < end;)
        syscall(SYS_execve, "/proc/self/mem", none, none);
    done = 1;
    syscall(SYS_exit_group, 0);
    return 0;
}

int main(void)
{
    int status = -1;
    pid_t child = clone(borrow, stacks[0] + STACK, CLONE_VM | SIGCHLD, NULL);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 1;
    puts(stolen ? "stolen" : "kept");
    return stolen;
}
