// What becomes of a program that uses what is the kernel's: control registers, tables, interrupts, the virtual
// machine's own instructions? Linux sends it a signal at the instruction, and nothing has changed.
// Prints the signal of each.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

static sigjmp_buf back;

static void handler(int signal) { siglongjmp(back, signal); }

#define TRY(instruction) printf("%s: %d\n", instruction, RUN(instruction))
#define TRY_ANY(instruction) printf("%s: %s\n", instruction, RUN(instruction) ? "signal" : "done")

// Runs one instruction, and says which signal it led to.
#define RUN(instruction)                                                                           \
  ({                                                                                               \
    static char memory[4096] __attribute__((aligned(4096)));                                       \
    int signal = sigsetjmp(back, 1);                                                               \
    if (signal == 0) {                                                                             \
      __asm__ volatile(instruction                                                                 \
                       :                                                                           \
                       : "a"(0), "b"(memory), "c"(0x174), "d"(0)                                   \
                       : "r8", "memory", "cc");                                                    \
    }                                                                                              \
    signal;                                                                                        \
  })

int main(int count, char **arguments) {
  (void)arguments;
  signal(SIGSEGV, handler);
  signal(SIGILL, handler);
  signal(SIGTRAP, handler);
  signal(SIGBUS, handler);
  signal(SIGFPE, handler);
  // Control and debug registers.
  TRY("mov %%cr0, %%r8");
  TRY("mov %%rax, %%cr0");
  TRY("mov %%cr2, %%r8");
  TRY("mov %%cr3, %%r8");
  TRY("mov %%rbx, %%cr3");
  TRY("mov %%cr4, %%r8");
  TRY("mov %%rax, %%cr4");
  TRY("mov %%cr8, %%r8");
  TRY("mov %%rax, %%cr8");
  TRY("mov %%dr7, %%r8");
  TRY("mov %%rbx, %%dr0");
  TRY("mov %%rax, %%dr7");
  TRY("clts");
  TRY("lmsw %%ax");
  // Model-specific registers: where system calls go.
  TRY("rdmsr");
  TRY("wrmsr");
  TRY("mov $0xc0000082, %%ecx; wrmsr");
  TRY("xor %%ecx, %%ecx; xsetbv");
  TRY("swapgs");
  TRY("sysretq");
  // Tables of descriptors and pages.
  TRY("lgdt (%%rbx)");
  TRY("lidt (%%rbx)");
  TRY("lldt %%ax");
  TRY("ltr %%ax");
  TRY("invlpg (%%rbx)");
  TRY("mov %%cs, %%ax; and $0xfffc, %%ax; mov %%ax, %%ss");
  // With an argument, not: an emulated processor may do it, and then it is the kernel that faults.
  if (count == 1)
    TRY("pushq $0x10; pushq $0; lretq; add $16, %%rsp");
  // Caches, interrupts, sleep.
  TRY("invd");
  TRY("wbinvd");
  TRY("cli");
  TRY("sti");
  TRY("hlt");
  TRY("int $0");
  TRY("int $8");
  TRY("int $14");
  TRY("int $32");
  TRY("int $0xff");
  TRY("int3");
  // A virtual machine's own. Which signal it is depends on who else uses machines.
  TRY_ANY("vmlaunch");
  TRY_ANY("vmxoff");
  TRY_ANY("vmptrld (%%rbx)");
  TRY_ANY("vmread %%rax, %%r8");
  TRY_ANY("vmrun");
  TRY_ANY("stgi");
  TRY_ANY("invpcid (%%rbx), %%rax");
  return 0;
}
