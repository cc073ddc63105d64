// What does a process keep of threads that came and went? Reads numbers from
// standard input, starts and joins that many threads, and says so; whoever asks
// looks at the process in between.
#include <pthread.h>
#include <stdio.h>

static void *nothing(void *unused) { return unused; }

int main(void) {
  int wanted;
  while (scanf("%d", &wanted) == 1) {
    int made = 0;
    for (int i = 0; i < wanted; i++) {
      pthread_t thread;
      made += pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
    }
    printf("%d\n", made);
    fflush(stdout);
  }
  return 0;
}
