/* What single calls cost, for `make bench`: a line for each case, its name, a tab and the nanoseconds.
 *
 *     micro [--once] [CASE...]
 *
 * A case is called so often that a batch takes long enough to be measured; of several batches the median
 * counts. With --once each case is called once, and no time is printed: what is printed is then the same
 * everywhere. Run as `micro --true` it ends at once: this is what cases execute.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 5
#define BATCH_NS 8000000.0
#define MIB (1L << 20)
#define FILE_SIZE (64 * MIB)

/* Runs a case this often. */
typedef void repeat(long times);

static char *self;
static char buffer[MIB];

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Calls that do next to nothing. */

static void null_call(long times)
{
    while (times--)
        syscall(SYS_getppid);
}

static void get_pid(long times)
{
    while (times--)
        getpid();
}

static void read_clock(long times)
{
    struct timespec time;
    while (times--)
        clock_gettime(CLOCK_MONOTONIC, &time);
}

static void read_byte(long times)
{
    static int zero = -1;
    if (zero < 0)
        must((zero = open("/dev/zero", O_RDONLY)) >= 0, "/dev/zero");
    while (times--)
        must(read(zero, buffer, 1) == 1, "read");
}

static void write_byte(long times)
{
    static int null = -1;
    if (null < 0)
        must((null = open("/dev/null", O_WRONLY)) >= 0, "/dev/null");
    while (times--)
        must(write(null, buffer, 1) == 1, "write");
}

/* One that hands over to another and waits for it. */

static int there[2], back[2];

static void echo(void)
{
    char byte;
    while (read(there[0], &byte, 1) == 1)
        must(write(back[1], &byte, 1) == 1, "write");
}

static void *echo_thread(void *unused)
{
    (void)unused;
    echo();
    return NULL;
}

static void play(long times)
{
    char byte = 0;
    while (times--) {
        must(write(there[1], &byte, 1) == 1, "write");
        must(read(back[0], &byte, 1) == 1, "read");
    }
}

static void ping_pong_threads(long times)
{
    pthread_t other;
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    must(pthread_create(&other, NULL, echo_thread, NULL) == 0, "pthread_create");
    play(times);
    close(there[1]);
    pthread_join(other, NULL);
    close(there[0]), close(back[0]), close(back[1]);
}

static void ping_pong_processes(long times)
{
    pid_t other;
    must(pipe(there) == 0 && pipe(back) == 0, "pipe");
    must((other = fork()) >= 0, "fork");
    if (other == 0) {
        close(there[1]);
        echo();
        _exit(0);
    }
    play(times);
    close(there[1]);
    waitpid(other, NULL, 0);
    close(there[0]), close(back[0]), close(back[1]);
}

static atomic_uint turn;

static void wait_for_turn(unsigned wanted)
{
    unsigned other;
    while ((other = atomic_load(&turn)) != wanted)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, other, NULL, NULL, 0);
}

