// Are signals blocked when threads start, end, and ask for it themselves, as a program can tell?
//
// The first thread starts others before all this: only then may a monitor put off what is blocked for a moment. A mask
// that blocks all 64 signals, as C libraries use it and as sigfillset(3) never makes one, is set by raw calls.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ALL (~0UL)
#define BIT(signal) (1UL << ((signal)-1))

static long mask_call(int how, const void *set, void *old, size_t size) {
  return syscall(SYS_rt_sigprocmask, how, set, old, size) == 0 ? 0 : errno;
}

static unsigned long set_mask(unsigned long mask) {
  unsigned long old = 0;
  mask_call(SIG_SETMASK, &mask, &old, 8);
  return old;
}

static unsigned long blocked(void) {
  unsigned long now = 0;
  mask_call(SIG_BLOCK, NULL, &now, 8);
  return now;
}

static unsigned long pending(void) {
  unsigned long now = 0;
  syscall(SYS_rt_sigpending, &now, 8);
  return now;
}

static void *nothing(void *data) { return data; }

static void start_one(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, nothing, NULL);
  pthread_join(thread, NULL);
}

static atomic_int handled, handled_elsewhere;
static atomic_long seen[1024];
static pthread_t first;
static char *volatile nowhere;

static void count(int signal) {
  (void)signal;
  handled++;
  handled_elsewhere += !pthread_equal(pthread_self(), first);
}

static void note(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  seen[info->si_value.sival_int % 1024]++;
}

static void answers(void) {
  unsigned long sets[] = {ALL, 0, ALL & ~BIT(33), BIT(10), ALL & ~BIT(10), ALL, ALL & ~BIT(33)}, old;
  for (unsigned before = 0; before < 7; before++)
    for (unsigned set = 0; set < 7; set++)
      for (int how = -1; how < 4; how++) {
        set_mask(sets[before]);
        old = 1;
        long error = mask_call(how, &sets[set], &old, 8);
        printf("%lx %d %lx: %ld %lx %lx %lx\n", sets[before], how, sets[set], error, old, blocked(), set_mask(0));
      }
  unsigned long all = ALL, *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("bad %ld", mask_call(SIG_BLOCK, bad, NULL, 8));
  printf(" %ld %lx", mask_call(SIG_BLOCK, &all, bad, 8), set_mask(0));
  printf(" %ld", mask_call(SIG_BLOCK, (void *)-8L, NULL, 8));
  printf(" %ld", mask_call(SIG_BLOCK, &all, NULL, 16));
  printf(" %ld", mask_call(7, NULL, &old, 8));
  printf(" %ld", mask_call(SIG_BLOCK, &all, &all, 8));
  printf(" %lx %lx\n", all, set_mask(0));
  munmap(bad, 4096);
}

// What waits stays, and comes when it may.
static void waits(void) {
  handled = 0;
  set_mask(ALL);
  int before = handled;
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
  kill(getpid(), SIGUSR2);
  printf("waits %d %d %lx", before, handled, pending());
  set_mask(ALL & ~BIT(33));
  printf(" %d %lx", handled, pending());
  set_mask(0);
  printf(" %d %lx\n", handled, pending());
}

// A child starts with what its parent has blocked; so does a thread, and a program.
static void *tell_mask(void *data) {
  *(unsigned long *)data = blocked();
  return NULL;
}

static void inherited(void) {
  unsigned long masks[] = {0, BIT(10), ALL, ALL & ~BIT(33), ALL & ~BIT(5)}, of_thread;
  for (unsigned at = 0; at < 5; at++) {
    set_mask(masks[at]);
    pthread_t thread;
    pthread_create(&thread, NULL, tell_mask, &of_thread);
    pthread_join(thread, NULL);
    set_mask(0), set_mask(masks[at]);
    int status = 0;
    pid_t child = fork();
    if (child == 0)
      _exit(blocked() != (masks[at] & ~BIT(SIGKILL) & ~BIT(SIGSTOP)));
    waitpid(child, &status, 0);
    set_mask(0), set_mask(masks[at]);
    fflush(stdout);
    if ((child = vfork()) == 0) {
      execl("/proc/self/exe", "masks", "tell", NULL);
      _exit(9);
    }
    waitpid(child, NULL, 0);
    printf("inherited %lx %lx %x %lx\n", masks[at], of_thread, status, blocked());
    set_mask(0);
  }
}

