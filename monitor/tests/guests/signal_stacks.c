// What becomes of handlers that nest, jump out, overflow their stack, or have none
// to begin with? Each question is put to a child of its own.
// Prints what each child saw, and how it ended.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 64 * 1024 };

static sigjmp_buf place;
static volatile int depth, seen;
static char *alternate;
static volatile int *volatile nowhere = (int *)8;

static void say(const char *what, long number) {
  char line[80];
  int length = snprintf(line, sizeof line, "  %s %ld\n", what, number);
  if (write(1, line, length) != length)
    _exit(99);
}

static void set(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(signal, &action, NULL);
}

static void use_alternate(size_t size) {
  // A page that cannot be written lies below it.
  char *area = mmap(NULL, STACK + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  alternate = area + 4096;
  mprotect(alternate, STACK, PROT_READ | PROT_WRITE);
  stack_t stack = {.ss_sp = alternate, .ss_size = size};
  sigaltstack(&stack, NULL);
}

static void jump(int signal) {
  seen++;
  siglongjmp(place, signal);
}

static void nest(int signal) {
  depth++;
  if (depth < 50)
    raise(signal);
  seen++;
}

static void note_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  char here;
  say("handler on the alternate stack:", &here >= alternate && &here < alternate + STACK);
  say("code", info->si_code);
  _exit(signal);
}

static void overflow(int signal) {
  volatile char much[4096];
  much[0] = much[4095] = 1;
  if (depth++ < 1000)
    overflow(signal);
  much[0] = 2;
}

static void jumps(void) {
  set(SIGUSR1, jump, 0);
  set(SIGSEGV, jump, 0);
  for (volatile int i = 0; i < 2000; i++)
    if (sigsetjmp(place, 1) == 0) {
      if (i % 2)
        raise(SIGUSR1);
      else
        *nowhere = 1;
    }
  say("jumps", seen);
}

static void jumps_off_the_alternate_stack(void) {
  use_alternate(STACK);
  set(SIGSEGV, jump, SA_ONSTACK);
  for (volatile int i = 0; i < 1000; i++)
    if (sigsetjmp(place, 1) == 0)
      *nowhere = 1;
  say("jumps", seen);
}

static void nested(void) {
  set(SIGUSR1, nest, SA_NODEFER);
  raise(SIGUSR1);
  say("handlers", seen);
}

static void nested_on_the_alternate_stack(void) {
  use_alternate(STACK);
  set(SIGUSR1, nest, SA_NODEFER | SA_ONSTACK);
  raise(SIGUSR1); // 50 frames do not fit.
  say("handlers", seen);
}

static void overflow_is_caught(void) {
  use_alternate(STACK);
  struct sigaction action = {.sa_sigaction = note_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
  depth = -100000;
  overflow(0);
}

static void overflow_on_the_alternate_stack(void) {
  use_alternate(STACK);
  set(SIGUSR1, overflow, SA_ONSTACK);
  raise(SIGUSR1);
}

// A frame that does not fit is a SIGSEGV, for whose handler there may be a stack.
static void no_room(int flags) {
  use_alternate(STACK);
  struct sigaction action = {.sa_sigaction = note_fault, .sa_flags = SA_SIGINFO | flags};
  sigaction(SIGSEGV, &action, NULL);
  set(SIGUSR1, jump, 0);
  long pid = getpid(), answer;
  __asm__ volatile("mov %%rsp, %%rbx; mov $64, %%rsp; syscall; mov %%rbx, %%rsp"
                   : "=a"(answer)
                   : "a"(62L), "D"(pid), "S"((long)SIGUSR1)
                   : "rbx", "rcx", "r11", "memory");
  say("went on", answer);
}

static void no_room_but_an_alternate_stack(void) { no_room(SA_ONSTACK); }
static void no_room_at_all(void) { no_room(0); }

static void alternate_stack_too_small(void) {
  use_alternate(4096);
  set(SIGUSR1, jump, SA_ONSTACK);
  if (sigsetjmp(place, 1) == 0)
    raise(SIGUSR1);
  say("jumps", seen);
}

// Below the stack lies more memory, but that is not the stack's.
static void frame_beyond_the_alternate_stack(void) {
  use_alternate(STACK);
  stack_t small = {.ss_sp = alternate + STACK / 2, .ss_size = 2048};
  sigaltstack(&small, NULL);
  memset(alternate, 0x5a, STACK);
  set(SIGUSR1, nest, SA_NODEFER | SA_ONSTACK);
  raise(SIGUSR1);
  say("handlers", seen);
}

static void once(void) {
  set(SIGUSR1, nest, SA_RESETHAND | SA_NODEFER);
  depth = 50;
  raise(SIGUSR1);
  say("handlers", seen);
  raise(SIGUSR1);
}

static void blocked_fault(void) {
  set(SIGSEGV, jump, 0);
  sigset_t fault;
  sigemptyset(&fault);
  sigaddset(&fault, SIGSEGV);
  sigprocmask(SIG_BLOCK, &fault, NULL);
  *nowhere = 1;
}

static void ask(const char *name, void (*question)(void)) {
  printf("%s\n", name);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    question();
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  printf("  ended by %d, with %d\n", WTERMSIG(status), WEXITSTATUS(status));
}

#define ASK(question) ask(#question, question)

int main(void) {
  ASK(jumps);
  ASK(jumps_off_the_alternate_stack);
  ASK(nested);
  ASK(nested_on_the_alternate_stack);
  ASK(overflow_is_caught);
  ASK(overflow_on_the_alternate_stack);
  ASK(no_room_but_an_alternate_stack);
  ASK(no_room_at_all);
  ASK(alternate_stack_too_small);
  ASK(frame_beyond_the_alternate_stack);
  ASK(once);
  ASK(blocked_fault);
  return 0;
}
