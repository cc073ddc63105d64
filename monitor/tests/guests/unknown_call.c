/* Question: is a call that does not exist answered with ENOSYS, and does the program live on? */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    long numbers[] = {400, 423, 511, 600, 9999, 1L << 31, -1};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            errno = 0;
            long result = syscall(numbers[i]);
            printf("%ld: %ld %s\n", numbers[i], result, strerrorname_np(errno));
        }
    return 0;
}