static void pass_turn(unsigned to)
{
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *take_turns(void *times)
{
    for (long left = *(long *)times; left--;) {
        wait_for_turn(1);
        pass_turn(0);
    }
    return NULL;
}

static void futex_hand_off(long times)
{
    pthread_t other;
    long of_other = times;
    atomic_store(&turn, 0);
    must(pthread_create(&other, NULL, take_turns, &of_other) == 0, "pthread_create");
    while (times--) {
        pass_turn(1);
        wait_for_turn(0);
    }
    pthread_join(other, NULL);
}

/* Memory. */

static char *map(long size)
{
    char *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(at != MAP_FAILED, "mmap");
    return at;
}

static void touch(volatile char *at, long size)
{
    for (long i = 0; i < size; i += 4096)
        at[i] = 1;
}

static void map_touch_unmap(long size, long times)
{
    while (times--) {
        char *at = map(size);
        touch(at, size);
        must(munmap(at, (size_t)size) == 0, "munmap");
    }
}

static void map_page(long times) { map_touch_unmap(4096, times); }
static void map_mib(long times) { map_touch_unmap(MIB, times); }
static void first_touch(long times) { map_touch_unmap(256 * MIB, times); }

static void protect(long times)
{
    static char *page;
    if (!page)
        touch(page = map(4096), 4096);
    while (times--)
        must(mprotect(page, 4096, times & 1 ? PROT_READ : PROT_READ | PROT_WRITE) == 0, "mprotect");
}

/* Threads, processes, signals. */

static void *nothing(void *unused) { return unused; }

static void make_thread(long times)
{
    pthread_t thread;
    while (times--) {
        must(pthread_create(&thread, NULL, nothing, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
}

static void await(pid_t child)
{
    int status;
    must(waitpid(child, &status, 0) == child && status == 0, "a child");
}

static char *truth[] = {"micro", "--true", NULL};

static void fork_wait(long times)
{
    while (times--) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        await(child);
    }
}

static void fork_exec_wait(long times)
{
    while (times--) {
        pid_t child = fork();
        if (child == 0) {
            execv(self, truth);
            _exit(127);
        }
        await(child);
    }
}

static void spawn_wait(long times)
{
    pid_t child;
    while (times--) {
        must(posix_spawn(&child, self, NULL, NULL, truth, environ) == 0, "posix_spawn");
        await(child);
    }
}

static volatile long handled;

static void handle(int unused)
{
    (void)unused;
    handled++;
}

static void signal_self(long times)
{
    long before = handled, wanted = times;
    signal(SIGUSR1, handle);
    while (times--)
        kill(getpid(), SIGUSR1);
    must(handled - before == wanted, "signals");
}

/* A file of 64 MiB in the working directory, all of which is cached. */

static int file(void)
{
    static int opened = -1;
    if (opened >= 0)
        return opened;
    opened = open("micro-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(opened >= 0 && unlink("micro-file") == 0, "micro-file");
    for (long at = 0; at < FILE_SIZE; at += MIB)
        must(write(opened, buffer, MIB) == MIB, "write");
    return opened;
}

/* Blocks in an order that is always the same and looks like none. */
static off_t next_block(long size)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (off_t)((state >> 33) % (uint64_t)(FILE_SIZE / size)) * size;
}

static void read_blocks(long size, long times)
{
    for (int from = file(); times--;)
        must(pread(from, buffer, (size_t)size, next_block(size)) == size, "pread");
}

static void write_blocks(long size, long times)
{
    for (int to = file(); times--;)
        must(pwrite(to, buffer, (size_t)size, next_block(size)) == size, "pwrite");
}

static void read_4k(long times) { read_blocks(4096, times); }
static void write_4k(long times) { write_blocks(4096, times); }
static void read_mib(long times) { read_blocks(MIB, times); }
static void write_mib(long times) { write_blocks(MIB, times); }

static const struct {
    const char *name;
    repeat *run;
} cases[] = {
    {"null call (getppid)", null_call},
    {"getpid", get_pid},
    {"clock_gettime", read_clock},
    {"read 1 byte of /dev/zero", read_byte},
    {"write 1 byte to /dev/null", write_byte},
    {"pipe ping-pong, threads", ping_pong_threads},
    {"pipe ping-pong, processes", ping_pong_processes},
    {"futex hand-off and back", futex_hand_off},
    {"mmap, touch, munmap 4 KiB", map_page},
    {"mmap, touch, munmap 1 MiB", map_mib},
    {"first touch of 256 MiB", first_touch},
    {"mprotect 4 KiB", protect},
    {"thread create, join", make_thread},
    {"fork, wait", fork_wait},
    {"fork, exec, wait", fork_exec_wait},
    {"posix_spawn, wait", spawn_wait},
    {"signal to self", signal_self},
    {"pread 4 KiB", read_4k},
    {"pwrite 4 KiB", write_4k},
    {"pread 1 MiB", read_mib},
    {"pwrite 1 MiB", write_mib},
};

static double batch(repeat *run, long times)
{
    double begin = now();
    run(times);
    return now() - begin;
}

static int by_value(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double measure(repeat *run)
{
    double took[BATCHES];
    long times = 1;
    /* The first is a warm-up, and too short to count. */
    run(1);
    while ((took[0] = batch(run, times)) < BATCH_NS)
        times = took[0] < BATCH_NS / 16 ? times * 8 : times * 2;
    for (int i = 1; i < BATCHES; i++)
        took[i] = batch(run, times);
    qsort(took, BATCHES, sizeof *took, by_value);
    return took[BATCHES / 2] / (double)times;
}

static int is_wanted(const char *name, char **wanted)
{
    if (!*wanted)
        return 1;
    for (; *wanted; wanted++)
        if (strcmp(name, *wanted) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    char **wanted = argv + 1;
    int once = 0;

    if (argc == 2 && strcmp(argv[1], "--true") == 0)
        return 0;
    if (*wanted && strcmp(*wanted, "--once") == 0)
        once = 1, wanted++;
    self = argv[0];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!is_wanted(cases[i].name, wanted))
            continue;
        if (once) {
            cases[i].run(1);
            puts(cases[i].name);
        } else {
            printf("%s\t%.1f\n", cases[i].name, measure(cases[i].run));
        }
        fflush(stdout);
    }
    return 0;
}
