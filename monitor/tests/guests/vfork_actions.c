// What does a child that borrows its parent's memory learn of its signals' actions, and what comes of those
// that it sets? Prints the answers; the actions of its parent must stay as they are.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct action {
  unsigned long handler, flags, restorer, mask;
};

#define RESTORER 0x04000000ul
#define ONE_USE 0x80000000ul

static volatile int handled;
static char *page; // Followed by one that cannot be used.

static void count(int signal) {
  (void)signal;
  handled++;
}

static void back(void) { __asm__ volatile("mov $15, %eax\nsyscall"); }

static long set(int signal, const void *new, void *old, long size) {
  long result = syscall(SYS_rt_sigaction, signal, new, old, size);
  return result < 0 ? -errno : result;
}

static void show(int signal) {
  struct action now;
  memset(&now, 0x55, sizeof now);
  long result = set(signal, NULL, &now, 8);
  printf("%d: %ld %lu %lx %lx %lx\n", signal, result, now.handler > 1 ? 2 : now.handler, now.flags, now.restorer,
         now.mask);
}

static void defaults(void) {
  struct action action = {0, RESTORER | 0x10000000, 0x1234, 0x5678}, old;
  for (int signal = 1; signal <= 64; signal++) {
    memset(&old, 0x55, sizeof old);
    action.mask = 1ul << (signal - 1) | 0x5000;
    long result = set(signal, &action, &old, 8);
    printf("set %d: %ld, was %lu %lx %lx\n", signal, result, old.handler > 1 ? 2 : old.handler, old.flags, old.mask);
  }
  for (int signal = 1; signal <= 64; signal++)
    show(signal);
}

static void odd_arguments(void) {
  struct action action = {0, 7, 8, 9};
  char room[2 * sizeof action];
  printf("signals %ld %ld %ld\n", set(0, NULL, &action, 8), set(65, NULL, &action, 8), set(-1, &action, NULL, 8));
  printf("high bits %ld\n", syscall(SYS_rt_sigaction, 0x500000000ul | SIGUSR2, NULL, &action, 8));
  printf("sizes %ld %ld\n", set(SIGUSR1, NULL, &action, 4), set(SIGUSR1, NULL, &action, 16));
  printf("nothing %ld\n", set(SIGUSR1, NULL, NULL, 8));
  printf("null page %ld %ld\n", set(SIGUSR1, (void *)8, NULL, 8), set(SIGUSR1, NULL, (void *)8, 8));
  printf("kernel %ld %ld\n", set(SIGUSR1, (void *)-4096, NULL, 8), set(SIGUSR1, NULL, (void *)-4096, 8));
  printf("gate %ld\n", set(SIGUSR1, NULL, (void *)0xffffffff90001800, 8));
  printf("odd %ld %ld\n", set(SIGUSR1, (void *)(1ul << 63), NULL, 8), set(SIGUSR1, NULL, (void *)(1ul << 47), 8));
  // Half of it can be used. What was set before the answer could not be told is set.
  memset(page + 4096 - 16, 0, 16);
  printf("edge %ld %ld\n", set(SIGUSR1, page + 4096 - 16, NULL, 8), set(SIGUSR1, NULL, page + 4096 - 16, 8));
  show(SIGUSR1);
  action = (struct action){0, RESTORER, 77, 88};
  printf("told nowhere %ld\n", set(SIGUSR1, &action, page + 4096, 8));
  show(SIGUSR1);
  action = (struct action){0, RESTORER, 99, 111};
  printf("in place %ld", set(SIGUSR1, &action, &action, 8));
  printf(", was %lu %lu\n", action.restorer, action.mask);
  memcpy(room + 3, &(struct action){0, RESTORER, 5, 6}, sizeof action);
  printf("unaligned %ld %ld\n", set(SIGUSR1, room + 3, NULL, 8), set(SIGUSR1, NULL, room + 5, 8));
  memcpy(&action, room + 5, sizeof action);
  printf("%lu %lu\n", action.restorer, action.mask);
}

// Actions that do something.
static void handlers(void) {
  struct action action = {(unsigned long)count, RESTORER, (unsigned long)back, 0}, old;
  unsigned long none = 0, waiting;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
  printf("handler %ld\n", set(SIGUSR1, &action, NULL, 8));
  show(SIGUSR1);
  kill(getpid(), SIGUSR1);
  action.flags |= ONE_USE;
  printf("one use %ld\n", set(SIGUSR2, &action, NULL, 8));
  kill(getpid(), SIGUSR2);
  printf("handled %d\n", handled);
  show(SIGUSR2);
  action = (struct action){1, 0, 0, 0};
  printf("ignored %ld\n", set(SIGTERM, &action, &old, 8));
  kill(getpid(), SIGTERM);
  show(SIGTERM);
  // A signal that waits, and whose default is to be ignored, is forgotten when that is set.
  unsigned long all = ~0ul;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
  kill(getpid(), SIGWINCH);
  kill(getpid(), SIGUSR2);
  action = (struct action){0, 0, 0, 0};
  set(SIGWINCH, &action, NULL, 8), set(SIGUSR2, &action, NULL, 8);
  syscall(SYS_rt_sigpending, &waiting, 8);
  printf("waiting %lx\n", waiting);
  set(SIGUSR2, &(struct action){1, 0, 0, 0}, NULL, 8);
}

