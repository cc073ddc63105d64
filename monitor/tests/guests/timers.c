// Do timers come as often as they should, to whom they should?
// Prints what was late, lost, or reached another thread than its own.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { THREADS = 4, TICKS = 50 };

static volatile int alarms, virtual_alarms, profiles;
static __thread volatile int ticks, strange;
static pthread_barrier_t together;

static void on_alarm(int signal) {
  alarms += signal == SIGALRM;
  virtual_alarms += signal == SIGVTALRM;
  profiles += signal == SIGPROF;
}

static void on_tick(int signal, siginfo_t *info, void *context) {
  (void)context;
  ticks++;
  strange += signal != SIGRTMIN || info->si_code != SI_TIMER ||
             info->si_value.sival_ptr != (void *)&ticks;
}

static void *own_timer(void *result) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
  event.sigev_notify_thread_id = gettid();
  event.sigev_value.sival_ptr = (void *)&ticks;
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
    return NULL;
  pthread_barrier_wait(&together);
  struct itimerspec often = {{0, 2000000}, {0, 2000000}}, never = {{0, 0}, {0, 0}};
  timer_settime(timer, 0, &often, NULL);
  while (ticks < TICKS)
    pause();
  timer_settime(timer, 0, &never, NULL);
  timer_delete(timer);
  *(int *)result = strange;
  return result;
}

static void interval(int which, int signal, volatile int *count, const char *name) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(signal, &action, NULL);
  struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}}, left;
  setitimer(which, &often, NULL);
  while (*count < 5)
    if (which == ITIMER_REAL)
      pause();
  setitimer(which, &never, &left);
  printf("%s: interval %ld\n", name, (long)left.it_interval.tv_usec);
}

static void descriptor(void) {
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec often = {{0, 1000000}, {0, 1000000}};
  uint64_t expired = 0, sum = 0;
  printf("nothing yet: %d", read(timer, &expired, 8) == -1 && errno == EAGAIN);
  timerfd_settime(timer, 0, &often, NULL);
  while (sum < 100)
    sum += read(timer, &expired, 8) == 8 ? expired : 0;
  struct itimerspec left;
  timerfd_gettime(timer, &left);
  printf(", interval %ld\n", left.it_interval.tv_nsec);
}

static void overrun(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
  timer_t timer;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  struct itimerspec often = {{0, 1000000}, {0, 1000000}};
  timer_settime(timer, 0, &often, NULL);
  usleep(50000);
  siginfo_t info;
  int signal = sigwaitinfo(&blocked, &info);
  printf("overrun: %d %d %d\n", signal == SIGRTMIN + 1, info.si_code == SI_TIMER, info.si_overrun >= 40);
  timer_delete(timer);
}

int main(void) {
  interval(ITIMER_REAL, SIGALRM, &alarms, "real");
  interval(ITIMER_VIRTUAL, SIGVTALRM, &virtual_alarms, "virtual");
  interval(ITIMER_PROF, SIGPROF, &profiles, "profile");
  descriptor();
  overrun();
  struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO};
  sigaction(SIGRTMIN, &action, NULL);
  pthread_barrier_init(&together, NULL, THREADS);
  pthread_t threads[THREADS];
  int wrong[THREADS] = {1, 1, 1, 1};
  for (int i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, own_timer, &wrong[i]);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    printf("timer %d: %d wrong\n", i, wrong[i]);
  }
  return 0;
}
