/* Question: has a file its end when the program lets go of it as its standard error? */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child does about the standard error that it was given: to be seen as the end of a pipe. */
static void let_go(const char *how)
{
    if (strcmp(how, "close") == 0)
        close(2);
    else if (strcmp(how, "replace") == 0)
        dup2(1, 2);
    else if (strcmp(how, "all") == 0)
        close_range(1, ~0U, 0);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    static const char *const ways[] = { "close", "replace", "all" };
    char self[4096] = "", byte;

    if (argc > 1)
        let_go(argv[1]);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 1;
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        for (int executed = 0; executed < 2; executed++) {
            int ends[2];
            if (pipe(ends) != 0)
                return 1;
            pid_t child = fork();
            if (child == 0) {
                dup2(ends[1], 2);
                close(ends[0]);
                close(ends[1]);
                if (executed)
                    execl(self, "child", ways[i], NULL);
                let_go(ways[i]);
            }
            close(ends[1]);
            alarm(20);
            printf("%s, %d: the end: %d\n", ways[i], executed, read(ends[0], &byte, 1) == 0);
            fflush(stdout);
            close(ends[0]);
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
    }
    return 0;
}
