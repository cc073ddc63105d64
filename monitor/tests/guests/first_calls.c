// What do the calls do by which a C library begins, made by the program itself as its first ones? The argument says
// which of them; each is one run, as after a few dozen calls all are made in another way. Nothing is printed before
// the end.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096l

extern char **environ;

static long call(long number, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

static long to(const void *at) { return (long)at; }

static long results[64];
static int count;

static void note(long result) { results[count++] = result; }

// The last eight bytes before memory that cannot be used.
static char *edge(void) {
  char *pages = (char *)call(SYS_brk, 0, 0, 0, 0) + PAGE;
  char *at = mmap(pages, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(at + PAGE, PAGE, PROT_NONE);
  return at + PAGE - 8;
}

static void heap(void) {
  char *start = (char *)call(SYS_brk, 0, 0, 0, 0);
  char *first = (char *)((to(start) + PAGE - 1) & -PAGE);
  for (long at = 0; at < 4; at++)
    note(call(SYS_brk, to(first) + at * 100, 0, 0, 0) - to(first));
  memset(first, 7, 300);
  note(call(SYS_brk, to(first) + 10, 0, 0, 0) - to(first));
  note(call(SYS_brk, to(first) + PAGE, 0, 0, 0) - to(first));
  note(first[9] * 1000 + first[299] * 10 + first[300]);
  note(call(SYS_brk, to(first) + PAGE + 1, 0, 0, 0) - to(first));
  first[PAGE + 99] = 1;
  note(call(SYS_brk, 1, 0, 0, 0) - to(first));
  note(call(SYS_brk, -1, 0, 0, 0) - to(first));
  note(call(SYS_brk, 1l << 46, 0, 0, 0) - to(first));
  note(call(SYS_brk, to(first) + PAGE, 0, 0, 0) - to(first));
  note(call(SYS_brk, to(first) + 2 * PAGE, 0, 0, 0) - to(first));
  note(first[PAGE + 99]);
  note(call(SYS_brk, to(first) + 2 * PAGE - 1, 0, 0, 0) - to(first));
  pid_t child = vfork();
  if (child == 0) {
    note(call(SYS_brk, to(first) + 2 * PAGE - 2, 0, 0, 0) - to(first));
    _exit(0);
  }
  note(call(SYS_brk, 0, 0, 0, 0) - to(first));
}

static void thread_pointer(void) {
  static uint64_t own[64];
  uint64_t before = 0, after = 0, word = 0;
  own[0] = 0x1234;
  long result = call(SYS_arch_prctl, ARCH_GET_FS, to(&before), 0, 0);
  long moved = call(SYS_arch_prctl, ARCH_SET_FS, to(own), 0, 0);
  __asm__ volatile("mov %%fs:0, %0" : "=r"(word));
  long told = call(SYS_arch_prctl, ARCH_GET_FS, to(&after), 0, 0);
  long wrong[] = {call(SYS_arch_prctl, ARCH_SET_FS, 1l << 47, 0, 0), call(SYS_arch_prctl, ARCH_SET_FS, 1l << 63, 0, 0),
                  call(SYS_arch_prctl, ARCH_SET_FS, (1l << 47) - PAGE, 0, 0),
                  call(SYS_arch_prctl, ARCH_GET_FS, 8, 0, 0), call(SYS_arch_prctl, 0x1, 0, 0, 0)};
  long far = call(SYS_arch_prctl, ARCH_SET_FS, (1l << 46) + 8, 0, 0);
  uint64_t where = 0;
  call(SYS_arch_prctl, ARCH_GET_FS, to(&where), 0, 0);
  call(SYS_arch_prctl, ARCH_SET_FS, (long)before, 0, 0);
  for (int at = 0; at < 5; at++)
    note(wrong[at]);
  note(result), note(moved), note((long)word), note(told), note(after == (uint64_t)own);
  note(far), note((long)where);
}

static int word = 7;

static void *wait_for_first(void *unused) {
  int left = 7;
  while ((left = __atomic_load_n(&word, __ATOMIC_SEQ_CST)) != 0)
    syscall(SYS_futex, &word, FUTEX_WAIT, left, NULL, NULL, 0);
  printf("the first thread has ended\n");
  fflush(stdout);
  _exit(0);
  return unused;
}

static void clear_at_exit(void) {
  int *told = NULL;
  note(call(SYS_set_tid_address, 8, 0, 0, 0) == getpid());
  note(call(SYS_set_tid_address, to(&word), 0, 0, 0) == getpid());
  note(call(SYS_prctl, 40, to(&told), 0, 0));
  note(told == &word);
  note(call(SYS_set_tid_address, 0, 0, 0, 0) == getpid());
  note(call(SYS_set_tid_address, to(&word), 0, 0, 0) == getpid());
  pthread_t other;
  pthread_create(&other, NULL, wait_for_first, NULL);
  call(SYS_exit, 0, 0, 0, 0);
}

static void lists(void) {
  static uint64_t head[3];
  uint64_t told = 0, len = 0;
  head[0] = to(head);
  note(call(SYS_set_robust_list, to(head), 23, 0, 0));
  note(call(SYS_set_robust_list, to(head), 24, 0, 0));
  note(call(SYS_get_robust_list, 0, to(&told), to(&len), 0));
  note(told == (uint64_t)head), note((long)len);
  note(call(SYS_set_robust_list, 8, 24, 0, 0));
  note(call(SYS_get_robust_list, 0, to(&told), to(&len), 0));
  note((long)told);
  note(call(SYS_set_robust_list, 0, 24, 0, 0));
}

// A child is killed that has a lock in memory which it shares with its parent. The list was set by its first calls.
static void killed(void) {
  struct robust {
    uint64_t next, offset, pending, lock_next;
    uint32_t lock;
  } *shared;
  shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  note(call(SYS_set_robust_list, to(shared), 24, 0, 0));
  pid_t child = fork();
  if (child == 0) {
    shared->offset = (uint64_t)&shared->lock - (uint64_t)&shared->lock_next;
    shared->next = (uint64_t)&shared->lock_next, shared->lock_next = to(shared), shared->pending = 0;
    call(SYS_set_robust_list, to(shared), 24, 0, 0);
    __atomic_store_n(&shared->lock, getpid(), __ATOMIC_SEQ_CST);
    for (;;)
      ;
  }
  while (__atomic_load_n(&shared->lock, __ATOMIC_SEQ_CST) == 0)
    usleep(1000);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  note(shared->lock);
}

static void random_bytes(void) {
  uint64_t bytes[8] = {0};
  char *at = edge();
  for (int i = 0; i < 3; i++)
    note(call(SYS_getrandom, to(bytes + i), 8, 1, 0));
  note(bytes[0] != bytes[1] && bytes[1] != bytes[2] && bytes[0] && bytes[1] && bytes[2] && !bytes[3]);
  note(call(SYS_getrandom, to(bytes), 5, 1, 0));
  note(call(SYS_getrandom, to(bytes), 8, 0xf0, 0));
  note(call(SYS_getrandom, to(at), 8, 1, 0));
  note(call(SYS_getrandom, to(at) + 8, 8, 1, 0));
  note(call(SYS_getrandom, 0, 8, 1, 0));
  note(call(SYS_getrandom, -4096, 8, 1, 0));
}

static void limits(void) {
  struct rlimit told[2] = {{1, 1}, {1, 1}}, less = {1 << 20, 2 << 20};
  char *at = edge();
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(&told[0])));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, 0));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(at)));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(at) - 8));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, 8));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, -8));
  note(call(SYS_prlimit64, 1l << 32, RLIMIT_STACK | 1l << 32, 0, to(&told[0])));
  note(call(SYS_prlimit64, 0, 99, 0, to(&told[0])));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, to(&less), to(&told[1])));
  note(memcmp(&told[0], &told[1], sizeof told[0]));
  note(call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(&told[0])));
  note((long)told[0].rlim_cur), note((long)told[0].rlim_max);
}

