/* Question: do handlers run, find what Linux tells them, and leave the program undisturbed?
 *
 * A timer interrupts three loops: one that computes, one that holds a known value in every
 * register, and one that makes system calls, so that signals also arrive just before and just
 * after a call. Another thread sends signals that are ignored again before they are delivered.
 * Then handlers of faults, on a stack of their own, leave by siglongjmp.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define TICKS 100
#define SENT 1000

static volatile sig_atomic_t ticks;
static _Atomic int all_sent;
static sigjmp_buf back;
static void *volatile fault_address;
static volatile int fault_code, fault_on_own_stack;
static char own_stack[64 << 10];

static void tick(int signal)
{
    (void)signal;
    ticks++;
}

static void fault(int signal, siginfo_t *info, void *context)
{
    char here;
    (void)context;
    fault_address = info->si_addr;
    fault_code = info->si_code;
    fault_on_own_stack = &here >= own_stack && &here < own_stack + sizeof own_stack;
    siglongjmp(back, signal);
}

static void handle(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signal, &action, NULL);
}

static void every(int microseconds)
{
    struct itimerval interval = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &interval, NULL);
}

static void compute(void)
{
    uint64_t wrong = 0;
    for (ticks = 0; ticks < TICKS;) {
        double sum = 0;
        for (int i = 1; i <= 1000; i++)
            sum += i;
        wrong += sum != 500500;
    }
    printf("computing: %lu wrong\n", wrong);
}

/* Holds values in registers for a while; returns how many have changed. */
static uint64_t hold(void)
{
    uint64_t changed = 0;
    __asm__ volatile(
        "mov $0x1111, %%rcx\n mov $0x2222, %%r11\n mov $0x3333, %%rdx\n mov $0x4444, %%rsi\n"
        "mov $0x5555, %%rdi\n mov $0x6666, %%r8\n mov $0x7777, %%r9\n mov $0x8888, %%r10\n"
        "mov $1000, %%rax\n"
        "1: dec %%rax\n jnz 1b\n"
        "sub $0x1111, %%rcx\n sub $0x2222, %%r11\n sub $0x3333, %%rdx\n sub $0x4444, %%rsi\n"
        "sub $0x5555, %%rdi\n sub $0x6666, %%r8\n sub $0x7777, %%r9\n sub $0x8888, %%r10\n"
        "or %%r11, %%rcx\n or %%rdx, %%rcx\n or %%rsi, %%rcx\n or %%rdi, %%rcx\n"
        "or %%r8, %%rcx\n or %%r9, %%rcx\n or %%r10, %%rcx\n or %%rcx, %0\n"
        : "+r"(changed)
        :
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc");
    return changed;
}

static void hold_registers(void)
{
    uint64_t wrong = 0;
    for (ticks = 0; ticks < TICKS;)
        wrong += hold() != 0;
    printf("holding registers: %lu wrong\n", wrong);
}

static void make_system_calls(void)
{
    long parent = getppid(), wrong = 0;
    for (ticks = 0; ticks < TICKS;)
        wrong += syscall(SYS_getppid) != parent;
    printf("system calls: %ld wrong\n", wrong);
}

static void *send_and_ignore(void *receiver)
{
    for (int i = 0; i < SENT; i++) {
        handle(SIGUSR1, tick, SA_RESTART);
        pthread_kill(*(pthread_t *)receiver, SIGUSR1);
        handle(SIGUSR1, SIG_IGN, 0);
    }
    all_sent = 1;
    return NULL;
}

static void ignore_what_has_arrived(void)
{
    pthread_t sender, own = pthread_self();
    long parent = getppid(), wrong = 0;
    handle(SIGUSR1, SIG_IGN, 0);
    pthread_create(&sender, NULL, send_and_ignore, &own);
    while (!all_sent)
        wrong += syscall(SYS_getppid) != parent;
    pthread_join(sender, NULL);
    printf("ignored in time or too late: %ld wrong\n", wrong);
}

static void wait_interrupted(void)
{
    int pipes[2];
    char byte;
    if (pipe(pipes) != 0)
        return;
    handle(SIGALRM, tick, 0);
    every(20000);
    ssize_t got = read(pipes[0], &byte, 1);
    printf("a read that a handler interrupts: %zd, interrupted %d\n", got, errno == EINTR);
    every(0);
}

static void provoke(const char *what, volatile char *address, int to_write)
{
    volatile char byte = 0;
    fault_address = NULL;
    int caught = sigsetjmp(back, 1);
    if (caught == 0) {
        if (to_write)
            *address = 1;
        else
            byte = *address;
        printf("%s: survived %d\n", what, byte);
        return;
    }
    printf("%s: %s, code %d, address %s, own stack %d\n", what, strsignal(caught), fault_code,
           fault_address == address ? "right" : "wrong", fault_on_own_stack);
}

static void faults(void)
{
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    char *pages = mmap(NULL, 16384, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_NONE);
    munmap(pages + 8192, 4096);
    for (int round = 0; round < 3; round++) {
        provoke("read of nothing", (char *)16, 0);
        provoke("write to what is read-only", pages + 5, 1);
        provoke("read of what is denied", pages + 4096 + 6, 0);
        provoke("read of what is unmapped", pages + 8192 + 7, 0);
        provoke("read after them", pages + 12288, 0);
    }
}

/* The handler steps over the instruction, by changing the context it returns to. */
static void step_over(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void change_the_context(void)
{
    struct sigaction action = {.sa_sigaction = step_over, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    for (int i = 0; i < 10; i++)
        __asm__ volatile("ud2");
    printf("stepped over instructions\n");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    handle(SIGALRM, tick, SA_RESTART);
    every(2000);
    compute();
    hold_registers();
    make_system_calls();
    every(0);
    ignore_what_has_arrived();
    wait_interrupted();
    faults();
    change_the_context();
    return 0;
}
