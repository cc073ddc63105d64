/* Question: does a path lead, by a link of procfs at its end or on its way, to what is behind a descriptor that the
 * program does not have? Every number is tried that may be somebody else's, by names, by links of the program's own,
 * from directories, and while another thread swaps links. What is not there is ENOENT to every call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

enum { OWN = 3, LINKS = 4, WATCH = 5, FIRST = 6 };

/* How often a link is looked through while it changes: the first argument. */
static int swaps = 2000;
static char base[64], name[200], other[200];
static int found;

/* Whether a call says that nothing is there. */
static void nothing(const char *call, const char *path, int result)
{
    if (result < 0 && errno == ENOENT)
        return;
    if (found++ < 10)
        fprintf(stderr, "%s %s: %d %s\n", call, path, result, result < 0 ? strerror(errno) : "");
    if (result > WATCH)
        close(result);
}

static void ask(int directory, const char *path)
{
    static struct { struct file_handle head; char rest[128]; } handle;
    struct stat status;
    struct statx more;
    int mount, at_cwd = directory == AT_FDCWD;
    handle.head.handle_bytes = sizeof handle.rest;
    nothing("openat", path, openat(directory, path, O_RDONLY | O_NONBLOCK));
    nothing("O_PATH", path, openat(directory, path, O_PATH));
    nothing("fstatat", path, fstatat(directory, path, &status, 0));
    nothing("statx", path, statx(directory, path, 0, STATX_ALL, &more));
    nothing("faccessat", path, faccessat(directory, path, F_OK, 0));
    nothing("fchmodat", path, fchmodat(directory, path, 0755, 0));
    nothing("fchownat", path, fchownat(directory, path, -1, -1, 0));
    nothing("utimensat", path, utimensat(directory, path, NULL, 0));
    nothing("linkat", path, linkat(directory, path, AT_FDCWD, other, AT_SYMLINK_FOLLOW));
    nothing("name_to_handle_at", path, name_to_handle_at(directory, path, &handle.head, &mount, AT_SYMLINK_FOLLOW));
    if (!at_cwd)
        return;
    struct statfs filesystem;
    char value[8];
    nothing("statfs", path, statfs(path, &filesystem));
    nothing("chdir", path, chdir(path));
    nothing("chroot", path, chroot(path));
    nothing("truncate", path, truncate(path, 0));
    nothing("utime", path, syscall(SYS_utime, path, NULL));
    nothing("setxattr", path, setxattr(path, "user.a", "", 0, 0));
    nothing("removexattr", path, removexattr(path, "user.a"));
    nothing("getxattr", path, getxattr(path, "user.a", value, sizeof value));
    nothing("inotify_add_watch", path, inotify_add_watch(WATCH, path, IN_ATTRIB));
}

static void link_to(const char *target, const char *at)
{
    unlink(at);
    if (symlink(target, at) != 0)
        exit(3);
}

static void ask_all(int number)
{
    const char *forms[] = {"/proc/self/fd/%d", "/proc/thread-self/fd/%d", "/dev/fd/%d"};
    char text[100], path[300];
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        snprintf(text, sizeof text, forms[i], number);
        ask(AT_FDCWD, text);
        link_to(text, name);
        ask(AT_FDCWD, name);
        strcat(text, "/.");
        ask(AT_FDCWD, text);
    }
    snprintf(path, sizeof path, "%s/folder/%d", base, number);
    ask(AT_FDCWD, path);
    snprintf(text, sizeof text, "folder/../fd/%d", number);
    link_to(text, name);
    ask(AT_FDCWD, name);
    ask(LINKS, "link");
    snprintf(text, sizeof text, "%d", number);
    ask(OWN, text);
    snprintf(text, sizeof text, "%d/self", number);
    ask(OWN, text);
    if (fchdir(OWN) != 0)
        exit(4);
    snprintf(text, sizeof text, "%d", number);
    ask(AT_FDCWD, text);
    if (chdir("/") != 0)
        exit(4);
}

static volatile int is_over;

/* The link leads to the program's own file, and to a descriptor that is not the program's, in turns. */
static void *swap(void *argument)
{
    char one[300], two[300];
    snprintf(one, sizeof one, "%s/one", base);
    snprintf(two, sizeof two, "%s/two", base);
    while (!is_over) {
        link_to(other, one);
        rename(one, name);
        link_to(argument, two);
        rename(two, name);
    }
    return NULL;
}

