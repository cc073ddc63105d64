/* Question: does execve refuse what Linux refuses, and reset what Linux resets? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"

static char folder[] = "/tmp/km-exec-XXXXXX";
static char self[256];
static char *const plain[] = { "program", "count", NULL };
static char *const empty[] = { NULL };

/* The errno of an attempt, or 1000 and the status of what ran. */
static int attempt(int descriptor, const char *path, char *const *arguments, char *const *environment,
                   int flags)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_execveat, descriptor, path, arguments, environment, flags);
        _exit(errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int named(const char *path, char *const *arguments, char *const *environment)
{
    return attempt(AT_FDCWD, path, arguments, environment, 0);
}

static const char *in(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make(const char *name, const char *content, mode_t mode)
{
    int file = open(in(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (write(file, content, strlen(content)) < 0)
        return;
    fchmod(file, mode);
    close(file);
}

/* The longest list of `count` strings that is taken, to the byte. */
static long longest(int count)
{
    long low = 0, high = 131000L * count;
    while (low < high) {
        long middle = (low + high + 1) / 2, left = middle;
        char **list = calloc(count + 3, sizeof *list);
        list[0] = "program", list[1] = "count";
        for (int i = 0; i < count; i++) {
            long len = left / (count - i);
            left -= len;
            list[i + 2] = malloc(len + 1);
            memset(list[i + 2], 'x', len);
            list[i + 2][len] = 0;
        }
        int ended = named(self, list, empty);
        for (int i = 0; i < count; i++)
            free(list[i + 2]);
        free(list);
        if (ended == 77)
            low = middle;
        else if (ended == E2BIG)
            high = middle - 1;
        else
            return -ended;
    }
    return low;
}

static void lengths(void)
{
    char *longs[4] = { "program", "count", malloc(200000), NULL };
    memset(longs[2], 'x', 200000);
    for (long len = 131070; len <= 131073; len++) {
        longs[2][len] = 0;
        printf("one string of %ld: %d\n", len, named(self, longs, empty));
        longs[2][len] = 'x';
    }
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    rlim_t soft[] = { 64 << 10, 256 << 10, 1 << 20, 8 << 20, 64 << 20 };
    for (unsigned i = 0; i < sizeof soft / sizeof *soft; i++) {
        limit.rlim_cur = soft[i];
        setrlimit(RLIMIT_STACK, &limit);
        printf("with a stack of %ld KiB: %ld KiB\n", (long)(soft[i] >> 10), longest(100) >> 10);
    }
    limit.rlim_cur = 8 << 20;
    setrlimit(RLIMIT_STACK, &limit);
}

static void refusals(void)
{
    printf("nothing there: %d\n", named(in("none"), plain, empty));
    printf("no name: %d\n", named("", plain, empty));
    printf("a folder: %d\n", named(folder, plain, empty));
    make("closed", "#!/bin/true\n", 0600);
    printf("not executable: %d\n", named(in("closed"), plain, empty));
    make("text", "hello\n", 0700);
    printf("no program: %d\n", named(in("text"), plain, empty));
    make("void", "", 0700);
    printf("an empty file: %d\n", named(in("void"), plain, empty));
    printf("through a file: %d\n", named(in("text/more"), plain, empty));
    char path[5000];
    memset(path, 'x', sizeof path);
    path[4999] = 0;
    printf("too long a name: %d\n", named(path, plain, empty));
    path[300] = 0;
    printf("too long a part: %d\n", named(path, plain, empty));
    if (symlink("loop", in("loop")) != 0)
        return;
    printf("a loop: %d\n", named(in("loop"), plain, empty));
    printf("name from nowhere: %d\n", named((char *)16, plain, empty));
    printf("arguments from nowhere: %d\n", named(self, (char **)16, empty));
    printf("environment from nowhere: %d\n", named(self, plain, (char **)16));
    char *bad[] = { "program", (char *)16, NULL };
    printf("argument from nowhere: %d\n", named(self, bad, empty));
    printf("variable from nowhere: %d\n", named(self, plain, bad));
    printf("name and argument from nowhere: %d\n", named((char *)16, bad, empty));
    /* Linux looks for the file first since 6.8. */
    if (at_least(6, 8))
        printf("nothing there, argument from nowhere: %d\n", named(in("none"), bad, empty));
    char *none[] = { NULL };
    printf("no arguments: %d\n", named(self, none, empty));
    printf("null vectors: %d\n", named(self, NULL, NULL));
    if (mkdir(in("mount"), 0700) == 0 && mount("none", in("mount"), "tmpfs", MS_NOEXEC, NULL) == 0) {
        make("mount/script", "#!/bin/true\n", 0700);
        printf("a mount without programs: %d\n", named(in("mount/script"), plain, empty));
        umount(in("mount"));
    }
}

static void scripts(void)
{
    char text[512], last[300];
    snprintf(text, sizeof text, "#!%s\n", self);
    make("script0", text, 0700);
    for (int i = 1; i < 8; i++) {
        char name[16];
        snprintf(last, sizeof last, "#!%s/script%d\n", folder, i - 1);
        snprintf(name, sizeof name, "script%d", i);
        make(name, last, 0700);
        printf("a chain of %d: %d\n", i + 1, named(in(name), plain, empty));
    }
    make("lost", "#!/nonexistent\n", 0700);
    printf("interpreter not there: %d\n", named(in("lost"), plain, empty));
    snprintf(text, sizeof text, "#!%s/text\n", folder);
    make("wrong", text, 0700);
    printf("interpreter no program: %d\n", named(in("wrong"), plain, empty));
    snprintf(text, sizeof text, "#!%s/closed\n", folder);
    make("forbidden", text, 0700);
    printf("interpreter not executable: %d\n", named(in("forbidden"), plain, empty));
    make("nameless", "#!\n", 0700);
    printf("interpreter without a name: %d\n", named(in("nameless"), plain, empty));
    snprintf(text, sizeof text, "#!%s", folder);
    make("folder", text, 0700);
    printf("interpreter a folder: %d\n", named(in("folder"), plain, empty));
}

static void descriptors(void)
{
    int program = open(self, O_PATH | O_CLOEXEC), script = open(in("script0"), O_RDONLY | O_CLOEXEC);
    int kept = open(in("script0"), O_RDONLY), place = open(folder, O_PATH | O_CLOEXEC);
    int link = symlink(self, in("link")) == 0 ? open(in("link"), O_PATH | O_NOFOLLOW) : -1;
    printf("program by descriptor: %d\n", attempt(program, "", plain, empty, AT_EMPTY_PATH));
    printf("without saying so: %d\n", attempt(program, "", plain, empty, 0));
    printf("script that is closed: %d\n", attempt(script, "", plain, empty, AT_EMPTY_PATH));
    printf("script that stays open: %d\n", attempt(kept, "", plain, empty, AT_EMPTY_PATH));
    printf("in a folder: %d\n", attempt(place, "link", plain, empty, 0));
    printf("script in a closed folder: %d\n", attempt(place, "script0", plain, empty, 0));
    printf("link not followed: %d\n", attempt(place, "link", plain, empty, AT_SYMLINK_NOFOLLOW));
    printf("link by name not followed: %d\n",
           attempt(AT_FDCWD, in("link"), plain, empty, AT_SYMLINK_NOFOLLOW));
    printf("program not followed: %d\n", attempt(AT_FDCWD, self, plain, empty, AT_SYMLINK_NOFOLLOW));
    printf("link by descriptor: %d\n", attempt(link, "", plain, empty, AT_EMPTY_PATH));
    printf("folder by descriptor: %d\n", attempt(place, "", plain, empty, AT_EMPTY_PATH));
    printf("closed descriptor: %d\n", attempt(500, "", plain, empty, AT_EMPTY_PATH));
    printf("closed folder: %d\n", attempt(500, "link", plain, empty, 0));
    printf("no descriptor needed: %d\n", attempt(500, self, plain, empty, 0));
    printf("not a folder: %d\n", attempt(kept, "link", plain, empty, 0));
    printf("unknown flag: %d\n", attempt(place, "link", plain, empty, 0x40));
    printf("working folder, no name: %d\n", attempt(AT_FDCWD, "", plain, empty, AT_EMPTY_PATH));
    close(program), close(script), close(kept), close(place), close(link);
}

static void catch(int signal) { (void)signal; }

/* What the next program finds. */
static int show_state(void)
{
    struct sigaction action;
    stack_t stack;
    struct itimerval interval;
    int deadly = -1;
    sigset_t mask, pending;
    sigaction(SIGUSR1, NULL, &action);
    printf("  handled %d, ", action.sa_handler == SIG_DFL);
    sigaction(SIGUSR2, NULL, &action);
    printf("ignored %d, ", action.sa_handler == SIG_IGN);
    sigaltstack(NULL, &stack);
    printf("stack %d, ", stack.ss_flags == SS_DISABLE);
    getitimer(ITIMER_REAL, &interval);
    printf("timer %d, ", interval.it_value.tv_sec != 0);
    struct itimerspec spec;
    printf("posix timer %d, ", (int)syscall(SYS_timer_gettime, 0, &spec) < 0 ? errno : 0);
    prctl(PR_GET_PDEATHSIG, &deadly);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigpending(&pending);
    printf("death %d, dumpable %d, keepcaps %d, blocked %d, pending %d, ", deadly,
           prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), sigismember(&mask, SIGTERM),
           sigismember(&pending, SIGTERM));
    char name[17] = { 0 };
    prctl(PR_GET_NAME, name);
    printf("name %s, secure %ld, ", name, getauxval(AT_SECURE));
    printf("no new privileges %d, slack %d, umask %o, nice %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
           prctl(PR_GET_TIMERSLACK), umask(0), getpriority(PRIO_PROCESS, 0));
    return 0;
}

static void state(void)
{
    struct sigaction action = { .sa_handler = catch };
    stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    struct itimerval interval = { .it_value.tv_sec = 1000 };
    struct itimerspec spec = { .it_value.tv_sec = 1000 };
    struct sigevent event = { .sigev_notify = SIGEV_NONE };
    sigset_t term;
    int timer;
    fflush(stdout);
    pid_t child = fork();
    if (child != 0) {
        int status;
        waitpid(child, &status, 0);
        printf("state: %d\n", status);
        return;
    }
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, SIG_IGN);
    sigaltstack(&stack, NULL);
    setitimer(ITIMER_REAL, &interval, NULL);
    syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer);
    syscall(SYS_timer_settime, timer, 0, &spec, NULL);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_KEEPCAPS, 1);
    prctl(PR_SET_NAME, "before");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_TIMERSLACK, 12345);
    umask(027);
    setpriority(PRIO_PROCESS, 0, 3);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    raise(SIGTERM);
    execl(self, "program", "state", NULL);
    _exit(1);
}

int main(int argc, char **argv)
{
    if (argc == 0 || (argc == 1 && !argv[0][0]))
        return 78;
    if (argc > 1 && strcmp(argv[1], "state") == 0)
        return show_state();
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "count") == 0)
            return 77;
    if (argc > 1 && strstr(argv[1], "/script"))
        return 76;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || !mkdtemp(folder))
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    refusals();
    scripts();
    descriptors();
    state();
    lengths();
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0;
}
