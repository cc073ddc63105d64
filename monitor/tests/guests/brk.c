/* Question: does the heap's end move as Linux moves it, with fresh pages zeroed? */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *move(char *to) { return (char *)syscall(SYS_brk, to); }

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    char *start = move(NULL);
    printf("asking moves nothing: %d\n", move(NULL) == start);
    printf("page aligned or not, grows by what is asked: %ld\n", move(start + 12345) - start);
    memset(start, 7, 12345);

    printf("grows by 64 MiB: %ld\n", move(start + (64 << 20)) - start);
    printf("new pages are zero: %d\n", start[20000] == 0 && start[(64 << 20) - 1] == 0);
    memset(start, 9, 64 << 20);

    printf("shrinks: %ld\n", move(start + 4096) - start);
    printf("grows again: %ld\n", move(start + (1 << 20)) - start);
    printf("and is zero again: %d, below it is kept: %d\n", start[8192] == 0, start[4000] == 9);

    printf("far below the start is refused: %d\n", move((char *)4096) == start + (1 << 20));
    printf("the whole address space is refused: %d\n",
           move((char *)(uintptr_t)0x7ffffffff000) == start + (1 << 20));
    return 0;
}
