/* Question: do file mappings behave: shared, private, at an offset, past the end of the file?
 *
 * The first argument names the file. With a second one the program touches a page past the end
 * of the file, and SIGBUS ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (16L << 20)

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static char *map(int fd, long length, int protection, int flags, long offset)
{
    char *at = mmap(NULL, length, protection, flags, fd, offset);
    must(at != MAP_FAILED, "mmap");
    return at;
}

static void shared_and_private(int fd)
{
    char word[6] = "";
    char *shared = map(fd, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    char *private = map(fd, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);

    strcpy(shared + 5000, "guest");
    must(pread(fd, word, 5, 5000) == 5, "pread");
    printf("shared write reads back as %s, the private map shows %s\n", word, private + 5000);

    strcpy(private + 5000, "other");
    must(pread(fd, word, 5, 5000) == 5, "pread");
    printf("private write leaves %s and %s\n", word, shared + 5000);

    must(pwrite(fd, "write", 5, LENGTH - 100) == 5, "pwrite");
    printf("a write to the file shows as %s\n", shared + LENGTH - 100);
    must(msync(shared, LENGTH, MS_SYNC) == 0, "msync");
    must(munmap(shared, LENGTH) == 0 && munmap(private, LENGTH) == 0, "munmap");
}

static void at_an_offset(int fd)
{
    char *tail = map(fd, 8192, PROT_READ, MAP_SHARED, LENGTH - 8192);
    long sum = 0;
    for (long i = 0; i < 8192; i++)
        sum += tail[i];
    printf("tail sums to %ld\n", sum);
    errno = 0;
    mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 100);
    printf("an odd offset is errno %d\n", errno);
    errno = 0;
    mmap(NULL, 4096, PROT_READ, MAP_SHARED, 999, 0);
    printf("a closed descriptor is errno %d\n", errno);
    must(close(fd) == 0, "close");
    printf("the map outlives its descriptor: %s\n", tail + 8192 - 100);
}

int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0 && ftruncate(fd, LENGTH) == 0 && unlink(argv[1]) == 0, "open");
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 2) {
        char *past = map(fd, LENGTH + 8192, PROT_READ, MAP_SHARED, 0);
        printf("before\n");
        return *(volatile char *)(past + LENGTH + 4096);
    }
    shared_and_private(fd);
    at_an_offset(fd);
    return 0;
}
