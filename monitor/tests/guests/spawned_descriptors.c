/* Question: are a program's descriptors its own, also where a child that it spawned has used such numbers for something
 * else?
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 8192, FILES = 1100 };

extern char **environ;

static void spawn_with_paths(void)
{
    char *arguments[] = {"self", "child", NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 4, "/proc/self/cwd/../dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 5, "/proc/self/fd/0", O_RDONLY, 0);
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ) == 0)
        waitpid(child, &status, 0);
    printf("spawned: %d\n", status);
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    struct stat status, own;
    int changed = 0, opened = 0, numbers[FILES];
    if (count > 1 && strcmp(arguments[1], "child") == 0)
        return 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < LIMIT ? limit.rlim_max : LIMIT;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (chdir("/tmp") != 0)
        return 1;
    for (int i = 0; i < 3; i++)
        spawn_with_paths();
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    fstat(file, &own);
    while (opened < FILES && (numbers[opened] = dup(file)) >= 0)
        opened++;
    for (int i = 0; i < 10; i++) {
        access("/etc/passwd", R_OK);
        stat("/proc/self/exe", &status);
        chdir("/");
        close(open("/proc/self/cwd/dev/null", O_RDONLY));
    }
    for (int i = 0; i < opened; i++)
        changed += fstat(numbers[i], &status) != 0 || status.st_ino != own.st_ino || status.st_dev != own.st_dev;
    printf("opened: %d, changed: %d\n", opened, changed);
    return 0;
}
