/* Question: does a child that was just started have its program's name at once?
 *
 * posix_spawn returns as soon as the child executes its program: from then on /proc must say which.
 * (What its arguments are it may say a little later, on Linux too.)
 */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 50 };

int main(int argc, char **argv)
{
    char own[300] = "", *const arguments[] = {argv[0], "wait", NULL}, *const environment[] = {NULL};
    int right = 0;

    if (argc > 1) {
        pause();
        return 0;
    }
    if (readlink("/proc/self/exe", own, sizeof own - 1) < 0)
        return 1;
    for (int i = 0; i < ROUNDS; i++) {
        char link[32], target[300] = "";
        pid_t child;

        if (posix_spawn(&child, own, NULL, NULL, arguments, environment))
            return 2;
        snprintf(link, sizeof link, "/proc/%d/exe", child);
        if (readlink(link, target, sizeof target - 1) < 0)
            perror(link);
        right += strcmp(target, own) == 0;
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    printf("%d of %d\n", right, ROUNDS);
    return 0;
}
