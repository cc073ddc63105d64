/* Question: is memory that the program has sealed kept from every change of its map? */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

enum { PAGE = 4096 };

static sigjmp_buf back;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    printf("signal %d, code %d\n", signal, info->si_code);
    siglongjmp(back, 1);
}

static char *map(int pages, int protection)
{
    return mmap(NULL, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long as_error(void *result)
{
    return result == MAP_FAILED ? -1 : 0;
}

static void write_to(const char *what, char *at)
{
    printf("%s: ", what);
    fflush(stdout);
    if (sigsetjmp(back, 1) == 0) {
        *(volatile char *)at = 'x';
        puts("written");
    }
}

static void call(const char *what, char *at)
{
    printf("%s: ", what);
    fflush(stdout);
    if (sigsetjmp(back, 1) == 0) {
        ((void (*)(void))at)();
        puts("called");
    }
}

static void wrong_arguments(char *memory)
{
    show("flags", syscall(SYS_mseal, memory, PAGE, 1));
    show("half a page", syscall(SYS_mseal, memory + 8, PAGE, 0));
    show("too long", syscall(SYS_mseal, memory, -PAGE / 2, 0));
    show("nothing", syscall(SYS_mseal, memory, 0, 0));
    show("nobody's", syscall(SYS_mseal, (void *)0x10000000000, PAGE, 0));
    show("not a program's", syscall(SYS_mseal, (void *)0x800000000000, PAGE, 0));
    show("with a hole", syscall(SYS_mseal, memory, 64 * PAGE, 0));
}

static void changes(char *memory)
{
    show("unmap", munmap(memory, PAGE));
    show("unmap around", munmap(memory - PAGE, 3 * PAGE));
    show("map over", as_error(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    show("map not over", as_error(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
    show("move", as_error(mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory - PAGE)));
    show("grow", as_error(mremap(memory, PAGE, 2 * PAGE, MREMAP_MAYMOVE)));
    show("move over", as_error(mremap(memory - PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory)));
    show("protect", mprotect(memory, PAGE, PROT_READ));
    show("protect the same", mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
    show("advise", madvise(memory, PAGE, MADV_WILLNEED));
    show("lock", mlock(memory, PAGE));
    show("unlock", munlock(memory, PAGE));
    show("seal again", syscall(SYS_mseal, memory, PAGE, 0));
    write_to("sealed", memory);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    char *area = map(16, PROT_READ | PROT_WRITE);
    munmap(area + 12 * PAGE, 4 * PAGE);
    if (syscall(SYS_mseal, area, 0, 0) != 0) {
        printf("no seals: %s\n", strerrorname_np(errno));
        return 0;
    }
    wrong_arguments(area + 6 * PAGE);
    char *sealed = area + 4 * PAGE;
    show("seal", syscall(SYS_mseal, sealed, PAGE, 0));
    changes(sealed);

    /* Linux changes what lies before the seal. */
    show("protect across", mprotect(sealed - 2 * PAGE, 5 * PAGE, PROT_READ));
    write_to("before", sealed - PAGE);
    write_to("sealed", sealed);
    write_to("behind", sealed + PAGE);

    char *read_only = map(2, PROT_READ | PROT_WRITE);
    memset(read_only, 7, 2 * PAGE);
    mprotect(read_only, PAGE, PROT_READ);
    show("seal what is read", syscall(SYS_mseal, read_only, PAGE, 0));
    show("drop what is read", madvise(read_only, PAGE, MADV_DONTNEED));
    show("write what is read", mprotect(read_only, 2 * PAGE, PROT_READ | PROT_WRITE));
    write_to("read", read_only);
    printf("still %d\n", read_only[0]);

    char *code = map(1, PROT_READ | PROT_WRITE);
    code[0] = '\xc3'; /* ret */
    mprotect(code, PAGE, PROT_READ | PROT_EXEC);
    show("seal code", syscall(SYS_mseal, code, PAGE, 0));
    call("code", code);
    show("make it data", mprotect(code, PAGE, PROT_READ));
    show("unmap it", munmap(code, PAGE));
    show("map over it", as_error(mmap(code, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    call("code", code);

    char *heap = sbrk(0);
    sbrk(8 * PAGE);
    heap = (char *)(((unsigned long)heap + PAGE - 1) & -PAGE) + PAGE;
    show("seal heap", syscall(SYS_mseal, heap, PAGE, 0));
    show("shrink the heap", brk(heap - PAGE));
    write_to("heap", heap);
    show("shrink it less", brk(heap + 2 * PAGE));

    int status;
    if (fork() == 0) {
        show("child's unmap", munmap(sealed, PAGE));
        show("child's protect", mprotect(sealed, PAGE, PROT_NONE));
        write_to("child's", sealed);
        _exit(6);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    return 0;
}
