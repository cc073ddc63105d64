// Do signals from outside disturb faults and returns from handlers? A timer fires
// all the time while the program faults and raises signals, over and over.
// Prints what was missed of each, and how many signals stayed blocked.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <ucontext.h>

enum { ROUNDS = 3000, ALARMS = 200 };

static volatile unsigned long alarms;
static volatile int faults, traps, raised, wrong;

static void on_alarm(int signal) {
  (void)signal;
  alarms++;
}

static void on_user(int signal) {
  (void)signal;
  raised++;
}

static void on_trap(int signal) {
  (void)signal;
  traps++;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  faults++;
  wrong += info->si_addr != (void *)16;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; // mov (%rax), %eax
}

int main(void) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  action.sa_handler = on_user;
  sigaction(SIGUSR1, &action, NULL);
  action.sa_handler = on_trap;
  sigaddset(&action.sa_mask, SIGALRM); // it has to wait for this handler's end
  sigaction(SIGTRAP, &action, NULL);
  struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &fault, NULL);
  struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  int rounds = 0;
  for (; rounds < ROUNDS || alarms < ALARMS; rounds++) {
    __asm__ volatile("mov (%%rax), %%eax" ::"a"(16L));
    __asm__ volatile("int3");
    raise(SIGUSR1);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  sigset_t left;
  sigprocmask(SIG_BLOCK, NULL, &left);
  int blocked = 0;
  for (int signal = 1; signal < 65; signal++)
    blocked += sigismember(&left, signal) == 1;
  printf("missed %d faults, %d addresses, %d traps, %d raised; %d blocked\n", rounds - faults, wrong,
         rounds - traps, rounds - raised, blocked);
  return 0;
}
