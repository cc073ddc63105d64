/* Question: can a program change a file that it has no descriptor of and knows no name of, by a name that procfs
 * gives to descriptors? Run with the rights of a container's root, in a container: it makes the mounts of such files
 * writable, and attaches them, where it can.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBERS 4096

static int is_same(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* By its name, and by a link of the program's own. */
static int changes(const char *name, const struct stat known[3])
{
    struct stat found;
    unlink("/tmp/link");
    if (symlink(name, "/tmp/link") != 0 || stat("/tmp/link", &found) != 0)
        return 0;
    for (int i = 0; i < 3; i++)
        if (is_same(&found, &known[i]))
            return 0;
    if (!S_ISREG(found.st_mode) && !S_ISCHR(found.st_mode))
        return 0;
    return chown("/tmp/link", -1, -1) == 0 || chmod("/tmp/link", found.st_mode & 07777) == 0
           || chown(name, -1, -1) == 0 || chmod(name, found.st_mode & 07777) == 0;
}

/* With all rights over mounts, of a user namespace. Who is in it has no rights over the files. */
static int changes_mounts(void)
{
    int changed = 0, status = 0;
    pid_t child = fork();
    if (child == 0) {
        unsigned long writable[4] = {0, 1 /* MOUNT_ATTR_RDONLY */, 0, 0};
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            _exit(99);
        for (int fd = 3; fd < NUMBERS; fd++) {
            char name[64];
            struct stat found;
            snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
            unlink("/tmp/link");
            /* A directory is the program's own /proc. */
            if (symlink(name, "/tmp/link") != 0 || stat("/tmp/link", &found) != 0 || S_ISDIR(found.st_mode))
                continue;
            changed += syscall(SYS_mount_setattr, AT_FDCWD, name, 0, writable, sizeof writable) == 0;
            changed += syscall(SYS_mount_setattr, AT_FDCWD, "/tmp/link", 0, writable, sizeof writable) == 0;
            changed += syscall(SYS_move_mount, AT_FDCWD, name, AT_FDCWD, "/tmp/change_by_name", 0) == 0;
            changed += syscall(SYS_move_mount, AT_FDCWD, "/tmp/link", AT_FDCWD, "/tmp/change_by_name", 4) == 0;
        }
        unlink("/tmp/link");
        _exit(changed > 98 ? 98 : changed);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

int main(void)
{
    struct stat known[3];
    int changed = 0, mounts;
    /* What it was started with is not somebody else's. */
    syscall(SYS_close_range, 3, ~0U, 0);
    mounts = changes_mounts();
    if (fstat(1, &known[0]) != 0 || fstat(2, &known[1]) != 0 || stat("/proc/self/exe", &known[2]) != 0)
        return 1;
    for (int fd = 3; fd < NUMBERS; fd++) {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        changed += changes(name, known);
    }
    unlink("/tmp/link");
    printf("mounts: %d, changed: %d\n", mounts, changed);
    return 0;
}
