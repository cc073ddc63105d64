/* Question: does a system call keep every register but rax, rcx and r11, and the red zone? */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

struct state {
    uint64_t rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12, r13, r14, r15, rcx, r11, flags, red[16];
};

/* Fills every register and the red zone, makes a system call, stores what is left of them.
 * The address of the result travels in xmm0: no general register is free. */
__attribute__((naked)) static void around_a_syscall(struct state *out, uint64_t number)
{
    (void)out, (void)number;
    __asm__ volatile(
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "movq %rdi, %xmm0\n mov %rsi, %rax\n"
        "mov $0x0101010101010101, %rbx\n mov $0x0202020202020202, %rdx\n"
        "mov $0x0303030303030303, %rsi\n mov $0x0404040404040404, %rdi\n"
        "mov $0x0505050505050505, %rbp\n mov $0x0808080808080808, %r8\n"
        "mov $0x0909090909090909, %r9\n mov $0x1010101010101010, %r10\n"
        "mov $0x1212121212121212, %r12\n mov $0x1313131313131313, %r13\n"
        "mov $0x1414141414141414, %r14\n mov $0x1515151515151515, %r15\n"
        ".set i, 1\n .rept 16\n mov %rbx, -8*i(%rsp)\n .set i, i+1\n .endr\n"
        "stc\n std\n"
        "syscall\n"
        "1: movq %xmm0, %rax\n"
        "mov %rbx, 0(%rax)\n mov %rdx, 8(%rax)\n mov %rsi, 16(%rax)\n mov %rdi, 24(%rax)\n"
        "mov %rbp, 32(%rax)\n mov %r8, 40(%rax)\n mov %r9, 48(%rax)\n mov %r10, 56(%rax)\n"
        "mov %r12, 64(%rax)\n mov %r13, 72(%rax)\n mov %r14, 80(%rax)\n mov %r15, 88(%rax)\n"
        ".set i, 1\n .rept 16\n mov -8*i(%rsp), %rbx\n mov %rbx, 112+8*i(%rax)\n"
        ".set i, i+1\n .endr\n"
        "pushfq\n pop %rbx\n mov %rbx, 112(%rax)\n"
        "lea 1b(%rip), %rbx\n sub %rbx, %rcx\n mov %rcx, 96(%rax)\n mov %r11, 104(%rax)\n"
        "cld\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
}

static void show(const char *call, uint64_t number)
{
    struct state now;
    memset(&now, 0, sizeof now);
    around_a_syscall(&now, number);
    printf("%s\n", call);
    printf("rbx %lx rdx %lx rsi %lx rdi %lx\n", now.rbx, now.rdx, now.rsi, now.rdi);
    printf("rbp %lx r8 %lx r9 %lx r10 %lx\n", now.rbp, now.r8, now.r9, now.r10);
    printf("r12 %lx r13 %lx r14 %lx r15 %lx\n", now.r12, now.r13, now.r14, now.r15);
    /* rcx is the address after the call, r11 the flags: carry, direction, interrupts on. */
    printf("rcx+%lx r11 %lx flags %lx\n", now.rcx, now.r11 & 0x601, now.flags & 0x601);
    int kept = 0;
    for (int i = 0; i < 16; i++)
        kept += now.red[i] == 0x0101010101010101;
    printf("red zone kept %d of 16\n", kept);
}

int main(void)
{
    show("getppid, which the host answers", SYS_getppid);
    show("munmap, which fails", SYS_munmap);
    return 0;
}
