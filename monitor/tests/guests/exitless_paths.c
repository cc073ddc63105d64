// Where may a path lie? On the heap, the stack, in memory without a file or with one, up to the last byte that can
// be read, and where nothing can: each is read as Linux reads it, also while other threads change the memory. The
// calls are made in loops, so that they are posted.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kernel.h"

enum { PAGE = 4096, TIMES = 60, GUARD_INSTALL = 102, GUARD_REMOVE = 103 };

static int failures;

static char *map(size_t size, int flags, int file)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

static char *anonymous(size_t pages) { return map(pages * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }

// What stat(2) and its like answer, which has to be the same each time.
static void look(const char *what, const char *path, int expected)
{
    for (int i = 0; i < TIMES; i++) {
        struct stat status;
        long results[] = {
            syscall(SYS_stat, path, &status) ? errno : 0,
            syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) ? errno : 0,
            syscall(SYS_access, path, R_OK) ? errno : 0,
        };
        for (int call = 0; call < 3; call++)
            if (results[call] != expected && failures++ < 20)
                printf("%s, call %d: %ld instead of %d\n", what, call, results[call], expected);
    }
}

// A path of `length` bytes that leads to the root, and its NUL, behind which a page ends.
static char *at_the_end(char *page, size_t length)
{
    char *path = page + PAGE - 1 - length;
    memset(path, '/', length);
    path[length] = 0;
    return path;
}

static void ends_of_memory(void)
{
    static const size_t lengths[] = {0, 1, 5, 62, 63, 64, 65, 200, 255, 256, 257, 1000, 4000};
    char *pages = anonymous(3);
    munmap(pages + PAGE, PAGE);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *path = at_the_end(pages, lengths[i]);
        look("before a hole", path, lengths[i] ? 0 : ENOENT);
        path[lengths[i]] = '/';
        look("without an end", path, EFAULT);
    }
    char *two = anonymous(2);
    mprotect(two + PAGE, PAGE, PROT_NONE);
    look("before what cannot be read", at_the_end(two, 70), 0);
    two[PAGE - 1] = '/';
    look("into what cannot be read", two + PAGE - 70, EFAULT);
    mprotect(two + PAGE, PAGE, PROT_READ);
    look("into what can be read again", two + PAGE - 70, 0);
    mprotect(two, 2 * PAGE, PROT_NONE);
    look("where nothing can be read", two + PAGE - 70, EFAULT);
    char *endless = anonymous(2);
    memset(endless, '/', 2 * PAGE);
    look("too long", endless, ENAMETOOLONG);
    look("null", NULL, EFAULT);
    look("of the kernel's", (char *)-4096, EFAULT);
    look("never written", anonymous(1), ENOENT);
}

static void changes(void)
{
    char *old = anonymous(2);
    strcpy(old, "/dev");
    char *moved = mremap(old, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE, NULL);
    look("moved", moved, 0);
    if (moved != old)
        look("where it was", old, EFAULT);
    madvise(moved, PAGE, MADV_DONTNEED);
    look("given back", moved, ENOENT);
    strcpy(moved, "/dev");
    // Fails behind the first pages, whose protection it has changed by then.
    munmap(moved + 2 * PAGE, PAGE);
    int failed = mprotect(moved, 4 * PAGE, PROT_NONE);
    printf("protecting a hole: %d\n", failed);
    look("protected up to a hole", moved, EFAULT);
    mprotect(moved, PAGE, PROT_READ);
    look("and no more", moved, 0);
    char *heap = sbrk(2 * PAGE);
    strcpy(heap + PAGE, "/dev");
    look("heap", heap + PAGE, 0);
    sbrk(-2 * PAGE);
    look("behind the heap", heap + PAGE, EFAULT);
    char stack[] = "/dev";
    look("stack", stack, 0);
}

static void guards(int (*advise)(char *, int))
{
    char *page = anonymous(1);
    strcpy(page, "/dev");
    look("before the guard", page, 0);
    if (advise(page, GUARD_INSTALL))
        return;
    look("guard", page, EFAULT);
    advise(page, GUARD_REMOVE);
    look("after the guard", page, ENOENT);
}

static int by_madvise(char *page, int advice) { return madvise(page, PAGE, advice); }

static int by_process_madvise(char *page, int advice)
{
    int self = syscall(SYS_pidfd_open, getpid(), 0);
    struct iovec pages = {page, PAGE};
    long done = syscall(SYS_process_madvise, self, &pages, 1, advice, 0);
    close(self);
    return done != PAGE;
}

// Others can cut a file short.
static void files(void)
{
    for (int flags = MAP_PRIVATE; flags; flags = flags == MAP_PRIVATE ? MAP_SHARED : 0) {
        int file = memfd_create("path", 0);
        ftruncate(file, PAGE);
        char *page = map(PAGE, flags, file);
        strcpy(page, "/dev");
        look("file", page, 0);
        pwrite(file, "/nowhere", 9, 64);
        look("written to by a call", page + 64, ENOENT);
        ftruncate(file, 0);
        look("cut short", page + 64, EFAULT);
        munmap(page, PAGE);
        close(file);
    }
}

static char *changing;
static volatile int is_over;

static void *change(void *unused)
{
    for (unsigned i = 0; !is_over; i++) {
        switch (i % 4) {
        case 0:
            mprotect(changing, PAGE, PROT_NONE);
            mprotect(changing, PAGE, PROT_READ | PROT_WRITE);
            break;
        case 1:
            munmap(changing, PAGE);
            break;
        case 2:
            mmap(changing, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            break;
        default:
            madvise(changing, PAGE, MADV_DONTNEED);
        }
    }
    return unused;
}

// Nothing but ENOENT and EFAULT, whenever the memory changes.
static void races(void)
{
    changing = anonymous(1);
    pthread_t other;
    pthread_create(&other, NULL, change, NULL);
    for (int i = 0; i < 20000; i++) {
        struct stat status;
        int error = stat(changing, &status) ? errno : 0;
        if (error != ENOENT && error != EFAULT && failures++ < 20)
            printf("while it changes: %d\n", error);
    }
    is_over = 1;
    pthread_join(other, NULL);
}

int main(int count, char **arguments)
{
    ends_of_memory();
    // What fails, and what is not looked at, comes last, and one of them in each run: from then on the monitor may
    // read memory in another way.
    if (count > 1 && strcmp(arguments[1], "advice") == 0) {
        if (at_least(6, 14))
            guards(by_process_madvise);
    } else {
        files();
        races();
        if (at_least(6, 14))
            guards(by_madvise);
        changes();
    }
    ends_of_memory();
    printf("%d failures\n", failures);
    return failures != 0;
}