/* Whether a call neither was about the program's own file nor said that nothing is there. */
static int is_other(int result)
{
    /* Not every filesystem has attributes of users. */
    return result != 0 && errno != ENOENT && errno != EOPNOTSUPP;
}

/* The same for calls that Linux has no form of for descriptors. */
static int changed(int i)
{
    struct utimbuf times = {1000 + i, 1000 + i};
    struct stat status;
    char value[16];
    int count = 0, result = truncate(name, 1 + i);
    count += result == 0 ? stat(other, &status) != 0 || status.st_size != 1 + i : is_other(result);
    result = syscall(SYS_utime, name, &times);
    count += result == 0 ? stat(other, &status) != 0 || status.st_mtime != times.modtime : is_other(result);
    result = setxattr(name, "user.a", &i, sizeof i, 0);
    count += result == 0 ? getxattr(other, "user.a", value, sizeof value) != sizeof i || memcmp(value, &i, sizeof i) != 0
                         : is_other(result);
    result = removexattr(name, "user.a");
    return count + (result == 0 ? getxattr(other, "user.a", value, sizeof value) >= 0
                                : is_other(result) && errno != ENODATA);
}

/* A change by the link is one of the program's own file. */
static int raced(int number)
{
    pthread_t thread;
    struct stat status;
    int count = 0;
    char text[64];
    struct timespec first[2] = {{1000, 0}, {1000, 0}};
    close(open(other, O_CREAT | O_RDWR, 0600));
    if (utimensat(AT_FDCWD, other, first, 0) != 0)
        return -1;
    snprintf(text, sizeof text, "/proc/self/fd/%d", number);
    link_to(other, name);
    is_over = 0;
    if (pthread_create(&thread, NULL, swap, text) != 0)
        return -1;
    for (int i = 0; i < swaps; i++) {
        struct timespec times[2] = {{1000 + i, 0}, {1000 + i, 0}};
        if (i % 4 == 0) {
            count += changed(i);
            count += utimensat(AT_FDCWD, other, times, 0) != 0;
        }
        if (utimensat(AT_FDCWD, name, times, 0) == 0)
            count += stat(other, &status) != 0 || status.st_mtime != 1000 + i;
        if (stat(name, &status) == 0)
            count += !S_ISREG(status.st_mode) || status.st_mtime < 1000 || status.st_mtime > 1000 + swaps;
        int fd = open(name, O_RDONLY | O_NONBLOCK);
        if (fd >= 0) {
            count += fstat(fd, &status) != 0 || status.st_mtime < 1000 || status.st_mtime > 1000 + swaps;
            close(fd);
        }
    }
    is_over = 1;
    pthread_join(thread, NULL);
    unlink(other);
    return count;
}

int main(int count, char **arguments)
{
    if (count > 1)
        swaps = atoi(arguments[1]);
    struct rlimit limit;
    char path[300];
    syscall(SYS_close_range, 3, ~0U, 0);
    snprintf(base, sizeof base, "/tmp/links_in_paths.%d", getpid());
    snprintf(name, sizeof name, "%s/link", base);
    snprintf(other, sizeof other, "%s/other", base);
    snprintf(path, sizeof path, "%s/folder", base);
    if (mkdir(base, 0700) != 0 || symlink("/proc/self/fd", path) != 0)
        return 1;
    if (open("/proc/self/fd", O_RDONLY) != OWN || open(base, O_RDONLY) != LINKS || inotify_init() != WATCH)
        return 2;
    getrlimit(RLIMIT_NOFILE, &limit);
    int soft = limit.rlim_cur < 100000 ? (int)limit.rlim_cur : 960, races = 0;
    for (int at = 0; at < 8; at++) {
        ask_all(FIRST + at);
        ask_all(960 + at);
        ask_all(soft + at);
    }
    for (int at = 0; at < 4; at++) {
        races += raced(960 + at);
        races += raced(soft + at);
    }
    unlink(name);
    unlink(path);
    int is_left = rmdir(base);
    printf("found: %d, raced: %d, left: %d\n", found, races, is_left);
    return 0;
}
