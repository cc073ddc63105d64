/* Question: does each forbidden access end the program with SIGSEGV, as Linux ends it?
 *
 * One access per run, named by the argument. A program that survives says so and returns 0.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

int main(int argc, char **argv);

static const char rodata[] = "written in stone";
static char data[64] = {(char)0xc3}; /* One `ret`. */

static char *page(int protection)
{
    return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int load(uintptr_t address) { return *(volatile char *)address; }
static void store(uintptr_t address) { *(volatile char *)address = 1; }
static void jump(uintptr_t address) { ((void (*)(void))address)(); }

static int recurse(int n)
{
    volatile char room[4096];
    room[0] = (char)n;
    if (n < 0)
        return 0;
    return recurse(n + 1) + room[0];
}

static void return_elsewhere(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)0x8000000000000000;
}

static void handle_and_return_elsewhere(void)
{
    struct sigaction action = {.sa_sigaction = return_elsewhere, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void provoke(const char *how)
{
    if (!strcmp(how, "null-read")) load(0);
    else if (!strcmp(how, "null-write")) store(0);
    else if (!strcmp(how, "null-call")) jump(0);
    else if (!strcmp(how, "wild-write")) store(0x123456789000);
    else if (!strcmp(how, "non-canonical")) load(0x8000000000000000);
    else if (!strcmp(how, "non-canonical-call")) jump(0x8000000000000000);
    else if (!strcmp(how, "non-canonical-return")) handle_and_return_elsewhere();
    else if (!strcmp(how, "kernel-half")) load(0xffffffff81000000);
    else if (!strcmp(how, "kernel-half-call")) jump(0xffffffff81000000);
    else if (!strcmp(how, "rodata-write")) store((uintptr_t)rodata);
    else if (!strcmp(how, "code-write")) store((uintptr_t)main);
    else if (!strcmp(how, "data-call")) jump((uintptr_t)data);
    else if (!strcmp(how, "none-read")) load((uintptr_t)page(PROT_NONE));
    else if (!strcmp(how, "read-only-write")) store((uintptr_t)page(PROT_READ));
    else if (!strcmp(how, "stack-overflow")) recurse(0);
    else if (!strcmp(how, "privileged")) __asm__ volatile("hlt");
    else if (!strcmp(how, "port")) __asm__ volatile("outb %%al, $0x80" ::"a"(0));
    else if (!strcmp(how, "unmapped-read")) {
        char *gone = page(PROT_READ);
        munmap(gone, 4096);
        load((uintptr_t)gone);
    } else exit(99);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("before %s\n", argv[1]);
    provoke(argc > 1 ? argv[1] : "");
    printf("survived\n");
    return 0;
}
