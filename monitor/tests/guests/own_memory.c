/* Question: may a program ask about, copy and advise its own memory through the calls for others'? */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

enum { PAGE = 4096, MANY = 1200, MPOL_F_NODE = 1, MPOL_F_ADDR = 2, MPOL_F_MEMS_ALLOWED = 4 };

static void *const elsewhere = (void *)0x10000000000, *const beyond = (void *)0x800000000000;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

static long policy(int *mode, void *mask, unsigned long nodes, void *address, long flags)
{
    return syscall(SYS_get_mempolicy, mode, mask, nodes, address, flags);
}

static void copies(void)
{
    char from[] = "0123456789", to[11] = "", *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec local[] = {{to, 4}, {to + 4, 6}}, remote[] = {{from, 3}, {from + 3, 7}};
    munmap(page + PAGE, PAGE);
    show("read", process_vm_readv(getpid(), local, 2, remote, 2, 0));
    printf("  %s\n", to);
    memset(from, 'w', 10);
    show("write", process_vm_writev(getpid(), remote, 2, local, 2, 0));
    printf("  %s\n", from);
    show("by a thread's number", process_vm_readv(gettid(), local, 2, remote, 2, 0));
    remote[1].iov_base = page + PAGE - 3;
    show("up to a hole", process_vm_readv(getpid(), local, 2, remote, 2, 0));
    remote[1].iov_base = elsewhere;
    show("up to elsewhere", process_vm_readv(getpid(), local, 2, remote, 2, 0));
    remote[1].iov_base = beyond;
    show("up to beyond", process_vm_readv(getpid(), local, 2, remote, 2, 0));
    remote[0].iov_base = elsewhere;
    show("elsewhere", process_vm_readv(getpid(), local, 2, remote, 1, 0));
    show("write elsewhere", process_vm_writev(getpid(), local, 2, remote, 1, 0));
    remote[0].iov_base = from;
    local[0].iov_base = elsewhere;
    show("to elsewhere", process_vm_readv(getpid(), local, 1, remote, 1, 0));
    local[0].iov_base = beyond;
    show("to beyond", process_vm_readv(getpid(), local, 1, remote, 1, 0));
    local[0].iov_base = to;
    show("flags", process_vm_readv(getpid(), local, 1, remote, 1, 1));
    show("too many", process_vm_readv(getpid(), local, 1, remote, 1025, 0));
    show("nothing", process_vm_readv(getpid(), local, 0, remote, 1, 0));
    show("no list", process_vm_readv(getpid(), local, 1, NULL, 1, 0));
    remote[0].iov_len = -1;
    show("a length below zero", process_vm_readv(getpid(), local, 1, remote, 1, 0));
    remote[0].iov_len = 3;
    show("nobody", process_vm_readv(0x3fffff, local, 1, remote, 1, 0));
}

static void policies(void)
{
    int mode = -1;
    unsigned long mask[64] = {0};
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    show("the thread's", policy(&mode, mask, 4096, NULL, 0));
    printf("  %d %lx\n", mode, mask[0]);
    show("a page's node", policy(&mode, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR));
    printf("  %d\n", mode);
    show("nodes", policy(NULL, mask, 4096, NULL, MPOL_F_MEMS_ALLOWED));
    printf("  %lx\n", mask[0]);
    show("an address without its flag", policy(&mode, mask, 4096, page, 0));
    show("nobody's page", policy(&mode, NULL, 0, NULL, MPOL_F_ADDR));
    show("a page elsewhere", policy(&mode, NULL, 0, elsewhere, MPOL_F_NODE | MPOL_F_ADDR));
    show("a mode beyond", policy(beyond, NULL, 0, NULL, 0));
    show("a mask beyond", policy(&mode, beyond, 4096, NULL, 0));
    show("unknown flags", policy(&mode, NULL, 0, NULL, 64));
}

static void pages(void)
{
    static void *list[MANY];
    static int status[MANY], nodes[MANY];
    char *memory = mmap(NULL, MANY * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, MANY * PAGE, MADV_NOHUGEPAGE);
    int present = 0, absent = 0, fault = 0;
    for (int i = 0; i < MANY; i++) {
        list[i] = memory + i * PAGE;
        if (i % 3 == 0)
            memory[i * PAGE] = 1;
    }
    list[1] = elsewhere;
    list[MANY - 1] = beyond;
    list[2] = NULL;
    show("where are they", syscall(SYS_move_pages, 0, MANY, list, NULL, status, 0));
    for (int i = 0; i < MANY; i++) {
        present += status[i] == 0;
        absent += status[i] == -ENOENT;
        fault += status[i] == -EFAULT;
    }
    printf("  %d %d %d\n", present, absent, fault);
    show("move to where they are", syscall(SYS_move_pages, getpid(), 1, list, nodes, status, 2));
    printf("  %d\n", status[0]);
    nodes[0] = 900;
    show("move to no node", syscall(SYS_move_pages, 0, 1, list, nodes, status, 2));
    show("none", syscall(SYS_move_pages, 0, 0, list, NULL, status, 0));
    show("flags", syscall(SYS_move_pages, 0, 1, list, NULL, status, 64));
    show("a list elsewhere", syscall(SYS_move_pages, 0, 4, elsewhere, NULL, status, 0));
    show("a status elsewhere", syscall(SYS_move_pages, 0, 4, list, NULL, elsewhere, 0));
    show("a status beyond", syscall(SYS_move_pages, 0, 4, list, NULL, beyond, 0));
    show("nodes elsewhere", syscall(SYS_move_pages, 0, 4, list, elsewhere, status, 0));
    show("nobody", syscall(SYS_move_pages, 0x3fffff, 1, list, NULL, status, 0));
}

static void advice(void)
{
    char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec parts[] = {{memory, PAGE}, {memory + 2 * PAGE, PAGE}};
    int self = syscall(SYS_pidfd_open, getpid(), 0), status;
    memset(memory, 1, 4 * PAGE);
    show("cold", syscall(SYS_process_madvise, self, parts, 2, 20, 0));
    show("will need", syscall(SYS_process_madvise, self, parts, 2, MADV_WILLNEED, 0));
    show("flags", syscall(SYS_process_madvise, self, parts, 2, 20, 1));
    show("no advice", syscall(SYS_process_madvise, self, parts, 2, 999, 0));
    show("no process", syscall(SYS_process_madvise, 0, parts, 2, 20, 0));
    show("a list beyond", syscall(SYS_process_madvise, self, beyond, 2, 20, 0));
    show("release oneself", syscall(SYS_process_mrelease, self, 0));
    show("release with flags", syscall(SYS_process_mrelease, self, 1));
    show("release nobody", syscall(SYS_process_mrelease, 0, 0));
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int other = syscall(SYS_pidfd_open, child, 0);
    show("release one that lives", syscall(SYS_process_mrelease, other, 0));
    kill(child, 9);
    waitpid(child, &status, 0);
    show("release one that is gone", syscall(SYS_process_mrelease, other, 0));
}

int main(void)
{
    copies();
    policies();
    pages();
    advice();
    return 0;
}
