/* Question: can a program write and read back 100 MB, by every kind of read and write?
 *
 * The argument names the file, which is removed at the end. Prints sizes and checksums.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define TOTAL (100L << 20)
#define CHUNK (1L << 20)

static uint64_t sum(const unsigned char *bytes, size_t length, uint64_t sum)
{
    for (size_t i = 0; i < length; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static void write_all(int fd, unsigned char *buffer)
{
    for (long at = 0; at < TOTAL; at += CHUNK) {
        for (long i = 0; i < CHUNK; i += 8) {
            uint64_t word = (uint64_t)(at + i) * 0x9e3779b97f4a7c15u;
            memcpy(buffer + i, &word, 8);
        }
        struct iovec halves[2] = {{buffer, CHUNK / 2}, {buffer + CHUNK / 2, CHUNK / 2}};
        long done = at / CHUNK % 3 == 0 ? write(fd, buffer, CHUNK)
                  : at / CHUNK % 3 == 1 ? writev(fd, halves, 2)
                                        : pwrite(fd, buffer, CHUNK, at);
        must(done == CHUNK, "write");
        must(lseek(fd, at + CHUNK, SEEK_SET) == at + CHUNK, "lseek");
    }
}

static uint64_t read_all(int fd, unsigned char *buffer)
{
    uint64_t total = 0;
    must(lseek(fd, 0, SEEK_SET) == 0, "rewind");
    for (long at = 0; at < TOTAL; at += CHUNK) {
        struct iovec halves[2] = {{buffer, 1}, {buffer + 1, CHUNK - 1}};
        long done = at / CHUNK % 2 ? read(fd, buffer, CHUNK) : preadv(fd, halves, 2, at);
        must(done == CHUNK, "read");
        must(lseek(fd, at + CHUNK, SEEK_SET) == at + CHUNK, "lseek");
        total = sum(buffer, CHUNK, total);
    }
    must(read(fd, buffer, CHUNK) == 0, "end of file");
    return total;
}

int main(int argc, char **argv)
{
    unsigned char *buffer = malloc(CHUNK);
    int fd = open(argv[argc - 1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, argv[argc - 1]);

    write_all(fd, buffer);
    printf("read back %016lx\n", read_all(fd, buffer));

    struct stat status;
    must(fstat(fd, &status) == 0, "fstat");
    must(ftruncate(fd, 12345) == 0, "ftruncate");
    printf("size %ld, then %ld\n", (long)status.st_size, (long)lseek(fd, 0, SEEK_END));
    must(close(fd) == 0 && unlink(argv[argc - 1]) == 0, "unlink");
    return 0;
}
