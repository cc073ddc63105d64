// Where does a program find itself that used a port, and can it go on? Linux gives
// no port to a program without asking: each use is a SIGSEGV at the instruction.
// Prints for each instruction how far behind its beginning the handler saw it.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

static char *begin, *resume;

static void handler(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  printf("signal %d, code %#x, address %p, at +%ld, rax %#llx\n", signal, info->si_code,
         info->si_addr, (long)(registers[REG_RIP] - (greg_t)begin), registers[REG_RAX]);
  registers[REG_RIP] = (greg_t)resume;
}

// Runs one instruction with a buffer to read from and write to.
#define TRY(instruction)                                                                           \
  do {                                                                                             \
    static char buffer[16];                                                                        \
    char *from = buffer, *to = buffer;                                                             \
    long count = 3;                                                                                \
    printf("%s: ", instruction);                                                                   \
    __asm__ volatile("lea 1f(%%rip), %%rbx\n\tmov %%rbx, %0\n\t"                                   \
                     "lea 2f(%%rip), %%rbx\n\tmov %%rbx, %1\n\t"                                   \
                     "mov $0x55, %%eax\n\tmov $0x20, %%edx\n"                                      \
                     "1: " instruction "\n2:"                                                      \
                     : "=m"(begin), "=m"(resume), "+S"(from), "+D"(to), "+c"(count)                \
                     :                                                                             \
                     : "rax", "rbx", "rdx", "memory");                                             \
    printf("  moved %ld and %ld, %ld left\n", (long)(from - buffer), (long)(to - buffer), count);  \
  } while (0)

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  TRY("inb $0x80, %%al");
  TRY("outb %%al, $0x20");
  TRY("inl %%dx, %%eax");
  TRY("outw %%ax, %%dx");
  TRY("insb");
  TRY("outsb");
  TRY("rep outsb");
  TRY("rep insl");
  return 0;
}
