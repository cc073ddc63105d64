/* Question: do fork, vfork, posix_spawn and exec make processes that Linux would make?
 *
 * Starts itself again, with "child" and further arguments. Every process tells what it must be
 * told: memory is copied, descriptors are shared, the parent learns how the child ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 5

extern char **environ;
static char *self;
static int variable = 1;
static int *volatile nowhere = (int *)16;

static void show_end(const char *what, pid_t child)
{
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        printf("%s: nothing to wait for\n", what);
    else if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else
        printf("%s: killed by %d\n", what, WTERMSIG(status));
}

static void copies_memory(void)
{
    char *heap = strdup("the parent's");
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        variable = 2;
        strcpy(heap, "the child's");
        printf("in the child: %d, %s, of its parent %d\n", variable, heap, getppid() == parent);
        _exit(variable + 40);
    }
    show_end("fork", child);
    printf("in the parent: %d, %s\n", variable, heap);
    free(heap);
}

static void shares_descriptors(void)
{
    int pipes[2];
    char text[64];
    if (pipe(pipes) != 0)
        return;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit(write(pipes[1], "g", 1) != 1);
            waitpid(grandchild, NULL, 0);
            _exit(write(pipes[1], "c", 1) != 1);
        }
        show_end("child with a child", child);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], text, sizeof text);
    printf("through the pipe: %.*s\n", (int)got, text);
    close(pipes[0]);
}

static void ends(void)
{
    pid_t child = fork();
    if (child == 0)
        abort();
    show_end("abort", child);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    kill(child, SIGTERM);
    show_end("terminated", child);
    child = fork();
    if (child == 0)
        *nowhere = 1;
    show_end("segmentation fault", child);
}

static void executes(void)
{
    char *arguments[] = {"another name", "child", "two words", "", NULL};
    char *environment[] = {"NAME=a value", NULL};
    pid_t child = fork();
    if (child == 0) {
        execve(self, arguments, environment);
        _exit(99);
    }
    show_end("fork and exec", child);
    child = vfork();
    if (child == 0) {
        execve(self, arguments, environment);
        _exit(99);
    }
    show_end("vfork and exec", child);
    if (posix_spawn(&child, self, NULL, NULL, arguments, environment) == 0)
        show_end("posix_spawn", child);
    child = vfork();
    if (child == 0) {
        execve("/no/such/program", arguments, environment);
        _exit(errno);
    }
    show_end("exec of nothing", child);
    printf("posix_spawn of nothing: %d\n",
           posix_spawn(&child, "/no/such/program", NULL, NULL, arguments, environment));
}

static int be_the_child(int argc, char **argv)
{
    const char *value = getenv("NAME");
    printf("started as");
    for (int i = 0; i < argc; i++)
        printf(" '%s'", argv[i]);
    printf(", NAME is %s\n", value ? value : "not there");
    return 7;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1 && !strcmp(argv[1], "child"))
        return be_the_child(argc, argv);
    self = argv[0];
    copies_memory();
    shares_descriptors();
    ends();
    executes();
    printf("no child is left: %d\n", wait(NULL) == -1 && errno == ECHILD);
    return 0;
}
