/* Question: can a guest reach memory that is not its own, by an address?
 *
 * Reads addresses (hexadecimal, one a line) from standard input and asks system calls to read
 * from and write to each: "reached" if one does, else the errno. Whoever runs this knows where
 * the monitor's memory lies and sends those addresses. An argument names one address to load
 * from directly, or a file of /proc to open.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int pipes[2];

/* A write from the address, which reads the memory there. */
static int read_at(void *address)
{
    if (write(pipes[1], address, 1) != 1)
        return errno;
    char byte;
    return read(pipes[0], &byte, 1) == 1 ? 0 : EIO;
}

/* The same through a pointer in a structure. */
static int gather_at(void *address)
{
    struct iovec span = {address, 1};
    if (writev(pipes[1], &span, 1) != 1)
        return errno;
    char byte;
    return read(pipes[0], &byte, 1) == 1 ? 0 : EIO;
}

/* A read to the address, which writes the memory there. */
static int write_at(void *address)
{
    char byte = 'x';
    if (write(pipes[1], &byte, 1) != 1)
        return EIO;
    if (read(pipes[0], address, 1) == 1)
        return 0;
    int error = errno;
    return read(pipes[0], &byte, 1) == 1 ? error : EIO;
}

/* A message of no bytes: its type is read all the same, and only positive ones are good. */
static int send_at(void *address)
{
    int queue = msgget(IPC_PRIVATE, 0600);
    int error = msgsnd(queue, (void *)((uintptr_t)address & ~7UL), 0, IPC_NOWAIT) ? errno : 0;
    msgctl(queue, IPC_RMID, NULL);
    return error == EINVAL ? 0 : error;
}

/* The same in the other direction. */
static int receive_at(void *address)
{
    long type = 5;
    int queue = msgget(IPC_PRIVATE, 0600);
    if (msgsnd(queue, &type, 0, IPC_NOWAIT) != 0)
        return EIO;
    ssize_t received = msgrcv(queue, (void *)((uintptr_t)address & ~7UL), 0, 0, IPC_NOWAIT);
    int error = received < 0 ? errno : 0;
    msgctl(queue, IPC_RMID, NULL);
    return error;
}

/* No bytes that begin within a page are that page. */
static int lock_at(void *address)
{
    int error = syscall(SYS_mlock, (uintptr_t)address | 1, 0) ? errno : 0;
    munlock(address, 1);
    return error == ENOMEM ? EFAULT : error;
}

static void report(const char *how, uintptr_t address, int error)
{
    printf("%s %#lx %s\n", how, address, error ? strerror(error) : "reached");
}

static void opened(const char *how, int fd)
{
    printf("%s %s\n", how, fd < 0 ? strerror(errno) : "opened");
}

/* By its name, from its directory, by a symbolic link. "PID" stands for the process's number. */
static void open_every_way(const char *file)
{
    char path[256], link[] = "/tmp/name-XXXXXX";
    const char *number = strstr(file, "PID");
    if (number)
        snprintf(path, sizeof path, "%.*s%d%s", (int)(number - file), file, getpid(), number + 3);
    else
        snprintf(path, sizeof path, "%s", file);
    opened("by name:", open(path, O_RDWR));

    if (mkdtemp(link)) {
        char name[300];
        snprintf(name, sizeof name, "%s/link", link);
        if (symlink(path, name) == 0)
            opened("by a link:", open(name, O_RDWR));
        unlink(name);
        rmdir(link);
    }

    char *last = strrchr(path, '/');
    *last = 0;
    int dir = open(path, O_DIRECTORY | O_PATH);
    opened("from its directory:", openat(dir, last + 1, O_RDWR));
    opened("after chdir:", chdir(path) ? -1 : open(last + 1, O_RDWR));
}

int main(int argc, char **argv)
{
    char line[64];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && argv[1][0] == '/') {
        open_every_way(argv[1]);
        return 0;
    }
    if (argc > 1)
        return *(volatile char *)strtoul(argv[1], NULL, 16);
    if (pipe(pipes) != 0)
        return 1;
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        uintptr_t address = strtoul(line, NULL, 16);
        report("read", address, read_at((void *)address));
        report("gather", address, gather_at((void *)address));
        report("send", address, send_at((void *)address));
        report("lock", address, lock_at((void *)address));
        if (strchr(line, 'w')) {
            report("write", address, write_at((void *)address));
            report("receive", address, receive_at((void *)address));
        }
    }
    return 0;
}
