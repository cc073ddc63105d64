// What is left of a program with busy threads when one of them, not the first,
// executes another? It keeps its number, and has one thread.
// Executes itself so again and again; the argument says how often.
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char **again;

static void *compute(void *unused) {
  for (volatile long i = 0;; i++)
    ;
  return unused;
}

static void *sleep_on(void *unused) {
  for (;;)
    pause();
  return unused;
}

static void *map(void *unused) {
  for (;;) {
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    munmap(page, 4096);
  }
  return unused;
}

static void *start(void *work) {
  pthread_t thread;
  for (;;)
    if (pthread_create(&thread, NULL, work, NULL) == 0)
      pthread_detach(thread);
  return work;
}

static void *nothing(void *unused) { return unused; }

static void *have_children(void *unused) {
  for (;;) {
    pid_t child = fork();
    if (child == 0)
      _exit(0);
    waitpid(child, NULL, 0);
  }
  return unused;
}

static void *execute(void *unused) {
  usleep(2000);
  execv("/proc/self/exe", again);
  _exit(9);
  return unused;
}

// Those that the kernel starts for a process have other names.
static int threads_alive(void) {
  char path[300], own[32] = "", name[32];
  FILE *file = fopen("/proc/self/comm", "r");
  if (file == NULL || fgets(own, sizeof own, file) == NULL)
    return -1;
  fclose(file);
  DIR *tasks = opendir("/proc/self/task");
  int count = 0;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
    if (task->d_name[0] == '.' || (file = fopen(path, "r")) == NULL)
      continue;
    count += fgets(name, sizeof name, file) != NULL && strcmp(name, own) == 0;
    fclose(file);
  }
  closedir(tasks);
  return count;
}

int main(int count, char **arguments) {
  static char left[16], number[16], wrong[16];
  int rounds = count > 1 ? atoi(arguments[1]) : 20;
  int faults = count > 3 ? atoi(arguments[3]) : 0;
  pid_t was = count > 2 ? atoi(arguments[2]) : getpid();
  faults += was != getpid() || gettid() != getpid() || threads_alive() != 1;
  if (rounds == 0) {
    printf("%d wrong\n", faults);
    return 0;
  }
  snprintf(left, sizeof left, "%d", rounds - 1);
  snprintf(number, sizeof number, "%d", getpid());
  snprintf(wrong, sizeof wrong, "%d", faults);
  static char *next[] = {"exec_threads", left, number, wrong, NULL};
  again = next;
  void *(*work[])(void *) = {compute, sleep_on, map, have_children, sleep_on};
  pthread_t thread;
  for (int i = 0; i < 5; i++)
    pthread_create(&thread, NULL, work[i], NULL);
  pthread_create(&thread, NULL, start, nothing);
  pthread_create(&thread, NULL, execute, NULL);
  sleep_on(NULL);
}