// A fault whose signal is blocked ends the program, also if there was no call in between.
static void faults(void) {
  for (int is_trap = 0; is_trap < 2; is_trap++) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      start_one();
      set_mask(ALL);
      if (is_trap)
        __builtin_trap();
      *nowhere = 1;
      _exit(3);
    }
    int status;
    waitpid(child, &status, 0);
    printf("fault ends it by %d\n", WTERMSIG(status));
  }
}

// Who has blocked all gets none, and leaves them to one that waits for them.
static atomic_int is_spinning, is_over;

static void *spin(void *data) {
  set_mask(0);
  set_mask(ALL);
  is_spinning = 1;
  while (!is_over)
    __builtin_ia32_pause();
  return data;
}

static void left_to_others(void) {
  enum { COUNT = 200 };
  handled = 0;
  struct sigaction action = {.sa_handler = count};
  sigaction(SIGRTMIN, &action, NULL);
  set_mask(BIT(SIGRTMIN) | BIT(SIGUSR2));
  pthread_t thread;
  int got = 0, killed = 0;
  sigset_t set, by_kill;
  sigemptyset(&set), sigaddset(&set, SIGRTMIN);
  sigemptyset(&by_kill), sigaddset(&by_kill, SIGUSR2);
  for (int at = 0; at < 20; at++) {
    is_spinning = is_over = 0;
    pthread_create(&thread, NULL, spin, NULL);
    while (!is_spinning)
      sched_yield();
    kill(getpid(), SIGUSR2);
    killed += sigtimedwait(&by_kill, NULL, &(struct timespec){1, 0}) == SIGUSR2;
    is_over = 1;
    pthread_join(thread, NULL);
  }
  is_spinning = is_over = 0;
  pthread_create(&thread, NULL, spin, NULL);
  while (!is_spinning)
    sched_yield();
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (int at = 0; at < COUNT; at++)
      while (sigqueue(parent, SIGRTMIN, (union sigval){.sival_int = at}))
        sched_yield();
    _exit(0);
  }
  // All are sent while nobody waits.
  waitpid(child, NULL, 0);
  while (got < COUNT && sigtimedwait(&set, NULL, &(struct timespec){1, 0}) == SIGRTMIN)
    got++;
  is_over = 1;
  pthread_join(thread, NULL);
  set_mask(0);
  printf("left to others: %d of kill(2), %d, handled %d\n", killed, got, handled);
}

// Signals that come while threads start and end: none is lost, none comes twice.
static void *churn(void *data) {
  while (!is_over)
    start_one();
  return data;
}

static void storm(void) {
  enum { COUNT = 1000 };
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGRTMIN + 1, &action, NULL);
  is_over = 0;
  pthread_t threads[2];
  for (int at = 0; at < 2; at++)
    pthread_create(&threads[at], NULL, churn, NULL);
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (int at = 0; at < COUNT; at++) {
      while (sigqueue(parent, SIGRTMIN + 1, (union sigval){.sival_int = at}))
        sched_yield();
      for (volatile int wait = 0; wait < at % 50 * 300; wait++)
        ;
    }
    _exit(0);
  }
  while (waitpid(child, NULL, 0) < 0)
    ;
  is_over = 1;
  for (int at = 0; at < 2; at++)
    pthread_join(threads[at], NULL);
  int wrong = 0;
  for (int at = 0; at < COUNT; at++)
    wrong += seen[at] != 1;
  printf("storm: %d wrong, blocked %lx\n", wrong, blocked());
}

// A filter that another thread gives to all forbids it from then on.
static void *forbid(void *data) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {4, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  *(long *)data = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  return NULL;
}

static void forbidden(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    start_one();
    unsigned long all = ALL, none = 0;
    long before = mask_call(SIG_SETMASK, &all, NULL, 8) + mask_call(SIG_SETMASK, &none, NULL, 8), set = -1;
    pthread_t thread;
    pthread_create(&thread, NULL, forbid, &set);
    pthread_join(thread, NULL);
    printf("forbidden %ld %ld %ld\n", before, set, mask_call(SIG_SETMASK, &all, NULL, 8));
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "tell") == 0) {
    printf("executed with %lx\n", blocked());
    return 0;
  }
  first = pthread_self();
  struct sigaction action = {.sa_handler = count};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  start_one(), start_one();
  answers();
  waits();
  inherited();
  faults();
  left_to_others();
  storm();
  forbidden();
  printf("handled by others: %d\n", handled_elsewhere);
  return 0;
}
