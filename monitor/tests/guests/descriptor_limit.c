/* Question: has a program all the descriptors that its limit allows, and no others, whatever
 * number of threads it has?
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOFT 256
#define THREADS 100

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_gate(void *unused)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return unused;
}

static int count_free(void)
{
    int fds[2 * SOFT], count = 0;
    while (count < 2 * SOFT && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
        count++;
    int error = errno, highest = count ? fds[count - 1] : -1;
    for (int at = 0; at < count; at++)
        close(fds[at]);
    printf("highest %d, then %s\n", highest, strerror(error));
    return count;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 1) {
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = SOFT;
        setrlimit(RLIMIT_NOFILE, &limit);
        execl(argv[0], argv[0], "limited", (char *)NULL);
        return 1;
    }
    for (int fd = 3; fd < SOFT; fd++)
        close(fd);
    printf("free: %d\n", count_free());

    int taken = 0;
    for (int fd = 3; fd < 2 * SOFT; fd++)
        taken += dup2(2, fd) == fd;
    printf("taken: %d, beyond: %s\n", taken, dup2(2, SOFT) < 0 ? strerror(errno) : "taken");
    printf("F_DUPFD: %s\n", fcntl(2, F_DUPFD, SOFT) < 0 ? strerror(errno) : "taken");
    for (int fd = 3; fd < SOFT; fd++)
        close(fd);

    pthread_t threads[THREADS];
    int started = 0;
    pthread_mutex_lock(&gate);
    while (started < THREADS && !pthread_create(&threads[started], NULL, wait_at_gate, NULL))
        started++;
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("threads: %d, limit: %ld\n", started, (long)limit.rlim_cur);
    printf("free: %d\n", count_free());
    pthread_mutex_unlock(&gate);
    while (started)
        pthread_join(threads[--started], NULL);
    return 0;
}
