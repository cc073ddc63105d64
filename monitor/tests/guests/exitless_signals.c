// Does a call keep its result, its registers, the red zone and the flags when signals arrive in the middle
// of it? And does every signal arrive while the program makes nothing but calls?
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { SIGNALS = 300 };

static volatile int arrived;

static void count(int signal) {
  (void)signal;
  arrived++;
}

// write(file, "xy", 2) with all that must survive it in place. Returns whether it did.
static int write_two(long file) {
  long result = 1;
  long ok;
  __asm__ volatile("sub $256, %%rsp\n"
                   "movq $77, 120(%%rsp)\n"
                   "movq $78, (%%rsp)\n"
                   "add $128, %%rsp\n"
                   "mov $81, %%r8\n mov $91, %%r9\n mov $101, %%r10\n"
                   "std\n stc\n"
                   "syscall\n"
                   "mov -8(%%rsp), %%r15\n"
                   "mov -128(%%rsp), %%r12\n"
                   "setc %%r13b\n"
                   "pushfq\n pop %%r14\n cld\n"
                   "add $128, %%rsp\n"
                   "xor %[ok], %[ok]\n"
                   "cmp $77, %%r15\n jne 1f\n cmp $78, %%r12\n jne 1f\n"
                   "cmp $81, %%r8\n jne 1f\n cmp $91, %%r9\n jne 1f\n cmp $101, %%r10\n jne 1f\n"
                   "cmpb $1, %%r13b\n jne 1f\n"
                   "bt $10, %%r14\n jnc 1f\n"
                   "mov $1, %[ok]\n"
                   "1:\n"
                   : "+a"(result), [ok] "=&b"(ok)
                   : "D"(file), "S"("xy"), "d"(2L)
                   : "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  return ok && result == 2;
}

int main(void) {
  struct sigaction action = {.sa_handler = count};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval often = {{0, 1500}, {0, 1500}};
  setitimer(ITIMER_REAL, &often, NULL);
  int null = open("/dev/null", O_WRONLY);
  pid_t self = getpid();
  long wrong = 0;
  while (arrived < SIGNALS) {
    wrong += !write_two(null);
    wrong += syscall(SYS_getpid) != self;
    wrong += syscall(SYS_write, null, "a", 1) != 1;
    wrong += syscall(SYS_write, -1, "a", 1) != -1;
  }
  // A loop without calls is left too.
  int before = arrived;
  while (arrived == before)
    ;
  printf("%d and more, wrong: %ld\n", SIGNALS, wrong);
  return wrong != 0;
}
