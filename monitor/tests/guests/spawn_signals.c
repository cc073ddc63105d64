// Are children made as they should be while signals arrive all the time? By fork,
// vfork, posix_spawn, and fork with execve; the handler runs in the parent only.
// Prints what failed. The argument says how many children there are of each kind.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t parent;
static volatile int alarms, in_child;

static void on_alarm(int signal) {
  (void)signal;
  alarms++;
  in_child += getpid() != parent;
}

static char *program[] = {"spawn_signals", "child", NULL};

static pid_t by_fork(void) {
  pid_t child = fork();
  if (child == 0)
    _exit(in_child == 0 ? 5 : 98); // A child has no timers.
  return child;
}

static pid_t by_vfork(void) {
  pid_t child = vfork();
  if (child == 0)
    _exit(5);
  return child;
}

static pid_t by_exec(void) {
  pid_t child = fork();
  if (child == 0) {
    execve("/proc/self/exe", program, environ);
    _exit(97);
  }
  return child;
}

static pid_t by_vfork_and_exec(void) {
  pid_t child = vfork();
  if (child == 0) {
    execve("/proc/self/exe", program, environ);
    _exit(97);
  }
  return child;
}

static pid_t by_spawn(void) {
  pid_t child = -1;
  return posix_spawn(&child, "/proc/self/exe", NULL, NULL, program, environ) == 0 ? child : -1;
}

static void make(const char *name, pid_t (*start)(void), int count) {
  int failed = 0, wrong = 0;
  for (int i = 0; i < count; i++) {
    pid_t child = start();
    int status = 0;
    if (child < 0)
      failed++;
    else if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 5)
      wrong++;
  }
  printf("%s: %d failed, %d wrong\n", name, failed, wrong);
  fflush(stdout);
}

int main(int count, char **arguments) {
  if (count > 1 && !strcmp(arguments[1], "child")) {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    struct sigaction action;
    sigaction(SIGALRM, NULL, &action);
    return sigismember(&mask, SIGALRM) || action.sa_handler != SIG_DFL ? 96 : 5;
  }
  int children = count > 1 ? atoi(arguments[1]) : 50;
  parent = getpid();
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  make("fork", by_fork, children);
  make("vfork", by_vfork, children);
  make("fork and execve", by_exec, children);
  make("vfork and execve", by_vfork_and_exec, children);
  make("posix_spawn", by_spawn, children);
  while (alarms < 10)
    pause();
  setitimer(ITIMER_REAL, &never, NULL);
  printf("in a child: %d\n", in_child);
  return 0;
}
