/* Question: can a program change a file that it has no descriptor of and knows no name of, by a name that procfs
 * gives to descriptors? Run with the rights of a container's root.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUMBERS 4096

static int is_same(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* By a link of the program's own, as what follows links looks at names that it can see. */
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

int main(void)
{
    struct stat known[3];
    int changed = 0;
    if (fstat(1, &known[0]) != 0 || fstat(2, &known[1]) != 0 || stat("/proc/self/exe", &known[2]) != 0)
        return 1;
    for (int fd = 3; fd < NUMBERS; fd++) {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        changed += changes(name, known);
    }
    unlink("/tmp/link");
    printf("changed: %d\n", changed);
    return 0;
}
