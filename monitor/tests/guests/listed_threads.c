/* Question: does a program with two threads find two in /proc/self/task, also just after it has opened files of procfs,
 * for which a monitor may start threads of its own?
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* `.`, `..` and the threads. */
enum { ENTRIES = 4 };

static void *wait_on(void *argument)
{
    pause();
    return argument;
}

int main(void)
{
    pthread_t thread;
    int wrong = 0;
    if (pthread_create(&thread, NULL, wait_on, NULL) != 0)
        return 1;
    for (int i = 0; i < 1000; i++) {
        int entries = 0;
        close(open("/proc/self/auxv", O_RDONLY));
        DIR *list = opendir("/proc/self/task");
        if (list == NULL)
            return 2;
        while (readdir(list) != NULL)
            entries++;
        closedir(list);
        wrong += entries != ENTRIES;
    }
    printf("wrong: %d\n", wrong);
    return 0;
}
