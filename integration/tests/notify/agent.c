/* A seccomp agent: listens at the socket argv[1], answers what asked.c asks it,
   and writes down what it is told and asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int memory_of(unsigned pid) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%u/mem", pid);
    return open(name, O_RDWR | O_CLOEXEC);
}

/* The string at `at`, as far as it is readable. */
static void read_string(unsigned pid, unsigned long long at, char *text, size_t size) {
    int memory = memory_of(pid);
    ssize_t got = pread(memory, text, size - 1, (off_t)at);
    text[got > 0 ? got : 0] = 0;
    close(memory);
}

/* Answers with a new descriptor that reads as `text`. */
static void add(int listener, unsigned long long id, const char *text) {
    int file = memfd_create("added", 0);
    if (write(file, text, strlen(text)) < 0) exit(3);
    lseek(file, 0, SEEK_SET);
    struct seccomp_notif_addfd addfd = {
        .id = id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (unsigned)file};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) < 0) perror("addfd");
    close(file);
}

static const char *name_of(int number) {
    switch (number) {
    case SYS_mkdir: return "mkdir";
    case SYS_openat: return "openat";
    case SYS_execve: return "execve";
    case SYS_newfstatat: return "newfstatat";
    case SYS_getcwd: return "getcwd";
    case SYS_clone3: return "clone3";
    default: return "?";
    }
}

/* Whether the listener is to be closed. */
static int answer(int listener, struct seccomp_notif *asked) {
    struct seccomp_notif_resp reply = {.id = asked->id};
    char path[256] = "";
    int number = asked->data.nr;
    int relative = number == SYS_openat || number == SYS_newfstatat;
    if (number != SYS_getcwd && number != SYS_clone3)
        read_string(asked->pid, asked->data.args[relative], path, sizeof path);
    /* The first program is executed by the runtime; a monitor does that out of sight. */
    int is_first = number == SYS_execve && strcmp(path, "/bin/asked") == 0;
    if (!is_first) {
        printf("%s %s %llx\n", name_of(number), path,
               number == SYS_mkdir ? asked->data.args[1] : 0);
        fflush(stdout);
    }
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked->id) < 0) perror("id");
    if (strstr(path, "never")) return 0;
    if (strstr(path, "close")) return 1;
    if (strstr(path, "added")) {
        add(listener, asked->id, path);
        return 0;
    }
    if (strstr(path, "errno") || strstr(path, "denied")) {
        reply.error = -EXDEV;
    } else if (strstr(path, "value")) {
        reply.val = 77;
    } else if (number == SYS_getcwd) {
        int memory = memory_of(asked->pid);
        if (pwrite(memory, "/faked", 7, (off_t)asked->data.args[0]) != 7) perror("pwrite");
        close(memory);
        reply.val = 7;
    } else {
        reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    }
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0) perror("send");
    return 0;
}

static void *listen_at(void *given) {
    int listener = (int)(long)given;
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    while (poll(&ready, 1, -1) > 0 && !(ready.revents & POLLHUP)) {
        struct seccomp_notif asked = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0 && answer(listener, &asked))
            break;
    }
    printf("end\n");
    fflush(stdout);
    close(listener);
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (argc != 2) return 2;
    strncpy(name.sun_path, argv[1], sizeof name.sun_path - 1);
    int socket_at = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(socket_at, (struct sockaddr *)&name, sizeof name) || listen(socket_at, 8)) return 1;
    for (;;) {
        int connection = accept(socket_at, NULL, NULL);
        char text[65536], space[CMSG_SPACE(sizeof(int))];
        struct iovec part = {text, sizeof text};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                                 .msg_controllen = sizeof space};
        ssize_t length = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
        struct cmsghdr *control = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
        close(connection);
        if (control == NULL) continue;
        int listener;
        memcpy(&listener, CMSG_DATA(control), sizeof listener);
        printf("told %.*s\n", (int)length, text);
        fflush(stdout);
        pthread_t thread;
        pthread_create(&thread, NULL, listen_at, (void *)(long)listener);
    }
}
