/* Question: do a program's own seccomp filters act on its calls as on Linux?
 *
 * One filter fails a call with a number, one traps a call, one kills. Threads and children
 * have them too; without no_new_privs an ordinary user may not install any. Everybody can see how
 * many a thread has.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int install(int number, unsigned action)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void trapped(int signal, siginfo_t *info, void *context)
{
    (void)context;
    printf("trapped: signal %d code %d call %d arch %x errno %d\n", signal, info->si_code,
           info->si_syscall, info->si_arch, info->si_errno);
}

static void seen(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Seccomp", 7))
            printf("%s", line);
    if (file)
        fclose(file);
}

static void *in_thread(void *unused)
{
    (void)unused;
    seen("/proc/thread-self/status");
    install(SYS_getegid, SECCOMP_RET_ERRNO | 78);
    seen("/proc/thread-self/status");
    seen("/proc/self/status");
    long result = syscall(SYS_getppid);
    printf("in a thread: %ld errno %d\n", result, errno);
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("mode %d\n", prctl(PR_GET_SECCOMP));
    seen("/proc/self/status");
    printf("no new privileges: %d\n", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    printf("install: %d\n", install(SYS_getppid, SECCOMP_RET_ERRNO | 77));
    printf("mode %d\n", prctl(PR_GET_SECCOMP));
    errno = 0;
    long result = syscall(SYS_getppid);
    printf("failed: %ld errno %d\n", result, errno);
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);

    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    printf("install: %d\n", install(SYS_getpgrp, SECCOMP_RET_TRAP | 5));
    syscall(SYS_getpgrp);
    printf("bad program: %d", install(SYS_getpgrp, SECCOMP_RET_ALLOW));
    struct sock_fprog empty = {0, NULL};
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &empty);
    printf(" %ld errno %d\n", result, errno);

    int first = getpid();
    if (fork() == 0) {
        errno = 0;
        result = syscall(SYS_getppid);
        printf("in a child: %ld errno %d\n", result, errno);
        seen("/proc/self/status");
        char parent[64];
        snprintf(parent, sizeof parent, "/proc/%d/status", first);
        seen(parent);
        install(SYS_getuid, SECCOMP_RET_KILL_PROCESS);
        syscall(SYS_getuid);
        printf("not reached\n");
        _exit(0);
    }
    int status;
    wait(&status);
    printf("the child died of signal %d\n", WTERMSIG(status));
    char *const arguments[] = {"sh", "-c", "grep Seccomp /proc/self/status", NULL};
    if (fork() == 0) {
        install(SYS_execve, SECCOMP_RET_ERRNO | EPERM);
        execv("/bin/sh", arguments);
        printf("no execution: errno %d\n", errno);
        _exit(0);
    }
    wait(&status);
    if (fork() == 0)
        execv("/bin/sh", arguments);
    wait(&status);
    return 0;
}
