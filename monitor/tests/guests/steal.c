/* Question: can one thread use what another opens, before it is known to be harmless?
 *
 * One thread opens the file again and again, by its name or by a link that another thread
 * moves between it and a harmless file; others try to write through every number meanwhile,
 * or to keep what they find. Prints whether one ever got through: natively it does.
 *
 * With a third argument the file is executed instead, as a program, as a script's interpreter and
 * from a directory, and the others try to read. Natively it is never open then.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Atomic int stolen, done;
static volatile uint64_t word = 1;
static char folder[] = "/tmp/steal-XXXXXX", link_name[64], other_name[64];
static const char *file;
static int executes;

/* The word's own address is its offset in /proc/self/mem. */
static void *steal(void *unused)
{
    while (!done)
        for (int fd = 3; fd < 12; fd++) {
            uint64_t value = 2;
            if (executes && pread(fd, &value, sizeof value, (off_t)(uintptr_t)&word) == sizeof value
                && value == word) {
                stolen = 1;
                done = 1;
            }
            if (!executes && pwrite(fd, &value, sizeof value, (off_t)(uintptr_t)&word) == sizeof value
                && word == 2) {
                stolen = 1;
                done = 1;
            }
        }
    return unused;
}

static void *move_link(void *unused)
{
    while (!done) {
        if (symlink("/dev/full", other_name) == 0)
            rename(other_name, link_name);
        if (symlink(file, other_name) == 0)
            rename(other_name, link_name);
    }
    return unused;
}

/* It fails each time: such a file may be executed by nobody. */
static void execute(void)
{
    char *none[] = {NULL};
    int script = open(other_name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0700);
    dprintf(script, "#!%s\n", file);
    close(script);
    for (int at = 0; at < 100 && !done; at++) {
        execve(file, none, none);
        execve(other_name, none, none);
        execveat(AT_FDCWD, file, none, none, 0);
    }
}

int main(int argc, char **argv)
{
    pthread_t threads[3];
    int seconds = argc > 2 ? atoi(argv[2]) : 5;
    file = argc > 1 ? argv[1] : "/proc/self/mem";
    executes = argc > 3;
    if (!mkdtemp(folder))
        return 1;
    snprintf(link_name, sizeof link_name, "%s/link", folder);
    snprintf(other_name, sizeof other_name, "%s/other", folder);
    pthread_create(&threads[0], NULL, steal, NULL);
    pthread_create(&threads[1], NULL, steal, NULL);
    pthread_create(&threads[2], NULL, executes ? steal : move_link, NULL);
    for (time_t end = time(NULL) + seconds; !done && time(NULL) < end;) {
        if (executes) {
            execute();
            continue;
        }
        int direct = open(file, O_RDWR), linked = open(link_name, O_RDWR | O_CREAT, 0600);
        /* Whoever makes these by opening the file has it open for a moment. */
        for (int at = 0; at < 20 && !done; at++)
            if (truncate(file, 0) < 0 || utimensat(AT_FDCWD, file, NULL, 0) < 0)
                break;
        if (direct >= 0)
            close(direct);
        if (linked >= 0)
            close(linked);
    }
    done = 1;
    for (int at = 0; at < 3; at++)
        pthread_join(threads[at], NULL);
    unlink(link_name);
    unlink(other_name);
    rmdir(folder);
    puts(stolen ? "stolen" : "kept");
    return 0;
}
