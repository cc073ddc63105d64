/* Question: does Linux's asynchronous input and output work: contexts, requests, events? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where no program has memory: in the monitor's half of addresses, and beyond them. */
static void *const elsewhere = (void *)0x10000000000, *const beyond = (void *)0x800000000000;

static aio_context_t context;
static int file;
static volatile sig_atomic_t caught;

static void show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
}

static long submit(struct iocb *block)
{
    return syscall(SYS_io_submit, context, 1, &block);
}

static long events(long min, long max, struct io_event *into, struct timespec *limit)
{
    return syscall(SYS_io_getevents, context, min, max, into, limit);
}

static struct iocb request(int opcode, int fd, const void *buffer, size_t len, off_t offset)
{
    struct iocb block = {0};
    block.aio_lio_opcode = opcode;
    block.aio_fildes = fd;
    block.aio_buf = (uintptr_t)buffer;
    block.aio_nbytes = len;
    block.aio_offset = offset;
    block.aio_data = 0xfeed0000 + opcode;
    block.aio_key = 77;
    return block;
}

/* One request and its event. */
static void finish(const char *what, struct iocb block)
{
    struct io_event event = {0};
    long taken = submit(&block);
    show(what, taken);
    printf("  key %u\n", block.aio_key);
    if (taken == 1) {
        long got = events(1, 1, &event, NULL);
        printf("  event %ld: own block %d, data %llx, result %lld, %lld\n", got,
               event.obj == (uintptr_t)&block, event.data, event.res, event.res2);
    }
}

static void setups(void)
{
    aio_context_t other = 0;
    show("setup of none", syscall(SYS_io_setup, 0, &other));
    show("setup of minus one", syscall(SYS_io_setup, -1, &other));
    show("setup at null", syscall(SYS_io_setup, 1, NULL));
    show("setup elsewhere", syscall(SYS_io_setup, 1, elsewhere));
    show("setup beyond", syscall(SYS_io_setup, 1, beyond));
    other = 1;
    show("setup of a context", syscall(SYS_io_setup, 1, &other));
    show("setup", syscall(SYS_io_setup, 16, &context));
    other = 0;
    show("another setup", syscall(SYS_io_setup, 1, &other));
    printf("differ: %d\n", other != context && other != 0);
    show("destroy", syscall(SYS_io_destroy, other));
    show("destroy again", syscall(SYS_io_destroy, other));
    unsigned char there;
    show("its memory is gone", mincore((void *)other, 4096, &there));
    show("destroy none", syscall(SYS_io_destroy, 0));
    show("destroy beyond", syscall(SYS_io_destroy, beyond));
}

static void files(void)
{
    char text[] = "hello, asynchronous world", back[64] = "", one[5] = "", two[20] = "";
    struct iovec from[] = {{"so ", 3}, {"many", 4}}, into[] = {{one, 4}, {two, sizeof two}};
    struct iovec bad[] = {{one, 4}, {elsewhere, 4}}, out[] = {{one, 4}, {beyond, 4}};
    finish("write", request(IOCB_CMD_PWRITE, file, text, sizeof text, 0));
    finish("read", request(IOCB_CMD_PREAD, file, back, sizeof back, 7));
    printf("  %s\n", back);
    finish("write a vector", request(IOCB_CMD_PWRITEV, file, from, 2, 7));
    finish("read a vector", request(IOCB_CMD_PREADV, file, into, 2, 3));
    printf("  %s %s\n", one, two);
    finish("an empty vector", request(IOCB_CMD_PREADV, file, into, 0, 0));
    finish("sync", request(IOCB_CMD_FSYNC, file, NULL, 0, 0));
    finish("sync with a buffer", request(IOCB_CMD_FSYNC, file, text, 1, 0));
    finish("read past the end", request(IOCB_CMD_PREAD, file, back, 10, 1 << 20));
    finish("read into null", request(IOCB_CMD_PREAD, file, NULL, 10, 0));
    finish("read elsewhere", request(IOCB_CMD_PREAD, file, elsewhere, 10, 0));
    finish("read beyond", request(IOCB_CMD_PREAD, file, beyond, 10, 0));
    finish("write from elsewhere", request(IOCB_CMD_PWRITE, file, elsewhere, 10, 0));
    finish("a vector at null", request(IOCB_CMD_PREADV, file, NULL, 2, 0));
    finish("a vector elsewhere", request(IOCB_CMD_PREADV, file, elsewhere, 2, 0));
    finish("a vector too long", request(IOCB_CMD_PREADV, file, into, 1025, 0));
    finish("a vector with an element beyond", request(IOCB_CMD_PREADV, file, out, 2, 0));
    finish("a vector with an element elsewhere", request(IOCB_CMD_PREADV, file, bad, 2, 0));
    for (int opcode = 4; opcode < 12; opcode++)
        if (opcode == 4 || opcode == 6 || opcode > 8)
            finish("no opcode", request(opcode, file, back, 1, 0));
}

