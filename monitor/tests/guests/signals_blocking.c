// Do signals that arrive just as a call begins to wait end that wait, once each?
// One thread waits in a call over and over. Another sends it a signal a moment
// after it handled the one before, so that they come anywhere around the wait.
// Prints for each call how many signals were lost, and how often it answered
// what Linux would not. The arguments: how many signals each call gets, and which
// third of the calls, or all.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int total;
static const char *part;
static atomic_int handled, is_over;
static int pipes[2], epoll, word;
static pid_t waiter;
static sigset_t usual;

static void on_signal(int signal) {
  if (signal == SIGUSR1)
    handled++;
}

static int in_read(void) {
  char byte;
  return read(pipes[0], &byte, 1);
}

static int in_futex(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); }
static int in_child(void) { return waitpid(-1, NULL, 0); }
static int in_pause(void) { return pause(); }
static int in_poll(void) { return poll(NULL, 0, -1); }
static int in_suspend(void) { return sigsuspend(&usual); }
static int in_pselect(void) { return pselect(0, NULL, NULL, NULL, NULL, &usual); }

static int in_sleep(void) {
  struct timespec hour = {3600, 0}, left = {0, 0};
  int result = nanosleep(&hour, &left);
  return left.tv_sec < 3590 ? -2 : result;
}

static int in_epoll(void) {
  struct epoll_event event;
  return epoll_wait(epoll, &event, 1, -1);
}

static int in_sigwait(void) {
  sigset_t user;
  sigemptyset(&user);
  sigaddset(&user, SIGUSR1);
  siginfo_t info;
  int signal = sigwaitinfo(&user, &info);
  if (signal != SIGUSR1)
    return signal;
  handled++;
  errno = EINTR;
  return info.si_code <= 0 && info.si_pid == getpid() ? -1 : -3;
}

static void *send(void *unused) {
  unsigned seed = 1;
  for (int i = 0; i < total; i++) {
    for (int looks = 1; handled != i; looks++)
      if (looks % 4096 == 0)
        sched_yield();
    for (volatile int moment = rand_r(&seed) % 30000; moment > 0; moment--)
      ;
    syscall(SYS_tgkill, getpid(), waiter, SIGUSR1);
  }
  // The last one may have come before the last wait: that one is ended too.
  while (!is_over) {
    usleep(1000);
    if (handled == total)
      syscall(SYS_tgkill, getpid(), waiter, SIGUSR2);
  }
  return unused;
}

static void check(const char *in, const char *name, int (*call)(void), int flags, int is_blocked) {
  if (part != NULL && strcmp(part, in) != 0)
    return;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
  sigaction(SIGUSR1, &action, NULL);
  sigset_t user;
  sigemptyset(&user);
  sigaddset(&user, SIGUSR1);
  pthread_sigmask(is_blocked ? SIG_BLOCK : SIG_UNBLOCK, &user, NULL);
  handled = is_over = 0;
  pthread_t sender;
  pthread_create(&sender, NULL, send, NULL);
  int wrong = 0;
  while (handled < total) {
    int result = call();
    int is_interrupted = result == -1 && errno == EINTR;
    wrong += !is_interrupted || ((flags & SA_RESTART) && handled < total);
  }
  is_over = 1;
  pthread_join(sender, NULL);
  printf("%s: %d lost, %d wrong\n", name, total - handled, wrong);
  fflush(stdout);
}

int main(int count, char **arguments) {
  total = count > 1 ? atoi(arguments[1]) : 1000;
  part = count > 2 ? arguments[2] : NULL;
  waiter = gettid();
  if (pipe(pipes) != 0)
    return 1;
  epoll = epoll_create1(0);
  pid_t child = fork();
  if (child == 0)
    return pause();
  sigprocmask(SIG_BLOCK, NULL, &usual);
  struct sigaction nudge = {.sa_handler = on_signal};
  sigaction(SIGUSR2, &nudge, NULL);
  check("first", "read", in_read, 0, 0);
  check("first", "read, restarted", in_read, SA_RESTART, 0);
  check("first", "futex", in_futex, 0, 0);
  check("first", "futex, restarted", in_futex, SA_RESTART, 0);
  check("second", "wait", in_child, 0, 0);
  check("second", "wait, restarted", in_child, SA_RESTART, 0);
  check("second", "pause", in_pause, 0, 0);
  check("second", "poll", in_poll, 0, 0);
  check("third", "nanosleep", in_sleep, 0, 0);
  check("third", "epoll_wait", in_epoll, 0, 0);
  check("third", "sigsuspend", in_suspend, 0, 1);
  check("third", "pselect", in_pselect, 0, 1);
  check("third", "sigwaitinfo", in_sigwait, 0, 1);
  kill(child, SIGKILL);
  return 0;
}
