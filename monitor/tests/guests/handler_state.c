// With which floating-point state does a signal handler begin, and what is left
// of it afterwards? Linux gives it a fresh one, and restores the interrupted one,
// or a fresh one if the handler's frame names none; what is reserved in it means nothing.
// Prints both control registers and a vector register's low half at each step.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

struct state {
  unsigned mxcsr;
  unsigned short control;
  unsigned long low;
};

static struct state inside;
static enum { KEEP, FORGET, RESERVED, ROUNDS } round;

static inline __attribute__((always_inline)) void look(struct state *state) {
  __asm__ volatile("movq %%xmm9, %2\n\tstmxcsr %0\n\tfnstcw %1"
                   : "=m"(state->mxcsr), "=m"(state->control), "=r"(state->low));
}

static void handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  look(&inside);
  ucontext_t *frame = context;
  if (round == RESERVED) // the last bytes of the state's header, which CPUs do not look at
    ((unsigned char *)frame->uc_mcontext.fpregs)[512 + 24] = 1;
  if (round == FORGET)
    frame->uc_mcontext.fpregs = NULL;
}

static void show(const char *when, const struct state *state) {
  printf("%s: mxcsr %#x, control word %#x, xmm9 %#lx\n", when, state->mxcsr, state->control,
         state->low);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  const unsigned mxcsr = 0x7f80; // towards zero
  const unsigned short control = 0xf7f;
  const unsigned long low = 0x1234;
  for (round = KEEP; round < ROUNDS; round++) {
    struct state after;
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1\n\tmovq %2, %%xmm9" ::"m"(mxcsr), "m"(control),
                     "r"(low)
                     : "xmm9");
    raise(SIGUSR1);
    look(&after);
    __asm__ volatile("ldmxcsr %0\n\tfninit" ::"m"((const unsigned){0x1f80}));
    show("in the handler", &inside);
    show("after it", &after);
  }
  return 0;
}
