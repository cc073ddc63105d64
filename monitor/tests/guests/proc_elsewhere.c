/* Question: does a procfs that is mounted anew, in the same namespace or in one of its own, tell the same of a program
 * and of its sibling as /proc does? And does it tell of nothing else?
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = 1 << 17, NUMBERS = 1200 };

static char place[] = "/tmp/proc-elsewhere-XXXXXX";
static char one[LEN], other[LEN];

static int load(const char *path, char *into)
{
    int fd = open(path, O_RDONLY), all = 0, some;
    if (fd < 0) {
        printf("%s: %s\n", path, strerror(errno));
        return -1;
    }
    while ((some = read(fd, into + all, LEN - 1 - all)) > 0)
        all += some;
    close(fd);
    into[all] = 0;
    return all;
}

static unsigned long highest_of(char *text)
{
    unsigned long top = 0, start, end;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && end > top && !strstr(line, "[vsyscall]"))
            top = end;
    return top;
}

/* How many of the addresses in `stat` lie behind the program's memory. */
static int behind(char *text, unsigned long top)
{
    char *rest, *word = strrchr(text, ')');
    int at = 1, found = 0;
    for (word = strtok_r(word, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest), at++)
        if ((at >= 25 && at <= 29) || (at >= 44 && at <= 50))
            found += strtoul(word, NULL, 10) > top;
    return found;
}

/* The process of that number there tells what this one tells of itself: it is this one, or has been forked by it. */
static void compare(const char *what, const char *which)
{
    char path[128];
    load("/proc/self/maps", one);
    unsigned long top = highest_of(one);
    snprintf(path, sizeof path, "%s/%s/maps", place, which);
    printf("%s: ends elsewhere: %d\n", what, load(path, other) <= 0 || highest_of(other) != top);
    int len = load("/proc/self/auxv", one);
    snprintf(path, sizeof path, "%s/%s/auxv", place, which);
    printf("%s: another vector: %d\n", what, load(path, other) != len || memcmp(one, other, len) != 0);
    snprintf(path, sizeof path, "%s/%s/stat", place, which);
    printf("%s: addresses behind: %d\n", what, load(path, one) <= 0 ? -1 : behind(one, top));
    snprintf(path, sizeof path, "%s/%s/smaps_rollup", place, which);
    printf("%s: sums: %d\n", what, load(path, one) > 0 && highest_of(one) <= top);
    int files = 0, opened = 0;
    for (int number = 0; number < NUMBERS; number++) {
        char target[256];
        snprintf(path, sizeof path, "%s/%s/fd/%d", place, which, number);
        files += readlink(path, target, sizeof target) > 0;
        int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
        opened += fd >= 0;
        close(fd);
    }
    printf("%s: files: %d, opened: %d\n", what, files, opened);
    snprintf(path, sizeof path, "%s/%s/exe", place, which);
    ssize_t end = readlink("/proc/self/exe", one, LEN - 1), its = readlink(path, other, LEN - 1);
    printf("%s: another program: %d\n", what, end != its || memcmp(one, other, end) != 0);
}

static void mount_and_compare(const char *sibling)
{
    if (mount("proc", place, "proc", 0, NULL) != 0) {
        perror("mount");
        exit(4);
    }
    compare("this one", "self");
    compare("its sibling", sibling);
    fflush(stdout);
    umount2(place, MNT_DETACH);
}

/* In the namespace of processes that is begun by the first child of two. */
static int in_its_own(void)
{
    int pipes[2];
    if (unshare(CLONE_NEWPID) != 0 || pipe(pipes) != 0)
        return 3;
    pid_t first = fork();
    if (first == 0) {
        pause();
        _exit(0);
    }
    pid_t second = fork();
    if (second == 0) {
        mount_and_compare("1");
        _exit(0);
    }
    int status = -1;
    waitpid(second, &status, 0);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}

int main(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int number = 0; number < 3; number++)
        dup2(null, number == 1 ? null : number);
    syscall(436, null + 1, ~0U, 0); /* close_range */
    if (mkdtemp(place) == NULL || unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        perror("a place");
        return 2;
    }
    pid_t sibling = fork();
    if (sibling == 0) {
        pause();
        _exit(0);
    }
    char number[16];
    snprintf(number, sizeof number, "%d", sibling);
    printf("in the same namespace\n");
    mount_and_compare(number);
    kill(sibling, SIGKILL);
    waitpid(sibling, NULL, 0);
    printf("in one of its own\n");
    fflush(stdout);
    int end = in_its_own();
    rmdir(place);
    return end;
}
