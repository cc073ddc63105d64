/* Makes calls that an agent is asked about, in a thread, a child and another program too. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void make(const char *path) {
    errno = 0;
    long made = syscall(SYS_mkdir, path, 0751);
    int problem = errno;
    struct stat status;
    int is_there = syscall(SYS_stat, path, &status) == 0;
    printf("mkdir %s: %ld %d, there: %d\n", path, made, problem, is_there);
}

static void look_into(const char *path, int flags) {
    char text[64] = "";
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
    int problem = file < 0 ? errno : 0;
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0) problem = errno;
        close(file);
    }
    text[strcspn(text, "\n")] = 0;
    printf("openat %s: %d %d %s\n", path, file, problem, text);
}

static void *in_thread(void *unused) {
    (void)unused;
    make("/tmp/thread-errno");
    make("/tmp/thread-goes-on");
    look_into("/nowhere/thread-added", O_RDONLY);
    look_into("/tmp/thread-made", O_RDWR | O_CREAT | O_EXCL);
    look_into("/tmp/thread-made", O_RDWR | O_CREAT | O_EXCL);
    look_into("/etc/passwd", O_RDONLY);
    return NULL;
}

static void caught(int signal) { (void)signal; }

static void interrupt(void) {
    struct sigaction action = {.sa_handler = caught};
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    make("/tmp/never");
}

static void execute(const char *path, const char *argument) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, argument, NULL);
        printf("execve %s: %d\n", path, errno);
        fflush(stdout);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("child: %x\n", status);
}

int main(int argc, char **argv) {
    char folder[64] = "";
    if (argc > 1) {
        make(argv[1]);
        return 0;
    }
    make("/tmp/errno");
    make("/tmp/value");
    make("/tmp/goes-on");
    look_into("/nowhere/added", O_RDONLY);
    look_into("/tmp/made", O_RDWR | O_CREAT | O_EXCL);
    look_into("/tmp/made", O_RDWR | O_CREAT | O_EXCL);
    look_into("/tmp/errno", O_RDONLY);
    long length = syscall(SYS_getcwd, folder, sizeof folder);
    printf("getcwd: %ld %s\n", length, folder);
    struct stat status;
    printf("newfstatat: %ld\n", syscall(SYS_newfstatat, AT_FDCWD, "/bin/asked", &status, 0));
    printf("newfstatat: %ld\n", syscall(SYS_newfstatat, AT_FDCWD, "/tmp/value", &status, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        make("/tmp/child-value");
        make("/tmp/child-goes-on");
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    execute("/bin/../bin/asked", "/tmp/executed-value");
    execute("/bin/denied", "");
    interrupt();
    make("/tmp/after");
    make("/tmp/close");
    make("/tmp/closed");
    return 0;
}
