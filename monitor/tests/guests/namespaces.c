/* Question: do clone, unshare and setns give a process the namespaces that Linux gives it? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    unsigned long long flag;
    const char *name;
} kinds[] = {
    { CLONE_NEWNS, "mnt" },       { CLONE_NEWUTS, "uts" }, { CLONE_NEWIPC, "ipc" },
    { CLONE_NEWNET, "net" },      { CLONE_NEWPID, "pid" }, { CLONE_NEWUSER, "user" },
    { CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWTIME, "time" },
};
#define KINDS (sizeof kinds / sizeof *kinds)

static char self[4096];

static void name_of(const char *of, const char *kind, char *into, size_t len)
{
    char path[256];
    snprintf(path, sizeof path, "/proc/%s/ns/%s", of, kind);
    ssize_t got = readlink(path, into, len - 1);
    into[got < 0 ? 0 : got] = 0;
}

/* Which namespaces differ from those in `before`, a bit each. */
static int differing(char before[KINDS][64])
{
    int bits = 0;
    for (unsigned i = 0; i < KINDS; i++) {
        char now[64];
        name_of("thread-self", kinds[i].name, now, sizeof now);
        bits |= (strcmp(now, before[i]) != 0) << i;
    }
    return bits;
}

static void show_end(const char *what, pid_t child)
{
    int status = 0;
    if (waitpid(child, &status, __WALL) != child)
        printf("%s: nothing to wait for: %d\n", what, errno);
    else if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else
        printf("%s: killed by %d\n", what, WTERMSIG(status));
}

static long cloned(unsigned long long flags)
{
    struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
    return syscall(SYS_clone3, &args, sizeof args);
}

static char before[KINDS][64];

static void by_clone(void)
{
    for (unsigned i = 0; i < KINDS; i++) {
        for (int waited = 0; waited < 2; waited++) {
            long child = cloned(kinds[i].flag | (waited ? CLONE_VFORK : 0));
            if (child == 0) {
                char pid[16];
                snprintf(pid, sizeof pid, "%d", getpid() == 1);
                if (waited)
                    execl("/proc/self/exe", self, "child", pid, NULL);
                _exit(differing(before));
            }
            printf("clone %s: %s, ", kinds[i].name, child < 0 ? strerrorname_np(errno) : "");
            fflush(stdout);
            if (child > 0)
                show_end(waited ? "and execute" : "", child);
        }
    }
}

/* What runc and container engines without root begin with. */
static void all_at_once(void)
{
    int pipes[2];
    char byte = 'x';
    if (pipe(pipes) != 0)
        return;
    uid_t uid = getuid();
    long child = cloned(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                        CLONE_NEWNET);
    if (child == 0) {
        close(pipes[1]);
        if (read(pipes[0], &byte, 1) != 1)
            _exit(100);
        printf("user %d, process %d, parent %d\n", getuid(), getpid(), getppid());
        printf("mount: %d\n", mount("proc", "/proc", "proc", 0, NULL) == 0 ? 0 : errno);
        printf("name: %d\n", sethostname("inside", 6) == 0 ? 0 : errno);
        fflush(stdout);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            execl("/bin/sh", "sh", "-c", "echo $(hostname) $(ls -d /proc/1)", NULL);
            _exit(1);
        }
        show_end("grandchild", grandchild);
        fflush(stdout);
        _exit(differing(before));
    }
    char path[64], line[64];
    snprintf(path, sizeof path, "/proc/%ld/uid_map", child);
    int file = open(path, O_WRONLY);
    int len = snprintf(line, sizeof line, "0 %d 1\n", uid);
    printf("map written: %d\n", write(file, line, len) == len);
    fflush(stdout);
    close(file);
    if (write(pipes[1], &byte, 1) != 1)
        return;
    show_end("all at once", child);
    close(pipes[0]);
    close(pipes[1]);
}

