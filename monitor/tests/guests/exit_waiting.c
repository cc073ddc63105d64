// Does a process end at once, and with the right status, while its threads wait in
// every kind of call, compute, fault, and start threads?
// Prints how each of many such processes ended, whichever of its threads ended it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int ends[2], word, sockets[2], way;
static pthread_barrier_t ready;

static void block(long kind) {
  char bytes[65536] = {0};
  struct epoll_event event;
  sigset_t none;
  sigemptyset(&none);
  sigaddset(&none, SIGUSR2);
  struct timespec hour = {3600, 0};
  switch (kind) {
  case 0: while (read(ends[0], bytes, 1)) {} break;
  case 1: while (write(ends[1], bytes, sizeof bytes)) {} break;
  case 2: while (recv(sockets[0], bytes, 1, 0)) {} break;
  case 3: syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); break;
  case 4: nanosleep(&hour, NULL); break;
  case 5: poll(NULL, 0, -1); break;
  case 6: epoll_wait(epoll_create1(0), &event, 1, -1); break;
  case 7: sigwaitinfo(&none, NULL); break;
  case 8: pause(); break;
  case 9: for (;;) {} break;
  case 10:
    for (;;)
      munmap(mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0), 65536);
  }
}

static void *nothing(void *unused) { return unused; }

static void *wait_in(void *kind) {
  pthread_barrier_wait(&ready);
  if ((long)kind < 11)
    block((long)kind);
  for (;;) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) == 0)
      pthread_join(thread, NULL);
  }
  return kind;
}

static void end(void) {
  if (way == 0)
    exit(11);
  if (way == 1)
    _exit(12);
  if (way == 2)
    raise(SIGTERM);
  if (way == 3)
    abort();
  raise(SIGKILL);
}

static void *end_here(void *unused) {
  pthread_barrier_wait(&ready);
  usleep(500);
  end();
  return unused;
}

int main(void) {
  for (int round = 0; round < 25; round++) {
    fflush(stdout);
    pid_t child = fork();
    way = round % 5;
    if (child == 0) {
      pthread_barrier_init(&ready, NULL, round % 2 ? 13 : 14);
      if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0)
        _exit(99);
      pthread_t thread;
      for (long kind = 0; kind < 12; kind++)
        pthread_create(&thread, NULL, wait_in, (void *)kind);
      if (round % 2 == 0) {
        pthread_create(&thread, NULL, end_here, NULL);
        pthread_barrier_wait(&ready);
        block(round % 12 == 10 ? 3 : round % 12);
      }
      pthread_barrier_wait(&ready);
      end();
    }
    int status;
    waitpid(child, &status, 0);
    printf("exited %d with %d, killed by %d\n", WIFEXITED(status), WEXITSTATUS(status), WTERMSIG(status));
  }
  return 0;
}
