// Can a program make thousands of threads, one after another and at once, and what
// is left of a process whose first thread ended before the others?
// The first argument says how many come one after another, the second how many
// there are at once.
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t all;
static pthread_t first;

static void *add(void *sum) {
  __atomic_add_fetch((long *)sum, 1, __ATOMIC_RELAXED);
  return sum;
}

static void *meet(void *sum) {
  pthread_barrier_wait(&all);
  return add(sum);
}

static void *outlive(void *unused) {
  printf("joined the first thread: %d\n", pthread_join(first, NULL));
  fflush(stdout);
  _exit(7);
  return unused;
}

static void *outlive_and_end(void *unused) {
  pthread_join(first, NULL);
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

static void end_first(void *(*other)(void *), int after_signal) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    pthread_t thread;
    first = pthread_self();
    if (after_signal)
      alarm(1);
    pthread_create(&thread, NULL, other, NULL);
    pthread_exit(NULL);
  }
  int status;
  waitpid(child, &status, 0);
  printf("exited %d with %d, killed by %d\n", WIFEXITED(status), WEXITSTATUS(status), WTERMSIG(status));
}

static void *forever(void *unused) {
  for (;;)
    pause();
  return unused;
}

int main(int count, char **arguments) {
  int churn = count > 1 ? atoi(arguments[1]) : 10000;
  int crowd = count > 2 ? atoi(arguments[2]) : 1000;
  long sum = 0;
  pthread_t thread, *threads = calloc(crowd, sizeof *threads);
  int failed = 0;
  for (int i = 0; i < churn; i++)
    failed += pthread_create(&thread, NULL, add, &sum) || pthread_join(thread, NULL);
  printf("one after another: %d missing, %d failed\n", (int)(churn - sum), failed);

  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  pthread_barrier_init(&all, NULL, crowd + 1);
  sum = failed = 0;
  for (int i = 0; i < crowd; i++)
    failed += pthread_create(&threads[i], &small, meet, &sum) != 0;
  int alive = threads_alive();
  pthread_barrier_wait(&all);
  for (int i = 0; i < crowd; i++)
    failed += pthread_join(threads[i], NULL) != 0;
  printf("at once: %d missing, %d failed, %d not seen\n", (int)(crowd - sum), failed, crowd + 1 - alive);
  for (int looks = 0; threads_alive() > 1 && looks < 1000; looks++)
    usleep(1000);
  printf("left: %d\n", threads_alive());

  end_first(outlive, 0);
  end_first(outlive_and_end, 0);
  end_first(forever, 1);
  return 0;
}
