/* Question: does a program find open descriptors that it did not open, by number or by /proc?
 *
 * Prints every descriptor that is open, what /proc shows, and whether the program can harm one
 * that it does not see: closing all, or duplicating over all, must leave it able to go on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define NUMBERS 4096

static void show_open(const char *when)
{
    printf("%s:", when);
    for (int fd = 0; fd < NUMBERS; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    printf("\n");
}

/* Through /proc a descriptor could be opened again, with rights of its own. */
static void show_proc(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int wrong = 0, reopened = 0;
    while (dir && (entry = readdir(dir)))
        wrong += atoi(entry->d_name) > dirfd(dir);
    if (dir)
        closedir(dir);
    for (int fd = 3; fd < NUMBERS; fd++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_RDONLY | O_NONBLOCK);
        reopened += again >= 0;
        if (again >= 0)
            close(again);
    }
    printf("in /proc and not ours: %d, opened through /proc: %d\n", wrong, reopened);
}

/* Nor has it a name, whatever is asked about that. What somebody left open for us is not asked, as it would be changed. */
static void show_named(void)
{
    int found = 0;
    for (int fd = 3; fd < NUMBERS; fd++) {
        struct stat status;
        char path[64];
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
        found += lstat(path, &status) == 0;
        found += fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
        found += chmod(path, 0600) == 0 || errno != ENOENT;
        found += chown(path, -1, -1) == 0 || errno != ENOENT;
        found += lchown(path, -1, -1) == 0 || errno != ENOENT;
        found += utimensat(AT_FDCWD, path, NULL, 0) == 0 || errno != ENOENT;
        found += chdir(path) == 0 || errno != ENOENT;
        found += getxattr(path, "user.none", NULL, 0) == 0 || errno != ENOENT;
        found += linkat(AT_FDCWD, path, AT_FDCWD, "/nowhere/at/all", AT_SYMLINK_FOLLOW) == 0 || errno != ENOENT;
    }
    printf("named: %d\n", found);
}

/* What is not open is said to be so, one by one, all together, and time and again: a call made often is made in
 * another way. */
static void show_polled(void)
{
    enum { TOGETHER = 256 };
    static struct pollfd list[TOGETHER];
    static unsigned long set[NUMBERS / 64];
    struct timespec now = {0, 0};
    int found = 0, wrong = 0, ready = 0;
    for (int fd = 3; fd < NUMBERS; fd++) {
        struct pollfd one = {fd, POLLIN | POLLOUT, 77};
        wrong += poll(&one, 1, 0) != 1 || one.revents != POLLNVAL || one.fd != fd || one.events != (POLLIN | POLLOUT);
        set[fd / 64] = 1UL << fd % 64;
        ready += syscall(SYS_select, fd + 1, set, NULL, NULL, &now) > 0;
        set[fd / 64] = 1UL << fd % 64;
        ready += syscall(SYS_pselect6, fd + 1, NULL, set, NULL, &now, NULL) > 0;
        set[fd / 64] = 0;
    }
    for (int first = 3; first + TOGETHER < NUMBERS; first += TOGETHER) {
        for (int i = 0; i < TOGETHER; i++)
            list[i] = (struct pollfd){first + i, POLLIN, 0};
        found += syscall(SYS_ppoll, list, TOGETHER, &now, NULL, 0);
        for (int i = 0; i < TOGETHER; i++)
            wrong += list[i].revents != POLLNVAL;
    }
    printf("polled and not open: %d, wrongly: %d; selected and ready: %d\n", found, wrong, ready);
}

/* New memory, time and a file: all that a monitor needs descriptors of its own for. */
static void go_on(const char *after)
{
    char *at = mmap(NULL, 1 << 22, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(at, 1, 1 << 22);
    int fd = open("/dev/null", O_RDONLY);
    printf("%s: memory %d, next descriptor %d\n", after, at[12345], fd);
    close(fd);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    show_open("at entry");
    show_proc();
    show_named();
    show_polled();

    for (int fd = 3; fd < NUMBERS; fd++)
        close(fd);
    go_on("after close");
    syscall(SYS_close_range, 3, ~0U, 0);
    go_on("after close_range");

    /* A known difference where the soft limit is high: the few numbers that are the monitor's
     * are EBADF to the guest, where Linux would let them be taken. What must not happen is that
     * one is taken. */
    int refused = 0, kept = 0;
    for (int fd = 3; fd < 1024; fd++) {
        if (dup2(2, fd) == fd)
            continue;
        if (errno == EBADF)
            kept++;
        else
            refused++;
    }
    printf("dup2 kept from: %s, refused otherwise: %d\n", kept <= 12 ? "few" : "many", refused);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    go_on("after dup2");
    show_open("at the end");
    return 0;
}