// What is blocked is told before anything else is asked. Signals that wait and are ignored by default are forgotten
// when that is set, and so is a child's end that nobody shall wait for.
static void forgotten(void) {
  static const int signals[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGUSR1};
  unsigned long first = 5, odd[2] = {5, 5}, later = 5, waiting = 5, all = ~0ul, some = 0x5000;
  long results[] = {
      syscall(SYS_rt_sigprocmask, 77, NULL, (char *)odd + 3, 8), syscall(SYS_rt_sigprocmask, 0, NULL, &first, 8),
      syscall(SYS_rt_sigprocmask, 0, NULL, NULL, 8),           syscall(SYS_rt_sigprocmask, 0, NULL, &first, 4),
      syscall(SYS_rt_sigprocmask, 0, NULL, page + 4096, 8),    syscall(SYS_rt_sigprocmask, 0, NULL, (void *)-8, 8)};
  for (int at = 0; at < 6; at++)
    printf("%ld ", results[at]);
  printf("blocked %lx %lx %lx\n", first, odd[0], odd[1]);
  for (int at = 0; at < 5; at++)
    kill(getpid(), signals[at]);
  for (int at = 0; at < 5; at++)
    set(signals[at], &(struct action){0, signals[at] == SIGCHLD ? 2 : 0, 0, 0}, NULL, 8);
  syscall(SYS_rt_sigpending, &waiting, 8);
  printf("waiting %lx\n", waiting);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0)
    _exit(3);
  long waited = waitpid(child, NULL, 0);
  printf("nobody waits: %ld %d\n", waited, waited < 0 ? errno : 0);
  set(SIGUSR1, &(struct action){1, 0, 0, 0}, NULL, 8);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &some, NULL, 8);
  syscall(SYS_rt_sigprocmask, 0, NULL, &later, 8);
  printf("blocked %lx\n", later);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
}

// The two that the C library keeps for itself are ignored before a program is executed, and forgotten if they wait.
static void ignored(void) {
  unsigned long waiting = 5;
  kill(getpid(), 32);
  kill(getpid(), 33);
  kill(getpid(), 34);
  long results[] = {set(32, &(struct action){1, RESTORER | 2, 5, 6}, NULL, 8),
                    set(33, &(struct action){1, 0, 0, 0}, NULL, 8), set(34, &(struct action){1, 0, 0, 0}, NULL, 8)};
  syscall(SYS_rt_sigpending, &waiting, 8);
  printf("ignored %ld %ld %ld, waiting %lx\n", results[0], results[1], results[2], waiting);
  for (int signal = 31; signal <= 34; signal++)
    show(signal);
  kill(getpid(), 32);
  syscall(SYS_rt_sigpending, &waiting, 8);
  printf("waiting %lx\n", waiting);
  set(32, &(struct action){0, 0, 3, 4}, NULL, 8);
  kill(getpid(), 32);
  syscall(SYS_rt_sigpending, &waiting, 8);
  printf("waiting %lx\n", waiting);
  set(32, &(struct action){1, 0, 0, 0}, NULL, 8);
  set(33, &(struct action){(unsigned long)count, RESTORER, (unsigned long)back, 0}, NULL, 8);
  kill(getpid(), 33);
  unsigned long none = 0, all = ~0ul;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
  printf("handled %d\n", handled);
  show(32), show(33);
}

// Its own children have what it has set.
static void inherited(void) {
  set(SIGHUP, &(struct action){0, RESTORER, 21, 22}, NULL, 8);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    show(SIGHUP);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  show(SIGHUP);
}

static void in_child(void (*run)(void)) {
  unsigned long all = ~0ul, before;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  fflush(stdout);
  pid_t child = vfork();
  if (child == 0) {
    run();
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
  printf("child: %x\n", status);
  for (int signal = 1; signal <= 17; signal++)
    show(signal);
}

static volatile int step;

static int ignore_beside(void *unused) {
  (void)unused;
  struct action ignore = {1, RESTORER, 0, 0};
  step = set(32, &ignore, NULL, 8) == 0 ? 1 : 3;
  while (step == 1)
    ;
  _exit(5);
}

// A child beside its parent ignores a signal, and is sent it.
static void beside(void) {
  static char stack[65536] __attribute__((aligned(16)));
  int status = 0;
  pid_t child = clone(ignore_beside, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
  while (step == 0)
    ;
  kill(child, 32);
  usleep(20000);
  step = 2;
  waitpid(child, &status, 0);
  printf("beside: %x\n", status);
}

int main(void) {
  page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || munmap(page + 4096, 4096) < 0)
    return 1;
  set(SIGINT, &(struct action){1, 0, 0, 0}, NULL, 8);
  set(SIGQUIT, &(struct action){(unsigned long)count, RESTORER, (unsigned long)back, 4}, NULL, 8);
  in_child(defaults);
  in_child(odd_arguments);
  in_child(handlers);
  in_child(forgotten);
  in_child(ignored);
  in_child(inherited);
  beside();
  // With a handler for one use the parent's actions can change under the child's eyes.
  set(SIGQUIT, &(struct action){(unsigned long)count, RESTORER | ONE_USE, (unsigned long)back, 4}, NULL, 8);
  in_child(defaults);
  return 0;
}
