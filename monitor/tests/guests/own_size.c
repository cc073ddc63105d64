/* Question: does /proc tell a process's sizes and threads as if there were no monitor? */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

#define MIB (1L << 20)

static char text[1 << 20];

static const char *content(const char *process, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/%s", process, file);
    int fd = open(path, O_RDONLY);
    long size = 0, got;
    while ((got = read(fd, text + size, sizeof text - 1 - size)) > 0)
        size += got;
    text[size] = 0;
    close(fd);
    return text;
}

static long status(const char *process, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "\n%s:", name);
    const char *line = strstr(content(process, "status"), key);
    return line ? atol(line + strlen(key)) : -1;
}

/* A word of stat, counted from 1 as in proc(5). */
static long stat_word(const char *process, int which)
{
    char *word = strrchr(content(process, "stat"), ')') + 2;
    for (int at = 3; at < which; at++)
        word = strchr(word, ' ') + 1;
    return atol(word);
}

static long statm(const char *process, int which)
{
    const char *word = content(process, "statm");
    for (int at = 1; at < which; at++)
        word = strchr(word, ' ') + 1;
    return atol(word);
}

/* kB of all mappings, of those with these permissions, or of the one with this name. */
static long mapped(const char *process, const char *permissions, const char *name)
{
    long sum = 0;
    content(process, "maps");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end;
        char may[5];
        sscanf(line, "%lx-%lx %4s", &start, &end, may);
        if (strstr(line, "[vsyscall]") || (name && !strstr(line, name)))
            continue;
        if (!permissions || strcmp(may, permissions) == 0)
            sum += (end - start) / 1024;
    }
    return sum;
}

/* Fields are read one after another; older kernels count what is resident late, and huge pages at once. */
static long room(void) { return at_least(6, 2) ? 512 : 3072; }
static int near(long a, long b) { return labs(a - b) <= room(); }

/* kB that are resident of all mappings. */
static long resident_of_mappings(const char *process)
{
    long sum = 0;
    content(process, "smaps");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, "Rss:", 4) == 0)
            sum += atol(line + 4);
    return sum;
}

static void show(const char *what, const char *process)
{
    long size = status(process, "VmSize"), resident = status(process, "VmRSS");
    printf("%s: threads %ld %ld\n", what, status(process, "Threads"), stat_word(process, 20));
    printf("  size is what is mapped: %d %d %d, peak: %d\n", size == mapped(process, NULL, NULL),
           stat_word(process, 23) == size * 1024, statm(process, 1) == size / 4,
           status(process, "VmPeak") >= size);
    printf("  resident: %d %d, sum: %d, peak: %d\n", near(stat_word(process, 24) * 4, resident),
           near(statm(process, 2) * 4, resident),
           near(status(process, "RssAnon") + status(process, "RssFile") + status(process, "RssShmem"), resident),
           status(process, "VmHWM") + room() >= resident);
    printf("  as its mappings have: %d\n", near(resident, resident_of_mappings(process)));
    printf("  stack: %d, data: %d, code: %d\n", status(process, "VmStk") == mapped(process, NULL, "[stack]"),
           status(process, "VmData") == mapped(process, "rw-p", NULL) - mapped(process, "rw-p", "[stack]"),
           status(process, "VmExe") + status(process, "VmLib") == mapped(process, "r-xp", NULL));
    fflush(stdout);
}

static void *waits(void *barrier)
{
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

int main(void)
{
    pthread_barrier_t barrier;
    pthread_t threads[3];
    char child[16];
    memset(text, 1, sizeof text);
    prctl(PR_SET_NAME, ") R 9 (");
    show("alone", "self");

    long before = status("self", "RssAnon");
    char *memory = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, 64 * MIB);
    show("with 64 MiB", "self");
    printf("more: %d\n", near(status("self", "RssAnon") - before, 64 * 1024));
    madvise(memory, 64 * MIB, MADV_DONTNEED);
    printf("and less: %d\n", near(status("self", "RssAnon"), before));

    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, waits, &barrier);
    pthread_barrier_wait(&barrier);
    show("with threads", "thread-self");
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);

    int runs[2];
    pipe(runs);
    pid_t pid = fork();
    if (pid == 0) {
        write(runs[1], "", 1);
        pause();
        _exit(0);
    }
    read(runs[0], child, 1);
    snprintf(child, sizeof child, "%d", pid);
    show("a child", child);
    kill(pid, 9);
    waitpid(pid, NULL, 0);
    return 0;
}
