/* Question: is memory executable from when a program says so, until it says otherwise?
 *
 * A page is used as a compiler at run time uses it: written, made executable, called, written
 * anew. Calls of what is not executable must fault, at once and on every processor.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096
#define ROUNDS 50
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static __thread sigjmp_buf back;
static char *code;
static pthread_barrier_t step;

static void fault(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    siglongjmp(back, info->si_code == SEGV_ACCERR && info->si_addr == code ? 1 : 2);
}

/* Writes a function that returns `value`. */
static void write_code(int32_t value)
{
    char bytes[] = {(char)0xb8, 0, 0, 0, 0, (char)0xc3}; /* mov $value, %eax; ret */
    memcpy(bytes + 1, &value, 4);
    memcpy(code, bytes, sizeof bytes);
}

/* What the function returns, or -1 if calling it is forbidden, or -2 if it faults otherwise. */
static int call(void)
{
    int caught = sigsetjmp(back, 1);
    return caught ? -caught : ((int (*)(void))code)();
}

static void write_then_execute(void)
{
    int right = 0;
    for (int i = 0; i < ROUNDS; i++) {
        mprotect(code, PAGE, PROT_READ | PROT_WRITE);
        write_code(i);
        right += call() == -1;
        mprotect(code, PAGE, PROT_READ | PROT_EXEC);
        right += call() == i;
    }
    printf("written, then executed: %d of %d right\n", right, 2 * ROUNDS);
}

static void both_at_once(void)
{
    int right = 0;
    mprotect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (int i = 0; i < ROUNDS; i++) {
        write_code(i);
        right += call() == i;
    }
    printf("writable and executable: %d of %d right\n", right, ROUNDS);
}

static void mapped_anew(void)
{
    int right = 0;
    for (int i = 0; i < ROUNDS; i++) {
        mmap(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, ANON | MAP_FIXED, -1, 0);
        write_code(i);
        right += call() == i;
        mmap(code, PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
        write_code(i);
        right += call() == -1;
    }
    printf("mapped anew: %d of %d right\n", right, 2 * ROUNDS);
}

/* Pages that may be used differently, moved by one call, which Linux does from 6.17 on. */
static void moved_together(int first, int second)
{
    char *own = code;
    char *from = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
    char *to = mmap(NULL, 4 * PAGE, PROT_READ, ANON, -1, 0);
    for (code = from; code < from + 3 * PAGE; code += PAGE)
        write_code((int32_t)((code - from) / PAGE));
    mprotect(from, PAGE, first);
    mprotect(from + PAGE, PAGE, second);
    munmap(from + 3 * PAGE, PAGE);
    int moved = mremap(from, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
    printf("moved together: %d;", moved);
    for (code = to; code < to + 4 * PAGE; code += PAGE)
        printf(" %d", call());
    code = to + 2 * PAGE;
    if (moved)
        write_code(7);
    printf(" %d\n", call());
    code = own;
}

/* Calls in step with the main thread, which changes the page between the calls. */
static void *call_too(void *argument)
{
    intptr_t right = 0;
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&step);
        right += call() == i;
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
        right += call() == -1;
        pthread_barrier_wait(&step);
    }
    return (void *)right;
}

static void on_every_processor(void)
{
    pthread_t thread;
    void *right;
    pthread_barrier_init(&step, NULL, 2);
    pthread_create(&thread, NULL, call_too, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        mprotect(code, PAGE, PROT_READ | PROT_WRITE);
        write_code(i);
        mprotect(code, PAGE, PROT_READ | PROT_EXEC);
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
        mprotect(code, PAGE, PROT_READ);
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
    }
    pthread_join(thread, &right);
    printf("by another thread: %d of %d right\n", (int)(intptr_t)right, 2 * ROUNDS);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
    write_then_execute();
    both_at_once();
    mapped_anew();
    on_every_processor();
    moved_together(PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE);
    moved_together(PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC);
    moved_together(PROT_NONE, PROT_READ | PROT_WRITE | PROT_EXEC);
    return 0;
}
