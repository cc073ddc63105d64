// Is each call made once? Threads append bytes, and one opens files, while signals interrupt them, and
// processes are forked from their midst. The last thread ends by exit(2), and with it the process.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WRITES = 4000, THREADS = 3, CHILDREN = 60 };

static int file;

// The next signal, some time after this one was handled: where that takes long, as on an emulated machine, a timer that
// goes on by itself leaves no time for anything else.
static void again(int signal) {
  struct itimerval soon = {{0, 0}, {0, 2000}};
  (void)signal;
  setitimer(ITIMER_REAL, &soon, NULL);
}

static volatile int is_over;

static void *open_and_close(void *unused) {
  while (!is_over)
    close(open("/etc/passwd", O_RDONLY));
  return unused;
}

static void *append(void *unused) {
  for (int i = 0; i < WRITES; i++)
    while (write(file, "x", 1) != 1)
      ;
  return unused;
}

int main(void) {
  file = memfd_create("bytes", 0);
  fcntl(file, F_SETFL, O_APPEND);
  struct sigaction action = {.sa_handler = again};
  sigaction(SIGALRM, &action, NULL);
  again(SIGALRM);
  // Few descriptors: then the monitor makes room for its own while it opens and forks.
  struct rlimit few = {1024, 4096};
  setrlimit(RLIMIT_NOFILE, &few);
  pthread_t threads[THREADS], opener;
  pthread_create(&opener, NULL, open_and_close, NULL);
  for (int i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, append, NULL);
  for (int i = 0; i < CHILDREN; i++) {
    pid_t child = fork();
    if (child == 0) {
      for (int j = 0; j < 100; j++)
        while (write(file, "y", 1) != 1)
          ;
      _exit(0);
    }
    while (waitpid(child, NULL, 0) != child)
      ;
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  is_over = 1;
  pthread_join(opener, NULL);
  struct stat status;
  fstat(file, &status);
  printf("%ld bytes\n", (long)status.st_size);
  fflush(stdout);
  syscall(SYS_exit, 0);
}