// Another process sets the limit, and says so by memory alone.
static void limit_of_child(const char *descriptor) {
  volatile int *step = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(descriptor), 0);
  struct rlimit told;
  *step = 1;
  while (*step != 2)
    ;
  call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(&told));
  note((long)told.rlim_cur);
}

// The same by time alone, of which an instant may be missing.
static void limit_in_time(void) {
  struct timespec now, end;
  struct rlimit told;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec++;
  do
    clock_gettime(CLOCK_MONOTONIC, &now);
  while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
  call(SYS_prlimit64, 0, RLIMIT_STACK, 0, to(&told));
  note((long)told.rlim_cur);
}

static void limits_by_others(void) {
  struct rlimit less = {1 << 20, RLIM_INFINITY};
  int status, shared = memfd_create("shared", 0);
  char descriptor[12];
  pid_t child;
  prlimit(0, RLIMIT_STACK, NULL, &less);
  less.rlim_cur = 1 << 20;
  ftruncate(shared, PAGE);
  volatile int *step = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
  snprintf(descriptor, sizeof descriptor, "%d", shared);
  fflush(stdout);
  char *by_memory[] = {"first_calls", "limit-of-child", descriptor, NULL};
  posix_spawn(&child, "/proc/self/exe", NULL, NULL, by_memory, environ);
  while (*step != 1)
    usleep(1000);
  note(prlimit(child, RLIMIT_STACK, &less, NULL));
  *step = 2;
  waitpid(child, &status, 0);
  note(status);
  char *by_time[] = {"first_calls", "limit-in-time", NULL};
  posix_spawn(&child, "/proc/self/exe", NULL, NULL, by_time, environ);
  usleep(300000);
  note(prlimit(child, RLIMIT_STACK, &less, NULL));
  waitpid(child, &status, 0);
  note(status);
}

int main(int arguments, char **argument) {
  const char *what = arguments > 1 ? argument[1] : "";
  const struct {
    const char *name;
    void (*run)(void);
  } all[] = {{"heap", heap},           {"thread-pointer", thread_pointer}, {"clear-at-exit", clear_at_exit},
             {"lists", lists},         {"killed", killed},                 {"random", random_bytes},
             {"limits", limits},       {"limits-by-others", limits_by_others},
             {"limit-in-time", limit_in_time}};
  for (unsigned at = 0; at < sizeof all / sizeof *all; at++)
    if (!strcmp(what, all[at].name))
      all[at].run();
  if (!strcmp(what, "limit-of-child"))
    limit_of_child(argument[2]);
  for (int at = 0; at < count; at++)
    printf("%d: %ld\n", at, results[at]);
  return count == 0;
}
