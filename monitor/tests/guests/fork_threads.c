// Can threads fork while others allocate, map, and start threads? Every child must
// find its memory whole, with the locks of its C library free, and be its parent's
// only once. The argument says how many children each thread has.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PARENTS = 3 };

static int rounds;
static atomic_int is_over, waited, wrong;

static void *allocate(void *unused) {
  unsigned seed = 3;
  while (!is_over) {
    size_t size = rand_r(&seed) % 300000 + 1;
    char *block = malloc(size);
    memset(block, 0x5a, size);
    free(block);
  }
  return unused;
}

static void *map(void *unused) {
  while (!is_over) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = page[4096] = 1;
    mprotect(page, 4096, PROT_READ);
    munmap(page, 8192);
  }
  return unused;
}

static void *nothing(void *unused) { return unused; }

static void *start(void *unused) {
  pthread_t thread;
  while (!is_over)
    if (pthread_create(&thread, NULL, nothing, NULL) == 0)
      pthread_join(thread, NULL);
  return unused;
}

static void in_child(int number) {
  char *block = malloc(100000);
  memset(block, number, 100000);
  pthread_t thread;
  if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
    _exit(99);
  free(block);
  _exit(number % 90);
}

static void *parent(void *pages) {
  volatile int *page = pages;
  for (int i = 0; i < rounds; i++) {
    *page = i;
    pid_t child = fork();
    if (child == 0) {
      if (*page != i)
        _exit(98);
      *page = -1;
      in_child(i);
    }
    int status = -1;
    if (waitpid(child, &status, 0) != child || status != (i % 90) << 8 || *page != i)
      wrong++;
    waited++;
  }
  return pages;
}

int main(int count, char **arguments) {
  rounds = count > 1 ? atoi(arguments[1]) : 40;
  pthread_t parents[PARENTS], others[3];
  void *(*work[])(void *) = {allocate, map, start};
  for (int i = 0; i < 3; i++)
    pthread_create(&others[i], NULL, work[i], NULL);
  for (int i = 0; i < PARENTS; i++)
    pthread_create(&parents[i], NULL, parent,
                   mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (int i = 0; i < PARENTS; i++)
    pthread_join(parents[i], NULL);
  is_over = 1;
  for (int i = 0; i < 3; i++)
    pthread_join(others[i], NULL);
  printf("%d of %d children missing, %d wrong\n", PARENTS * rounds - waited, PARENTS * rounds, (int)wrong);
  return 0;
}
