// Does the kernel look at arguments that an operation does not use? C libraries
// leave whatever the registers hold there.
// Prints each call's result with rubbish behind the arguments it reads.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const long RUBBISH = -0x123456789abcdef;

static void show(const char *what, long result) {
  printf("%s: %ld %d\n", what, result < 0 ? -1 : result, result < 0 ? errno : 0);
  fflush(stdout);
}

// A child that ends with 3 and leaves its parent's stack alone.
static long clone_and_exit(long flags) {
  register long r10 __asm__("r10") = RUBBISH, r8 __asm__("r8") = RUBBISH;
  long result = SYS_clone;
  __asm__ volatile("syscall\n\t"
                   "test %%eax, %%eax\n\t"
                   "jnz 1f\n\t"
                   "mov $3, %%edi\n\t"
                   "mov $231, %%eax\n\t" // exit_group
                   "syscall\n"
                   "1:"
                   : "+a"(result), "+D"(flags)
                   : "S"(0L), "d"(RUBBISH), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

int main(void) {
  int word = 7;
  show("futex wake", syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, RUBBISH, RUBBISH, RUBBISH));
  show("futex wait", syscall(SYS_futex, &word, FUTEX_WAIT, 8, NULL, RUBBISH, RUBBISH));
  show("futex wake of a set",
       syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, 1, RUBBISH, RUBBISH, -1));
  show("futex requeue with a bad pointer",
       syscall(SYS_futex, &word, FUTEX_REQUEUE, 1, 1, 1L << 63, RUBBISH));
  show("futex without meaning", syscall(SYS_futex, &word, 99, 1, 0, 0, 0));

  int set = semget(IPC_PRIVATE, 1, 0600);
  // The value is the low half of a union, the other half is not written.
  show("semctl setval", syscall(SYS_semctl, set, 0, SETVAL, (RUBBISH & ~0xffffffffL) | 5));
  show("semctl getval", syscall(SYS_semctl, set, 0, GETVAL, RUBBISH));
  show("semctl setval below zero", syscall(SYS_semctl, set, 0, SETVAL, -1L));
  show("semctl rmid", syscall(SYS_semctl, set, 0, IPC_RMID, RUBBISH));

  // Places for numbers that no flag asks for.
  long child = clone_and_exit(CLONE_VM | CLONE_VFORK | SIGCHLD);
  int status = 0;
  show("clone", child > 0 && waitpid(child, &status, 0) == child ? WEXITSTATUS(status) : -1);
  return 0;
}
