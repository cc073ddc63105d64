/* Question: do files of /proc that show a process open with O_PATH, alone and beside another thread, and can they be opened
 * again by their descriptors?
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static const char *const names[] = {"maps", "stat", "status", "auxv", "environ", "limits", "smaps_rollup", "task", "exe"};

static void *wait_for_ever(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static void open_all(void)
{
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        char path[64], byte;
        snprintf(path, sizeof path, "/proc/self/%s", names[i]);
        int fd = open(path, O_PATH);
        int some = read(fd, &byte, 1), reason = errno;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_RDONLY);
        printf("%s: %d, read: %d for %d, again: %d, read: %d\n", names[i], fd >= 0, some, reason, again >= 0,
               (int)read(again, &byte, 1));
        close(again);
        close(fd);
    }
}

int main(void)
{
    pthread_t thread;
    open_all();
    if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
        return 1;
    open_all();
    return 0;
}
