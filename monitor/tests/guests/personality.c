// The personality: what is set is told, by uname too, and is inherited by children and threads.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect(unsigned kind, const char *machine, const char *who) {
    struct utsname name;
    uname(&name);
    unsigned found = personality(0xffffffff) & 0xff;
    if (found != kind || strcmp(name.machine, machine) != 0) {
        fprintf(stderr, "%s: %u, %s instead of %u, %s\n", who, found, name.machine, kind, machine);
        _exit(1);
    }
}

static void *in_thread(void *unused) {
    expect(PER_LINUX32, "i686", "thread");
    if (personality(PER_LINUX) != PER_LINUX32)
        exit(2);
    expect(PER_LINUX, "x86_64", "thread that changed it");
    return unused;
}

int main(void) {
    expect(PER_LINUX, "x86_64", "start");
    if (personality(PER_LINUX32) != PER_LINUX)
        return 3;
    expect(PER_LINUX32, "i686", "main");

    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    expect(PER_LINUX32, "i686", "main after the thread's change");

    pid_t child = fork();
    if (child == 0) {
        expect(PER_LINUX32, "i686", "child");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return status == 0 ? 0 : 4;
}
