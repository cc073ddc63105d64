// Does a program start with the descriptors it was given, and no others?
// Executes itself by a descriptor that is closed on execution, without standard
// input, and prints what it finds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **arguments) {
  (void)arguments;
  if (count == 1) {
    int own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char *again[] = {"again", "x", NULL}, *none[] = {NULL};
    close(0);
    fexecve(own, again, none);
    printf("fexecve: %s\n", strerror(errno));
    return 1;
  }
  for (int descriptor = 0; descriptor < 20; descriptor++) {
    struct stat status;
    if (fstat(descriptor, &status) == 0)
      printf("%d is open\n", descriptor);
  }
  return 0;
}
