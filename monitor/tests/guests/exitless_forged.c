// What if a program writes into the memory where the monitor looks for its calls? Natively there is nothing,
// and each try is a fault. The argument says what is written: "calls" that are forbidden, "all" words, or what is noted
// of the "first" calls.
// A forged call must not be more than the program may do anyway. What becomes of a program that overwrites
// its own return addresses is its own affair: after ten seconds it is killed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GATES 0xffffffff90000000UL

static __thread sigjmp_buf again;
static volatile int is_over;
static int null;

static void faulted(int signal) {
  (void)signal;
  siglongjmp(again, 1);
}

static volatile uint64_t *posted(int cpu) { return (uint64_t *)(GATES + 0x2000UL * cpu + 0x1000); }

static void *call(void *unused) {
  if (sigsetjmp(again, 1) && is_over)
    return unused;
  while (!is_over) {
    write(null, "x", 1);
    getppid();
  }
  return unused;
}

static int is_before(const struct timespec *end) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec < end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec < end->tv_nsec);
}

static struct timespec in_a_moment(void) {
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_nsec += 300 * 1000 * 1000;
  end.tv_sec += end.tv_nsec / 1000000000, end.tv_nsec %= 1000000000;
  return end;
}

static void *scribble(void *unused) {
  uint64_t random = 88172645463325252;
  struct timespec end = in_a_moment();
  sigsetjmp(again, 1);
  while (is_before(&end)) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    int word = random >> 20 & 511;
    uint64_t value = random >> 40 & 1 ? random : random & 7;
    posted(random >> 32 & 1)[word] = value;
  }
  return unused;
}

// Posts a call that a filter forbids, again and again, for a helper that other threads keep awake.
static void forge(const char *path) {
  struct timespec end = in_a_moment();
  sigsetjmp(again, 1);
  while (is_before(&end)) {
    volatile uint64_t *mine = posted(0);
    mine[1] = SYS_unlink;
    mine[2] = (uint64_t)path;
    mine[0] = 1;
  }
}

// The same words while a program makes its first calls, of which some are only noted there.
static void forge_first(void) {
  uint64_t random = 88172645463325252;
  char *heap = sbrk(0);
  for (int round = 0; round < 40; round++) {
    for (int word = 0; word < 40; word++) {
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      uint64_t near = random >> 20 & 1 ? (uint64_t)heap + (random >> 30 & 0xffff) : random;
      posted(0)[word] = random >> 21 & 3 ? near : random & 7;
    }
    syscall(SYS_getppid);
  }
  static const char end[] = "it goes on\n";
  _exit(write(1, end, sizeof end - 1) < 0);
}

static void forbid_unlink(void) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unlink, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {4, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter))
    exit(6);
}

int main(int count, char **arguments) {
  if (count > 1 && !strcmp(arguments[1], "first"))
    forge_first();
  int all = count > 1 && !strcmp(arguments[1], "all");
  struct sigaction action = {.sa_handler = faulted, .sa_flags = SA_NODEFER};
  for (int signal = SIGILL; signal <= SIGSEGV; signal++)
    sigaction(signal, &action, NULL);
  alarm(10);
  char path[] = "/tmp/krun-forgedXXXXXX";
  if (!all)
    close(mkstemp(path));
  null = open("/dev/null", O_WRONLY);
  forbid_unlink();
  pthread_t caller, scribbler;
  pthread_create(&caller, NULL, call, NULL);
  if (!all) {
    for (int i = 0; i < 3000; i++)
      write(null, "x", 1);
    forge(path);
    // What was posted last is over by then.
    usleep(20000);
    printf("%s\n", access(path, F_OK) ? "it is gone" : "it is there");
    fflush(stdout);
    // The filter does not know this one.
    unlinkat(AT_FDCWD, path, 0);
    _exit(0);
  }
  pthread_create(&scribbler, NULL, scribble, NULL);
  if (sigsetjmp(again, 1) == 0)
    for (int i = 0; i < 2000; i++)
      write(null, "x", 1);
  pthread_join(scribbler, NULL);
  is_over = 1;
  printf("it goes on\n");
  fflush(stdout);
  _exit(0);
}
