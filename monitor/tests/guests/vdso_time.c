/* Question: is there a vDSO, and is the time it tells the kernel's time and never backwards? */
#define _GNU_SOURCE
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long nanoseconds(const struct timespec *time)
{
    return time->tv_sec * 1000000000LL + time->tv_nsec;
}

/* Counts steps backwards over many readings. */
static int backwards(clockid_t clock)
{
    struct timespec time;
    long long last = 0;
    int wrong = 0;
    for (int i = 0; i < 200000; i++) {
        wrong += clock_gettime(clock, &time) != 0 || nanoseconds(&time) < last;
        last = nanoseconds(&time);
    }
    return wrong;
}

/* The kernel, the vDSO, the kernel: the middle one must lie between. */
static int agrees(clockid_t clock)
{
    struct timespec before, between, after;
    syscall(SYS_clock_gettime, clock, &before);
    clock_gettime(clock, &between);
    syscall(SYS_clock_gettime, clock, &after);
    return nanoseconds(&before) <= nanoseconds(&between)
        && nanoseconds(&between) <= nanoseconds(&after);
}

int main(void)
{
    const Elf64_Ehdr *vdso = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
    printf("vDSO is ELF: %d\n", vdso && !memcmp(vdso->e_ident, ELFMAG, SELFMAG));
    printf("monotonic backwards: %d\n", backwards(CLOCK_MONOTONIC));
    printf("realtime agrees: %d\n", agrees(CLOCK_REALTIME));
    printf("monotonic agrees: %d\n", agrees(CLOCK_MONOTONIC));
    printf("boottime agrees: %d\n", agrees(CLOCK_BOOTTIME));

    struct timeval day;
    struct timespec slept = {0, 20000000}, start, end;
    gettimeofday(&day, NULL);
    printf("gettimeofday and time agree: %d\n", time(NULL) - day.tv_sec <= 1);
    clock_gettime(CLOCK_MONOTONIC, &start);
    printf("nanosleep: %d\n", nanosleep(&slept, NULL));
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("slept at least 20 ms: %d\n", nanoseconds(&end) - nanoseconds(&start) >= 20000000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    printf("has used some CPU: %d\n", nanoseconds(&start) > 0);
    return 0;
}
