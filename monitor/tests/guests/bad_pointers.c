/* Question: are false pointers, lengths and numbers answered with Linux's errno, and no death? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int null_fd, zero_fd;
static char *edge; /* The end of a page with nothing after it. */

static void *const pointers[] = {
    (void *)0,
    (void *)1,
    (void *)0x7ffffffff000,
    (void *)0x800000000000,
    (void *)0x8000000000000000,
    (void *)0xffffffffff600000,
    (void *)0xffffffffffffffff,
};

static void show(const char *call, size_t which, long result)
{
    printf("%s %zu: %ld %s\n", call, which, result, result < 0 ? strerrorname_np(errno) : "");
}

static void false_pointers(void)
{
    char own[16] = "";
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        struct iovec spans[2] = {{own, sizeof own}, {pointers[i], 1}};
        show("read", i, read(zero_fd, pointers[i], 4096));
        show("read 0", i, syscall(SYS_read, zero_fd, pointers[i], 0));
        show("open", i, syscall(SYS_open, pointers[i], O_RDONLY));
        show("stat", i, syscall(SYS_stat, "/", pointers[i]));
        show("readv", i, readv(zero_fd, spans + 1, 1));
        show("readv of two", i, readv(zero_fd, spans, 2));
        show("readv of a list", i, syscall(SYS_readv, zero_fd, pointers[i], 1));
        show("uname", i, syscall(SYS_uname, pointers[i]));
        show("getcwd", i, syscall(SYS_getcwd, pointers[i], 4096));
        show("pipe", i, syscall(SYS_pipe, pointers[i]));
        show("clock", i, syscall(SYS_clock_gettime, 1, pointers[i]));
        show("nanosleep", i, syscall(SYS_nanosleep, pointers[i], NULL));
        show("getrandom", i, syscall(SYS_getrandom, pointers[i], 16, 0));
    }
}

static void at_the_edge(void)
{
    show("read across", 0, read(zero_fd, edge - 16, 64));
    show("write across", 0, write(null_fd, edge - 16, 64));
    memset(edge - 16, 'x', 16);
    show("open without an end", 0, syscall(SYS_open, edge - 16, O_RDONLY));
    strcpy(edge - 16, "/tmp");
    show("open at the end", 0, syscall(SYS_access, edge - 16, F_OK));
    show("stat across", 0, syscall(SYS_stat, "/", edge - 16));
    show("getcwd across", 0, syscall(SYS_getcwd, edge - 1, 1));
}

/* Linux looks at a vector's elements one after the other; older ones (6.1) fetch them all first. */
static void show_either(const char *call, long result)
{
    if (result == -1 && errno == EFAULT)
        errno = EINVAL;
    show(call, 0, result);
}

static void vectors_at_the_edge(void)
{
    struct iovec *spans = (struct iovec *)(edge - 2 * sizeof *spans);
    static char own[16];
    spans[0] = (struct iovec){own, 16};
    spans[1] = (struct iovec){own, 16};
    show("vector across", 0, readv(zero_fd, spans, 3));
    spans[1].iov_len = SIZE_MAX;
    show_either("vector across, its second too long", readv(zero_fd, spans, 3));
    show_either("the same to be sent", writev(null_fd, spans, 3));
    show("that alone", 0, readv(zero_fd, spans, 2));
    struct msghdr message = {.msg_iov = spans, .msg_iovlen = 3};
    show("a message of it to nobody", 0, sendmsg(null_fd, &message, 0));
}

/* What switches nothing, and what there is not. */
static void switches(void)
{
    for (unsigned long value = 0; value < 2; value++)
        show("PR_SET_TIMING", value, prctl(PR_SET_TIMING, value, 0, 0, 0));
    show("PR_SET_TSC", PR_TSC_ENABLE, prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0));
    show("PR_SET_TSC", 3, prctl(PR_SET_TSC, 3, 0, 0, 0));
}

static void false_numbers(void)
{
    char own[64], path[5000];
    struct iovec span = {own, SIZE_MAX};
    struct iovec many[1025];
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){own, 1};
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = 0;
    show("read huge", 0, syscall(SYS_read, -1, own, SIZE_MAX));
    show("closed", 0, read(999, own, 1));
    show("iovec too long", 0, readv(zero_fd, &span, 1));
    show("iovec of 1024", 0, readv(zero_fd, many, 1024));
    show("iovec of 1025", 0, readv(zero_fd, many, 1025));
    show("iovec of -1", 0, syscall(SYS_readv, zero_fd, many, -1));
    show("long path", 0, open(path, O_RDONLY));
    show("empty path", 0, open("", O_RDONLY));
    show("missing path", 0, open("/no/such/path", O_RDONLY));
    show("seek", 0, lseek(null_fd, 0, 99));
    show("fcntl", 0, fcntl(null_fd, 9999));
    show("ioctl", 0, syscall(SYS_ioctl, null_fd, 0x5401, NULL));
    show("dup2", 0, dup2(null_fd, 1 << 30));
    /* Linux looks at the lower half of the number only. */
    show("number with an upper half", 0, syscall(0x100000000L + SYS_getpid) == getpid());
}

/* The processor reads what may be written. */
static void for_writing_only(void)
{
    char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct stat status;
    strcpy(path, "/dev");
    mprotect(path, 4096, PROT_WRITE);
    show("open of a path for writing only", 0, open(path, O_RDONLY) > 0);
    show("stat of it", 0, stat(path, &status));
    show("chdir to it", 0, chdir(path));
    stack_t *stack = (stack_t *)(path + 64);
    struct iovec *span = (struct iovec *)(path + 128);
    struct pollfd *list = (struct pollfd *)(path + 256);
    *stack = (stack_t){.ss_sp = path + 2048, .ss_size = 2048};
    show("sigaltstack from it", 0, sigaltstack(stack, NULL));
    stack->ss_flags = SS_DISABLE;
    show("and no more", 0, sigaltstack(stack, NULL));
    *span = (struct iovec){path + 512, 5};
    show("writev from it", 0, writev(null_fd, span, 1));
    *list = (struct pollfd){null_fd, POLLOUT, 0};
    show("poll of it", 0, poll(list, 1, 0));
    show("and what it says", 0, list->revents);
}

int main(void)
{
    null_fd = open("/dev/null", O_WRONLY);
    zero_fd = open("/dev/zero", O_RDONLY);
    for_writing_only();
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    edge = pages + 4096;
    if (munmap(edge, 4096) != 0)
        return 1;
    false_pointers();
    at_the_edge();
    vectors_at_the_edge();
    false_numbers();
    switches();
    return 0;
}
