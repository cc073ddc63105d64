// Takes as much as it gets of one thing, says "full" when it gets no more, and keeps it; or goes on for ever.
// It has brakes of its own, wherever it is started: four times the processes and five times the memory that its test
// allows it, and two minutes.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PROCESSES = 4 * 96, SECONDS = 120 };
static const size_t MEMORY = 1UL << 30;

// How much all processes together have taken.
static struct {
  atomic_size_t processes; // and threads
  atomic_size_t bytes;
} * taken;

static int may_have_process(void) { return atomic_fetch_add(&taken->processes, 1) < PROCESSES; }

static int may_have_memory(size_t size) { return atomic_fetch_add(&taken->bytes, size) + size <= MEMORY; }

// In process 1 of a pid namespace a signal without a handler does nothing. With it all others end.
static void end(int signal) {
  (void)signal;
  kill(-getpgrp(), SIGKILL);
  _exit(3);
}

static void brake(void) {
  taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (taken == MAP_FAILED)
    exit(2);
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = end}, NULL);
  alarm(SECONDS);
}

static void say(const char *what) {
  puts(what);
  fflush(stdout);
}

static void *wait_for_ever(void *unused) {
  for (;;)
    pause();
  return unused;
}

static void take_threads(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 1 << 16);
  pthread_t thread;
  while (may_have_process() && pthread_create(&thread, &attributes, wait_for_ever, NULL) == 0) {
  }
}

static void take_processes(void) {
  // Each child goes on, too.
  while (may_have_process() && fork() >= 0) {
  }
}

static void take_descriptors(void) {
  // Each child goes on, before there is anything open that it would share with its parent.
  while (may_have_process() && fork() == 0) {
  }
  while (open("/dev/null", O_RDONLY) >= 0) {
  }
}

static void take_mappings(void) {
  // Neighbours with other rights do not become one mapping.
  for (int rights = PROT_READ;; rights ^= PROT_WRITE) {
    if (mmap(NULL, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
      return;
  }
}

static void take_memory(void) {
  while (may_have_memory(1 << 20)) {
    char *piece = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED)
      return;
    memset(piece, 1, 1 << 20);
  }
}

static void ignore(int signal) { (void)signal; }

// Everybody sends real-time signals to everybody, for ever. That is all in its pid namespace, if that is not the one it
// was started from; else all in its group.
static void take_signals(void) {
  pid_t all = getppid() == 0 ? -1 : 0;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
    sigaction(signal, &(struct sigaction){.sa_handler = ignore}, NULL);
  say("full");
  for (int child = 0; child < 4 && fork() != 0; child++) {
  }
  for (int signal = SIGRTMIN;; signal = signal == SIGRTMAX ? SIGRTMIN : signal + 1)
    kill(all, signal);
}

// A gibibyte of environment: Linux says E2BIG.
static void take_environment(void) {
  enum { STRING = 127 << 10, COUNT = 8192 };
  char *text = malloc(STRING);
  memset(text, 'x', STRING - 1);
  text[STRING - 1] = 0;
  char **environment = calloc(COUNT + 1, sizeof *environment);
  for (int at = 0; at < COUNT; at++)
    environment[at] = text;
  char *arguments[] = {"/bin/true", NULL};
  execve("/bin/true", arguments, environment);
  if (errno != E2BIG)
    say(strerror(errno));
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  setpgid(0, 0); // Signals are for its own processes.
  brake();
  static const struct {
    const char *name;
    void (*take)(void);
  } things[] = {
      {"threads", take_threads},         {"processes", take_processes},
      {"descriptors", take_descriptors}, {"mappings", take_mappings},
      {"memory", take_memory},           {"signals", take_signals},
      {"environment", take_environment},
  };
  for (size_t at = 0; at < sizeof things / sizeof *things; at++)
    if (strcmp(things[at].name, what) == 0)
      things[at].take();
  say("full");
  wait_for_ever(NULL);
}
