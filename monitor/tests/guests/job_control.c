// Does a parent learn of its children's stops, continuations and ends as on Linux?
// Prints every status, whether a core was dumped, whom orphans get as a parent, and
// the signal of a parent's end.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t told;
static volatile int *volatile nowhere = (int *)8;

static void on_signal(int signal) { told = signal; }

static void show(const char *what, int status) {
  if (WIFSTOPPED(status))
    printf("%s: stopped by %d\n", what, WSTOPSIG(status));
  else if (WIFCONTINUED(status))
    printf("%s: continued\n", what);
  else if (WIFSIGNALED(status))
    printf("%s: killed by %d, core %d\n", what, WTERMSIG(status), !!WCOREDUMP(status));
  else
    printf("%s: exited with %d\n", what, WEXITSTATUS(status));
  fflush(stdout);
}

// A busy child, one that waits, and one that stops itself.
static void stops(int kind) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGTERM, SIG_DFL);
    if (kind == 2)
      raise(SIGSTOP);
    for (;;)
      if (kind == 1)
        pause();
  }
  // SIGTSTP does not stop a group that nobody outside of it in its session looks after.
  setpgid(child, child);
  int status;
  for (int round = 0; round < 20; round++) {
    int signal = kind == 2 && round == 0 ? 0 : round % 2 ? SIGTSTP : SIGSTOP;
    kill(child, signal);
    waitpid(child, &status, WUNTRACED);
    if (round < 2)
      show("stop", status);
    siginfo_t info = {0};
    kill(child, SIGCONT);
    waitid(P_PID, child, &info, WCONTINUED);
    if (round < 2)
      printf("continue: code %d, status %d\n", info.si_code == CLD_CONTINUED, info.si_status);
  }
  kill(child, SIGSTOP);
  waitpid(child, &status, WUNTRACED);
  kill(child, SIGTERM); // It has to wait until the child goes on.
  printf("while stopped: %d\n", waitpid(child, &status, WNOHANG));
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  show("end", status);
}

static void cores(void) {
  int signals[] = {SIGABRT, SIGSEGV, SIGQUIT, SIGTERM, SIGKILL};
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) {
      struct rlimit none = {0, 0};
      setrlimit(RLIMIT_CORE, &none);
      if (signals[i] == SIGSEGV)
        *nowhere = 1;
      raise(signals[i]);
    }
    int status;
    waitpid(child, &status, 0);
    show("core limit 0", status);
  }
}

static void orphans(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int ends[2], status;
  if (pipe(ends) != 0)
    return;
  pid_t child = fork();
  if (child == 0) {
    pid_t parent = getpid();
    if (fork() == 0) {
      signal(SIGUSR1, on_signal);
      prctl(PR_SET_PDEATHSIG, SIGUSR1);
      if (write(ends[1], "", 1) != 1)
        _exit(9);
      while (getppid() == parent || !told)
        usleep(1000);
      _exit(told);
    }
    char byte;
    _exit(read(ends[0], &byte, 1) == 1 ? 1 : 2);
  }
  waitpid(child, &status, 0);
  show("parent", status);
  pid_t orphan = wait(&status);
  printf("an orphan came: %d\n", orphan > 0 && orphan != child);
  show("orphan", status);
  printf("no more: %d\n", wait(&status) == -1 && errno == ECHILD);
}

int main(void) {
  for (int kind = 0; kind < 3; kind++)
    stops(kind);
  cores();
  orphans();
  struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
  sigaction(SIGCHLD, &action, NULL);
  if (fork() == 0)
    _exit(3);
  int status;
  printf("without zombies: %d, %d\n", wait(&status), errno == ECHILD);
  return 0;
}
