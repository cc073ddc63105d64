/* Question: does access(2) ask for the real user all the way along a path, and faccessat(2) for the effective one if it
 * is told so? Run as root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OTHER = 1000 };

static void show(const char *what, int result)
{
    printf("%s: %s\n", what, result == 0 ? "yes" : strerrorname_np(errno));
}

static void ask(const char *path)
{
    show("to read", access(path, R_OK));
    show("to write", access(path, W_OK));
    show("there", access(path, F_OK));
    show("to execute", access(path, X_OK));
    show("to read, effectively", faccessat(AT_FDCWD, path, R_OK, AT_EACCESS));
    show("the link", faccessat(AT_FDCWD, path, R_OK, AT_SYMLINK_NOFOLLOW));
}

int main(void)
{
    char folder[64], file[80], link[64];
    snprintf(folder, sizeof folder, "/tmp/access_ids.%d", getpid());
    snprintf(file, sizeof file, "%s/file", folder);
    snprintf(link, sizeof link, "/tmp/access_ids.link.%d", getpid());
    if (mkdir(folder, 0700) != 0 || symlink(file, link) != 0)
        return 1;
    close(open(file, O_CREAT | O_RDWR, 0644));
    const uid_t users[][2] = {{0, 0}, {OTHER, 0}, {0, OTHER}, {OTHER, OTHER}};
    for (int i = 0; i < 4; i++) {
        printf("real %u, effective %u\n", users[i][0], users[i][1]);
        if (setresuid(users[i][0], users[i][1], 0) != 0)
            return 2;
        ask(file);
        ask(link);
        ask("/tmp");
        if (setresuid(0, 0, 0) != 0)
            return 3;
    }
    unlink(link);
    unlink(file);
    rmdir(folder);
    return 0;
}
