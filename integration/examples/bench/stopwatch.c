/* `stopwatch PROGRAM ARGS…`: how long a program takes from its start to its end, in nanoseconds.
 *
 * It runs where the program is to run, such as in a container, so that neither the container's own
 * life nor the tool that started it is measured. The program's output goes nowhere. It ends with 1 when
 * the program does not end with 0.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
    posix_spawn_file_actions_t actions;
    int status, error;
    pid_t child;
    uint64_t begin;

    if (argc < 2) {
        fprintf(stderr, "usage: stopwatch PROGRAM ARGS...\n");
        return 2;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    begin = now();
    error = posix_spawn(&child, argv[1], &actions, NULL, argv + 1, environ);
    if (error) {
        fprintf(stderr, "stopwatch: %s: %s\n", argv[1], strerror(error));
        return 2;
    }
    waitpid(child, &status, 0);
    printf("%" PRIu64 "\n", now() - begin);
    if (status != 0)
        fprintf(stderr, "stopwatch: %s ended with status %#x\n", argv[1], status);
    return status != 0;
}