static void blocks(void)
{
    char back[8];
    struct iocb good = request(IOCB_CMD_PREAD, file, back, 4, 0), bad = good, flagged = good;
    bad.aio_fildes = 955;
    finish("closed", bad);
    for (bad.aio_fildes = 960; bad.aio_fildes < 1000; bad.aio_fildes++)
        if (submit(&bad) != -1 || errno != EBADF)
            printf("descriptor %u\n", bad.aio_fildes);
    flagged.aio_flags = IOCB_FLAG_RESFD;
    for (flagged.aio_resfd = 960; flagged.aio_resfd < 1000; flagged.aio_resfd++)
        if (submit(&flagged) != -1)
            printf("result descriptor %u\n", flagged.aio_resfd);
    flagged.aio_resfd = file;
    show("a result descriptor that counts nothing", submit(&flagged));
    flagged = good;
    flagged.aio_reserved2 = 1;
    show("reserved", submit(&flagged));
    struct iocb *list[] = {&good, &bad, &good};
    struct iocb *faults[] = {&good, beyond};
    struct io_event told[4];
    show("submit none", syscall(SYS_io_submit, context, 0, list));
    show("submit less", syscall(SYS_io_submit, context, -1, list));
    show("submit no list", syscall(SYS_io_submit, context, 1, NULL));
    show("submit up to a bad one", syscall(SYS_io_submit, context, 3, list));
    show("submit up to a fault", syscall(SYS_io_submit, context, 2, faults));
    show("submit a fault", syscall(SYS_io_submit, context, 1, faults + 1));
    show("submit to nobody", syscall(SYS_io_submit, context + 4096, 1, list));
    show("two events", events(2, 4, told, NULL));
    struct timespec none = {0, 0};
    show("no more", events(1, 4, told, &none));
    show("a time beyond", events(1, 4, told, beyond));
    show("more than room", events(5, 4, told, &none));
    show("less than none", events(0, -1, told, &none));
    show("of nobody", syscall(SYS_io_getevents, context + 4096, 0, 1, told, &none));
    show("submit another", submit(&good));
    show("events elsewhere", events(1, 1, elsewhere, NULL));
    show("they were not lost", events(1, 4, told, NULL));
}

static void *write_later(void *pipe_end)
{
    usleep(50000);
    if (write(*(int *)pipe_end, "x", 1) != 1)
        abort();
    return NULL;
}

static void waits(void)
{
    int ends[2], counter = eventfd(0, 0);
    pthread_t writer;
    struct io_event event = {0};
    uint64_t count = 0;
    struct timespec soon = {0, 20000000};
    if (pipe(ends) != 0)
        abort();
    struct iocb block = request(IOCB_CMD_POLL, ends[0], (void *)POLLIN, 0, 0);
    block.aio_flags = IOCB_FLAG_RESFD;
    block.aio_resfd = counter;
    show("poll", submit(&block));
    show("nothing yet", events(1, 1, &event, &soon));
    pthread_create(&writer, NULL, write_later, &ends[1]);
    show("it came", events(1, 1, &event, NULL));
    pthread_join(writer, NULL);
    printf("  own %d, result %lld\n", event.obj == (uintptr_t)&block, event.res);
    show("counted", read(counter, &count, sizeof count));
    printf("  %d\n", (int)count);
    struct iocb idle = request(IOCB_CMD_POLL, ends[1], (void *)POLLERR, 0, 0);
    show("poll for an error", submit(&idle));
    show("cancel another", syscall(SYS_io_cancel, context, &block, &event));
    show("cancel of nobody", syscall(SYS_io_cancel, 0, &idle, &event));
    show("cancel beyond", syscall(SYS_io_cancel, context, beyond, &event));
    show("cancel", syscall(SYS_io_cancel, context, &idle, &event));
    show("its event", events(1, 1, &event, NULL));
    printf("  own %d, result %lld\n", event.obj == (uintptr_t)&idle, event.res);
    show("poll for many", submit(&(struct iocb){.aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = 1u << 20}));
}

static void on_alarm(int signal)
{
    (void)signal;
    caught++;
}

static void signals(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct { const uint64_t *mask; size_t size; } masked;
    struct io_event event;
    struct timespec soon = {0, 20000000};
    uint64_t alarm_bit = 1 << (SIGALRM - 1);
    sigset_t set;
    sigaction(SIGALRM, &action, NULL);
    ualarm(50000, 0);
    show("interrupted", events(1, 1, &event, NULL));
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGALRM);
    masked.mask = &alarm_bit;
    masked.size = 8;
    show("blocked", syscall(SYS_io_pgetevents, context, 1, 1, &event, &soon, &masked));
    printf("  caught %d\n", caught);
    alarm_bit = 0;
    show("let in", syscall(SYS_io_pgetevents, context, 1, 1, &event, NULL, &masked));
    printf("  caught %d\n", caught);
    masked.size = 4;
    show("half a mask", syscall(SYS_io_pgetevents, context, 0, 1, &event, &soon, &masked));
    masked.mask = NULL;
    show("no mask", syscall(SYS_io_pgetevents, context, 0, 1, &event, &soon, &masked));
    show("null", syscall(SYS_io_pgetevents, context, 0, 1, &event, &soon, NULL));
    show("a mask beyond", syscall(SYS_io_pgetevents, context, 0, 1, &event, &soon, beyond));
}

static void children(void)
{
    char back[8];
    struct iocb block = request(IOCB_CMD_PREAD, file, back, 4, 0);
    struct io_event event;
    int status;
    if (fork() == 0) {
        aio_context_t own = 0;
        show("a child's submit", submit(&block));
        show("a child's events", events(0, 1, &event, NULL));
        show("a child's destroy", syscall(SYS_io_destroy, context));
        show("a child's own", syscall(SYS_io_setup, 4, &own));
        context = own;
        finish("a child's read", block);
        _exit(3);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    finish("after the child", block);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    setups();
    files();
    blocks();
    waits();
    signals();
    children();
    show("the end", syscall(SYS_io_destroy, context));
    return 0;
}