static void by_unshare(void)
{
    for (unsigned i = 0; i < KINDS; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (unshare(kinds[i].flag) != 0)
                _exit(200);
            int mine = differing(before);
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit(differing(before) + 64 * (getpid() == 1));
            printf("unshare %s: %d, ", kinds[i].name, mine);
            show_end("its child", grandchild);
            fflush(stdout);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    /* `unshare --map-root-user --pid --fork`. */
    pid_t child = fork();
    if (child == 0) {
        int refused = unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS);
        int mine = differing(before);
        pid_t grandchild = fork();
        if (grandchild == 0)
            execl("/bin/sh", "sh", "-c", "exit $$", NULL);
        printf("unshare of users and processes: %d, %d, ", refused, mine);
        show_end("its child", grandchild);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("unshare of nothing: %d\n", unshare(0));
    printf("unshare of what there is not: %d\n", unshare(0x1000) ? errno : 0);
    printf("unshare of handlers: %d\n", unshare(CLONE_SIGHAND) ? errno : 0);
    printf("unshare of memory: %d\n", unshare(CLONE_VM) ? errno : 0);
    printf("unshare of files and folders: %d\n", unshare(CLONE_FILES | CLONE_FS));
}

static void by_setns(void)
{
    for (unsigned i = 0; i < KINDS; i++) {
        int ready[2], done[2];
        char byte = 'x', path[64];
        if (pipe(ready) != 0 || pipe(done) != 0)
            return;
        long holder = cloned(kinds[i].flag);
        if (holder == 0) {
            if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
                _exit(1);
            _exit(0);
        }
        if (holder < 0 || read(ready[0], &byte, 1) != 1)
            continue;
        for (int by_process = 0; by_process < 2; by_process++) {
            snprintf(path, sizeof path, "/proc/%ld/ns/%s", holder, kinds[i].name);
            int space = by_process ? (int)syscall(SYS_pidfd_open, holder, 0)
                                   : open(path, O_RDONLY | O_CLOEXEC);
            pid_t child = fork();
            if (child == 0) {
                if (setns(space, kinds[i].flag) != 0)
                    _exit(200);
                pid_t grandchild = fork();
                if (grandchild == 0)
                    _exit(differing(before));
                int status;
                waitpid(grandchild, &status, 0);
                _exit(WEXITSTATUS(status));
            }
            printf("setns %s: ", kinds[i].name);
            show_end(by_process ? "by process" : "by file", child);
            close(space);
        }
        if (write(done[1], &byte, 1) != 1)
            return;
        waitpid(holder, NULL, 0);
        close(ready[0]), close(ready[1]), close(done[0]), close(done[1]);
    }
}

static void *in_thread(void *unused)
{
    (void)unused;
    int user = unshare(CLONE_NEWUSER) ? errno : 0;
    int system = unshare(CLONE_NEWUTS | CLONE_FS | CLONE_FILES) ? errno : 0;
    int files = open("/dev/null", O_RDONLY);
    printf("in a thread: users %d, system %d, differing %d\n", user, system, differing(before));
    return (void *)(intptr_t)files;
}

static int of_its_own(void *word)
{
    *(volatile int *)word = differing(before) + 1000 * (unshare(0) == 0);
    syscall(SYS_exit, 0);
    return 0;
}

static void threads(void)
{
    pthread_t thread;
    void *opened;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, &opened);
    printf("its descriptor is not here: %d\n", fcntl((int)(intptr_t)opened, F_GETFD) < 0);
    printf("differing in the first thread: %d\n", differing(before));
    for (int i = 0; i < 8; i++) {
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, &opened);
    }
    /* A thread that shares less than threads do. */
    volatile int word = -1;
    char *stack = malloc(256 * 1024);
    long made = clone(of_its_own, stack + 256 * 1024,
                      CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUTS, (void *)&word);
    while (made > 0 && word < 0)
        usleep(1000);
    printf("a thread with a system of its own: %d\n", word);
    made = clone(of_its_own, stack + 256 * 1024,
                 CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER, (void *)&word);
    printf("a thread with users of its own: %d\n", made < 0 ? errno : 0);
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < KINDS; i++)
        name_of("thread-self", kinds[i].name, before[i], sizeof before[i]);
    if (argc > 2)
        return argv[2][0] - '0';
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 1;
    setvbuf(stdout, NULL, _IONBF, 0);
    by_clone();
    all_at_once();
    by_unshare();
    by_setns();
    threads();
    return 0;
}
