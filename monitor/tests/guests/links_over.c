/* Question: a program mounts links over the names of its own descriptors in /proc. Does what it opens and changes by its
 * path stay the file there, and not become what the links lead to: a process's memory?
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NUMBERS = 1200 };

static char links[] = "/tmp/links-over-XXXXXX";
static char path[128];
static const char *own = "not for files";

static void *wait_for_ever(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

/* A folder with a link for each number, and a file that is called "file". */
static int make(void)
{
    if (mkdtemp(links) == NULL)
        return -1;
    for (int number = 0; number < NUMBERS; number++) {
        snprintf(path, sizeof path, "%s/%d", links, number);
        if (symlink("/proc/self/mem", path) != 0)
            return -1;
    }
    snprintf(path, sizeof path, "%s/file", links);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    int written = write(fd, "plain", 5);
    close(fd);
    return written == 5 ? 0 : -1;
}

static void clean(const char *folder)
{
    for (int number = 0; number < NUMBERS; number++) {
        snprintf(path, sizeof path, "%s/%d", folder, number);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/file", folder);
    unlink(path);
    rmdir(folder);
}

static int look(const char *folder)
{
    char names[64], text[16] = "";
    struct stat status;
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
        return 5;
    snprintf(names, sizeof names, "/proc/self/task/%ld/fd", (long)syscall(SYS_gettid));
    snprintf(path, sizeof path, "%s/file", folder);
    if (mount(folder, names, NULL, MS_BIND, NULL) != 0) {
        perror(names);
        return 6;
    }
    int fd = open(path, O_RDWR);
    printf("opened: %d, read: %d\n", fd >= 0, (int)pread(fd, text, 5, 0));
    printf("content: %s\n", text);
    printf("memory: %d\n", (int)pread(fd, text, 5, (long)own));
    int changed = chmod(path, 0640), owned = chown(path, 1, 1);
    stat(path, &status);
    printf("chmod: %d, mode: %o, chown: %d, owner: %d\n", changed, status.st_mode, owned, status.st_uid);
    umount2(names, MNT_DETACH);
    clean(folder);
    return 0;
}

int main(int count, char **arguments)
{
    if (count > 1)
        return look(arguments[1]);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || make() != 0) {
        perror("a folder of links");
        return 2;
    }
    /* In the namespace that is there when a program is begun. */
    execl("/proc/self/exe", "links_over", links, (char *)NULL);
    perror("exec");
    return 3;
}
