/* Question: while one thread opens files of procfs that tell where a process's memory lies, can another take more of them
 * than the first one is shown out of a thread, whichever has that number (`pidfd_getfd(2)`)?
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PIDFD_OPEN = 434, PIDFD_GETFD = 438, THREAD = O_EXCL, THREADS = 40, NUMBERS = 12, LEN = 1 << 17 };

static int rounds = 1500;
static volatile int is_over;
static char text[LEN];

static unsigned long highest_in(int fd)
{
    unsigned long top = 0, start, end;
    int all = 0, some;
    while ((some = pread(fd, text + all, LEN - 1 - all, all)) > 0)
        all += some;
    text[all] = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && end > top)
            top = end;
    return top;
}

static void *open_all(void *nothing)
{
    for (int i = 0; i < rounds; i++) {
        int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            exit(3);
        close(fd);
    }
    is_over = 1;
    return nothing;
}

int main(int count, char **arguments)
{
    if (count > 1)
        rounds = atoi(arguments[1]);
    int own = open("/proc/self/smaps", O_RDONLY), more = 0;
    unsigned long highest = highest_in(own);
    close(own);
    pthread_t opener;
    if (pthread_create(&opener, NULL, open_all, NULL) != 0)
        return 1;
    int first = getpid();
    while (!is_over)
        for (int thread = first; thread < first + THREADS; thread++) {
            /* Linux knows descriptors of threads since 6.9. */
            int pidfd = syscall(PIDFD_OPEN, thread, THREAD);
            for (int number = 0; pidfd >= 0 && number < NUMBERS; number++) {
                int fd = syscall(PIDFD_GETFD, pidfd, number, 0);
                char link[64], target[256];
                snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
                ssize_t len = fd < 0 ? -1 : readlink(link, target, sizeof target - 1);
                target[len < 0 ? 0 : len] = 0;
                more += strstr(target, "maps") != NULL && highest_in(fd) > highest;
                if (fd >= 0)
                    close(fd);
            }
            if (pidfd >= 0)
                close(pidfd);
        }
    pthread_join(opener, NULL);
    printf("more: %d\n", more);
    return 0;
}
