/* Question: a program mounts things over a procfs, moves it about, lists folders of it. Is it ever told of more than its
 * own memory and descriptors?
 */
#define _GNU_SOURCE
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

enum { LEN = 1 << 17, FIRST = 900, LAST = 1100, MOVES = 3000 };

static char place[] = "/tmp/proc-covered-XXXXXX";
static char text[LEN];
static unsigned long highest;
static volatile int is_over;

static char *at(const char *name)
{
    static char path[8][128];
    static int next;
    char *one = path[next++ % 8];
    snprintf(one, sizeof path[0], "%s/%s", place, name);
    return one;
}

static unsigned long highest_in(int fd)
{
    unsigned long top = 0, start, end;
    int all = 0, some;
    char *rest;
    while ((some = read(fd, text + all, LEN - 1 - all)) > 0)
        all += some;
    text[all] = 0;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && end > top && !strstr(line, "[vsyscall]"))
            top = end;
    return top;
}

static int tells_more(const char *path)
{
    int fd = open(path, O_RDONLY), more = fd >= 0 && highest_in(fd) > highest;
    close(fd);
    return more;
}

/* A program that is not told so has few descriptors, at low numbers. */
static int opens_more(const char *folder)
{
    int more = 0;
    for (int number = FIRST; number < LAST; number++) {
        char path[160], target[64];
        snprintf(path, sizeof path, "%s/%d", folder, number);
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        more += fd >= 0 || readlink(path, target, sizeof target) > 0;
        close(fd);
    }
    return more;
}

/* The folder of this process, at another place, is looked at while there is something else where it was. */
static void cover(const char *what, const char *first, const char *second)
{
    char own[16], path[64];
    snprintf(own, sizeof own, "p/%d", getpid());
    mount("proc", at("p"), "proc", 0, NULL);
    mount(at(own), at("b"), NULL, MS_BIND, NULL);
    snprintf(path, sizeof path, "%s%s", own, first);
    int covered = mount(at(strstr(first, "auxv") ? "file" : "empty"), at(path), NULL, MS_BIND, NULL) == 0;
    if (second != NULL) {
        snprintf(path, sizeof path, "%s%s", own, second);
        covered += mount(at("file"), at(path), NULL, MS_BIND, NULL) == 0;
    }
    printf("%s: %d, more of maps: %d, of descriptors: %d, of what is known of them: %d\n", what, covered,
           tells_more(at("b/maps")), opens_more(at("b/fd")), opens_more(at("b/fdinfo")));
    umount2(at("b"), MNT_DETACH);
    umount2(at("p"), MNT_DETACH);
}

static void *move(void *nothing)
{
    for (int i = 0; i < MOVES; i++) {
        mount(at("m/1"), at("m"), NULL, MS_MOVE, NULL);
        mount(at("m"), at("z"), NULL, MS_MOVE, NULL);
        mount(at("z"), at("m/1"), NULL, MS_MOVE, NULL);
    }
    is_over = 1;
    return nothing;
}

static void moved(void)
{
    char name[16];
    int more = 0;
    pthread_t thread;
    mount("proc", at("m/1"), "proc", 0, NULL);
    int root = open(at("m/1"), O_RDONLY | O_DIRECTORY);
    snprintf(name, sizeof name, "%d/maps", getpid());
    if (pthread_create(&thread, NULL, move, NULL) != 0)
        exit(4);
    while (!is_over) {
        int fd = openat(root, name, O_RDONLY);
        more += fd >= 0 && highest_in(fd) > highest;
        close(fd);
    }
    pthread_join(thread, NULL);
    printf("moved: more of maps: %d\n", more);
}

/* Behind what a list is said to have. */
static void list(const char *path, unsigned long least)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY), behind = 0;
    long len;
    do {
        memset(text, 0, LEN);
        len = syscall(SYS_getdents64, fd, text, LEN);
        for (long i = len < 0 ? 0 : len; i < LEN - 1; i++) {
            /* A number begins where none goes on. */
            char *rest, before = i == 0 ? 0 : text[i - 1];
            int goes_on = (before >= '0' && before <= '9') || (before >= 'a' && before <= 'f') || before == '-';
            behind += !goes_on && text[i] > ' ' && strtoul(text + i, &rest, least > LAST ? 16 : 10) >= least;
        }
    } while (len > 0);
    close(fd);
    printf("%s: behind: %d\n", path, behind);
}

int main(void)
{
    int fd = open("/proc/self/maps", O_RDONLY);
    highest = highest_in(fd);
    close(fd);
    if (mkdtemp(place) == NULL || unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", place, "tmpfs", 0, NULL) != 0) {
        perror("a place");
        return 2;
    }
    static const char *const folders[] = {"p", "b", "empty", "m", "m/1", "z"};
    for (int i = 0; i < 6; i++)
        mkdir(at(folders[i]), 0755);
    close(open(at("file"), O_CREAT | O_WRONLY, 0644));
    cover("nothing", "/cwd/none", NULL);
    cover("the process", "", NULL);
    cover("its threads and vector", "/task", "/auxv");
    cover("its descriptors", "/fd", NULL);
    list("/proc/self/fd", FIRST);
    list("/proc/self/map_files", highest);
    moved();
    umount2(place, MNT_DETACH);
    rmdir(place);
    return 0;
}
