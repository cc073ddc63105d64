/* Question: does a sequence of calls that chance has put together do what it does on Linux? Prints each call with
   its result, and what the memory that calls write to holds. Arguments: the sequence's number, its length, and
   "more" for more kinds of calls. It is run as root in an empty directory, and gives up all rights first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, DATA = 16 * PAGE, ARENA = 64 * PAGE, LOG = 200, NOBODY = 61234 };

/* What calls read and write, between pages that nobody may touch. */
static char *const data = (char *)0x80000000;
/* What is mapped and unmapped. */
static char *const arena = (char *)0xc0000000;

typedef unsigned long word;

static uint64_t state;

static uint64_t chance(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1d >> 16;
}

static unsigned below(unsigned count)
{
    return (unsigned)(chance() % count);
}

static char text[1 << 20];
static size_t used;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(text + used, sizeof text - used, format, rest);
    va_end(rest);
    used = used + (size_t)length < sizeof text ? used + (size_t)length : sizeof text;
}

static void tell(void)
{
    for (size_t at = 0; at < used;) {
        ssize_t written = write(LOG, text + at, used - at);
        if (written <= 0)
            _exit(3);
        at += (size_t)written;
    }
}

#define PICK(...)                                        \
    do {                                                 \
        static const long values[] = {__VA_ARGS__};      \
        return (word)values[below(sizeof values / sizeof *values)]; \
    } while (0)

static const char *const names[] = {"a", "b", "c", "d", "d/e", "d/f", "d/..", ".", "a/x", "", "none/x", "../place/b",
                                    "d/e/../f", "//", "s", "s/a", "./././c", "no"};

static word path(void)
{
    static char longest[5000];
    memset(longest, 'y', sizeof longest - 1);
    switch (below(24)) {
    case 0:
        return 0;
    case 1:
        return (word)longest;
    case 2:
        return (word)(longest + sizeof longest - 300);
    case 3:
        return (word)(data + DATA - 5);
    default:
        return (word)names[below(sizeof names / sizeof *names)];
    }
}

static word buffer(void)
{
    switch (below(16)) {
    case 0:
        return 0;
    case 1:
        return 0xa0000000;
    case 2:
        return 0xffff800000000000;
    case 3:
        return 0x8000000000001000;
    case 4:
        return (word)(data + DATA - below(32));
    case 5:
        return (word)(data - below(3));
    case 6:
        return (word)(arena + below(ARENA));
    default:
        return (word)(data + below(DATA / 8) * (below(3) ? 8 : 1));
    }
}

static word length(void)
{
    PICK(0, 0, 1, 2, 4, 7, 8, 16, 24, 28, 56, 64, 100, 128, 512, 4096, 4097, 10000, 65536, 1L << 31);
}

/* Vectors of up to eight parts, in memory of their own. */
static word vector(void)
{
    static struct iovec parts[8];
    for (int i = 0; i < 8; i++) {
        parts[i].iov_base = (void *)buffer();
        parts[i].iov_len = below(12) ? below(5000) : length();
    }
    return below(12) ? (word)parts : buffer();
}

static word message(void)
{
    static struct msghdr header;
    memset(&header, 0, sizeof header);
    header.msg_iov = (struct iovec *)vector();
    header.msg_iovlen = below(9);
    if (below(3) == 0) {
        header.msg_control = (void *)buffer();
        header.msg_controllen = below(100);
    }
    if (below(4) == 0) {
        header.msg_name = (void *)buffer();
        header.msg_namelen = below(120);
    }
    return below(12) ? (word)&header : buffer();
}

/* What poll looks at. */
static word watched(void)
{
    struct { int fd; short events, found; } *list = (void *)(data + below(DATA / 8 - 16) * 8);
    for (int i = 0; i < 9; i++) {
        list[i].fd = (int)below(24) - 2;
        list[i].events = (short)below(64);
        list[i].found = (short)below(64);
    }
    return below(12) ? (word)list : buffer();
}

/* A moment, or none, or what is no time. */
static word moment(void)
{
    static long times[][2] = {{0, 0}, {0, 1000}, {0, -1}, {-1, 0}, {0, 999999999}, {0, 1000000000}};
    static long time[2];
    unsigned which = below(8);
    memcpy(time, times[which < 6 && which != 4 ? which : 0], sizeof time);
    return below(12) ? (word)time : below(2) ? 0x8000000000001000 : 0xa0000000;
}

static word argument(char kind)
{
    switch (kind) {
    case 'f': /* a descriptor */
        return below(30) ? below(20) : (word)(int[]){-1, 1000, -100, 1 << 30}[below(4)];
    case 'F': /* a number for one */
        return below(20) ? below(24) : (word)(int[]){-1, 1 << 20, 1 << 30}[below(3)];
    case 'd':
        return below(4) ? (word)AT_FDCWD : below(24);
    case 'b':
        return buffer();
    case 'v':
        return vector();
    case 'V':
        return watched();
    case 'T':
        return moment();
    case 'h':
        return message();
    case 'l':
        return length();
    case 'n':
        return below(20) ? below(9) : (word)(long[]){1024, 1025, -1, 1 << 20}[below(4)];
    case 't':
        PICK(0, 0, 1, 5, 100, 4095, 4096, 5000, 65536, 1 << 20, -1, -100);
    case 'p':
        return path();
    case 'i':
        return below(12);
    case 's': /* flags */
        return below(3) ? 0 : 1UL << below(20) | (below(2) ? 1UL << below(12) : 0);
    case 'm':
        PICK(0, 0600, 0644, 0777, 0111, 04755, 01777, 0200, -1);
    case 'O':
        return (word[]){0, 1, 2, 3}[below(4)] | O_NONBLOCK | (below(2) ? O_CREAT : 0) | (below(6) ? 0 : O_EXCL)
               | (below(6) ? 0 : O_TRUNC) | (below(6) ? 0 : O_APPEND) | (below(8) ? 0 : O_DIRECTORY)
               | (below(8) ? 0 : O_NOFOLLOW) | (below(8) ? 0 : O_PATH) | (below(4) ? 0 : O_CLOEXEC)
               | (below(12) ? 0 : O_TMPFILE) | (below(20) ? 0 : 1UL << below(30));
    case 'P':
        return O_NONBLOCK | (below(4) ? 0 : O_CLOEXEC) | (below(12) ? 0 : 1UL << below(24));
    case 'D':
        PICK(AF_UNIX, AF_UNIX, AF_UNIX, AF_INET, AF_INET6, 0, 99);
    case 'S':
        PICK(SOCK_STREAM | SOCK_NONBLOCK, SOCK_DGRAM | SOCK_NONBLOCK, SOCK_SEQPACKET | SOCK_NONBLOCK,
             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 77);
    case 'k':
        PICK(F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_SETPIPE_SZ,
             F_GET_SEALS, F_ADD_SEALS, F_OFD_SETLK, F_GETSIG, F_SETSIG, F_GETLEASE, F_GET_RW_HINT, 99, -1);
    case 'K': /* its argument */
        return below(2) ? (word)(long[]){0, 1, 2, 10, 20, O_NONBLOCK, 4096, 8192, -1}[below(9)] : buffer();
    case 'a':
        return (word)(arena + (below(80) * (long)PAGE)) + (below(10) ? 0 : 1);
    case 'g':
        return below(12) * PAGE + (below(6) ? 0 : below(PAGE));
    case 'r': /* protection */
        return below(20) ? below(8) : 1UL << below(32);
    case 'M': /* of mmap */
        return MAP_FIXED | (word[]){MAP_PRIVATE, MAP_SHARED, 3, 0}[below(20) ? below(2) : 2 + below(2)]
               | (below(3) ? MAP_ANONYMOUS : 0) | (below(8) ? 0 : 1UL << (12 + below(9)));
    case 'x': /* signals that are ignored, and none */
        PICK(0, 17, 23, 28, 0, 65, -1, 200);
    case 'y': /* signals whose action may change */
        PICK(0, 1, 9, 10, 12, 17, 19, 23, 34, 50, 64, 65, -1);
    case 'z': /* a set's size */
        PICK(8, 8, 8, 8, 4, 16, 0, -1);
    case 'u':
        return below(6) ? (word)getpid() : (word)(long[]){0, 1 << 29, 4999999}[below(3)];
    case 'q': /* of prctl */
        PICK(PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE,
             PR_SET_KEEPCAPS, PR_GET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_TIMERSLACK,
             PR_GET_TIMERSLACK, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_CAPBSET_READ, PR_CAPBSET_DROP,
             PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_GET_TID_ADDRESS, PR_MCE_KILL_GET, PR_GET_SECCOMP,
             PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_GET_UNALIGN, PR_SET_PTRACER, 0, 1000, -1);
    case 'c': /* of ioctl */
        PICK(0x541b, 0x5421, 0x5451, 0x5450, 0x5452, 0x5401, 0x5413, 2, 0x80086601, 0x8905, 0x8910, 0x1260, 0x5412, 0x5410, 0x540f, 0x8901, 0x8902);
    case 'w':
        return below(20) ? below(5) : below(100);
    case 'j':
        return below(3) ? (word)-1 : NOBODY;
    default:
        return 0;
    }
}

struct call {
    long number;
    const char *name;
    const char *arguments;
    /* r: the result; h: and the memory; s: whether it is an error, and which */
    char shown;
};

#define CALL(name, arguments, shown) {SYS_##name, #name, arguments, shown}

static const struct call calls[] = {
    CALL(read, "fbl", 'h'), CALL(write, "fbl", 'r'), CALL(pread64, "fblt", 'h'), CALL(pwrite64, "fblt", 'r'),
    CALL(readv, "fvn", 'h'), CALL(writev, "fvn", 'r'), CALL(preadv, "fvnt", 'h'), CALL(pwritev, "fvnt", 'r'),
    CALL(preadv2, "fvnt0s", 'h'), CALL(pwritev2, "fvnt0s", 'r'), CALL(lseek, "fti", 'r'), CALL(open, "pOm", 'r'),
    CALL(open, "pOm", 'r'), CALL(openat, "dpOm", 'r'), CALL(openat, "dpOm", 'r'), CALL(creat, "pm", 'r'),
    CALL(close, "f", 'r'), CALL(dup, "f", 'r'), CALL(dup2, "fF", 'r'), CALL(dup3, "fFP", 'r'),
    CALL(fcntl, "fkK", 'r'), CALL(fcntl, "fkK", 'r'), CALL(fstat, "fb", 's'), CALL(stat, "pb", 's'),
    CALL(lstat, "pb", 's'), CALL(newfstatat, "dpbs", 's'), CALL(statx, "dpssb", 's'), CALL(statfs, "pb", 's'),
    CALL(fstatfs, "fb", 's'), CALL(fallocate, "fstt", 'r'), CALL(ftruncate, "ft", 'r'), CALL(truncate, "pt", 'r'),
    CALL(fsync, "f", 'r'), CALL(fdatasync, "f", 'r'), CALL(sync_file_range, "fttl", 'r'), CALL(fadvise64, "ftli", 'r'),
    CALL(readahead, "ftl", 'r'), CALL(copy_file_range, "f0f0ls", 'r'), CALL(sendfile, "ff0l", 'r'),
    CALL(splice, "f0f0l2", 'r'), CALL(tee, "ffl2", 'r'), CALL(mkdir, "pm", 'r'), CALL(mkdirat, "dpm", 'r'),
    CALL(rmdir, "p", 'r'), CALL(unlink, "p", 'r'), CALL(unlinkat, "dps", 'r'), CALL(rename, "pp", 'r'),
    CALL(renameat2, "dpdpi", 'r'), CALL(link, "pp", 'r'), CALL(linkat, "dpdps", 'r'), CALL(symlink, "pp", 'r'),
    CALL(symlinkat, "pdp", 'r'), CALL(readlink, "pbl", 'h'), CALL(readlinkat, "dpbl", 'h'), CALL(chmod, "pm", 'r'),
    CALL(fchmod, "fm", 'r'), CALL(fchmodat, "dpm", 'r'), CALL(chown, "pjj", 'r'), CALL(fchown, "fjj", 'r'),
    CALL(lchown, "pjj", 'r'), CALL(fchownat, "dpjjs", 'r'), CALL(access, "pw", 'r'), CALL(faccessat, "dpw", 'r'),
    CALL(faccessat2, "dpws", 'r'), CALL(getcwd, "bl", 'h'), CALL(chdir, "p", 'r'), CALL(fchdir, "f", 'r'),
    CALL(chroot, "p", 'r'), CALL(mknod, "pm0", 'r'), CALL(mknodat, "dpm0", 'r'), CALL(getdents64, "fbl", 's'),
    CALL(utimensat, "dpbs", 'r'), CALL(utimes, "pb", 'r'), CALL(umask, "m", 'r'), CALL(setxattr, "pbbls", 'r'),
    CALL(getxattr, "pbbl", 'r'), CALL(listxattr, "pbl", 'r'), CALL(fgetxattr, "fbbl", 'r'), CALL(pipe, "b", 'h'),
    CALL(pipe2, "bP", 'h'), CALL(pipe2, "bP", 'h'), CALL(socketpair, "DS0b", 'h'), CALL(socketpair, "DS0b", 'h'),
    CALL(socket, "DSi", 'r'), CALL(bind, "fbl", 'r'), CALL(listen, "fi", 'r'), CALL(accept4, "fbbP", 's'),
    CALL(connect, "fbl", 'r'), CALL(shutdown, "fw", 'r'), CALL(getsockname, "fbb", 's'), CALL(getpeername, "fbb", 's'),
    CALL(sendto, "fbls0", 'r'), CALL(recvfrom, "fbls0", 'h'), CALL(setsockopt, "fwibl", 'r'),
    CALL(getsockopt, "fwibb", 's'), CALL(sendmsg, "fhs", 'r'), CALL(recvmsg, "fhs", 's'), CALL(eventfd2, "iP", 'r'),
    CALL(timerfd_create, "iP", 'r'), CALL(timerfd_settime, "fibb", 's'), CALL(timerfd_gettime, "fb", 's'),
    CALL(epoll_create1, "s", 'r'), CALL(epoll_create, "i", 'r'), CALL(epoll_ctl, "fwfb", 'r'),
    CALL(epoll_wait, "fbn0", 'r'), CALL(epoll_pwait, "fbn0bz", 'r'), CALL(poll, "bn0", 'r'),
    CALL(signalfd4, "fbzP", 'r'), CALL(inotify_init1, "P", 'r'), CALL(inotify_add_watch, "fps", 'r'),
    CALL(inotify_rm_watch, "fi", 'r'), CALL(memfd_create, "ps", 'r'), CALL(futex, "biiiib", 's'),
    CALL(mmap, "agrMft", 's'), CALL(mmap, "agrMft", 's'), CALL(mmap, "agrMf0", 's'), CALL(munmap, "ag", 'r'),
    CALL(mprotect, "agr", 'r'), CALL(mprotect, "agr", 'r'), CALL(mremap, "agg3a", 's'), CALL(mremap, "agg3a", 's'),
    CALL(madvise, "agi", 'r'), CALL(mincore, "agb", 's'), CALL(msync, "agw", 'r'), CALL(mlock, "ag", 's'),
    CALL(munlock, "ag", 's'), CALL(rt_sigaction, "y0bz", 's'), CALL(rt_sigprocmask, "wbbz", 'h'),
    CALL(rt_sigpending, "bz", 's'), CALL(sigaltstack, "0b", 's'), CALL(sigaltstack, "b0", 's'), CALL(kill, "ux", 'r'),
    CALL(tgkill, "uux", 'r'), CALL(tkill, "ux", 'r'), CALL(rt_sigqueueinfo, "uxb", 'r'), CALL(getpriority, "0u", 'r'),
    CALL(setpriority, "0ui", 'r'), CALL(sched_getaffinity, "ulb", 's'), CALL(sched_getparam, "ub", 'r'),
    CALL(sched_getscheduler, "u", 'r'), CALL(sched_get_priority_max, "i", 'r'), CALL(getrlimit, "ib", 'h'),
    CALL(prlimit64, "ui0b", 'h'), CALL(capget, "bb", 's'), CALL(prctl, "qii00", 's'), CALL(prctl, "qbi00", 's'),
    CALL(prctl, "qssss", 's'), CALL(getpgid, "u", 's'), CALL(getsid, "u", 's'), CALL(setpgid, "uu", 's'),
    CALL(personality, "N", 'r'), CALL(getrandom, "bns", 's'), CALL(clock_gettime, "ib", 's'),
    CALL(clock_getres, "ib", 's'), CALL(timer_create, "ibb", 's'), CALL(timer_delete, "i", 'r'),
    CALL(timer_gettime, "ib", 's'), CALL(setns, "fs", 'r'), CALL(ioctl, "fcb", 'r'), CALL(ioctl, "fcb", 'r'),
    CALL(wait4, "ubs0", 'r'), CALL(waitid, "wubs0", 'r'), CALL(getgroups, "nb", 'r'), CALL(setgroups, "nb", 'r'),
    CALL(setresuid, "jjj", 'r'), CALL(setresgid, "jjj", 'r'), CALL(getresuid, "bbb", 'h'), CALL(setfsuid, "j", 'r'),
    CALL(process_vm_readv, "uvnvns", 'h'), CALL(process_vm_writev, "uvnvns", 'h'), CALL(pidfd_open, "us", 'r'),
    CALL(pidfd_send_signal, "fxbs", 'r'), CALL(membarrier, "s", 's'), CALL(getcpu, "bb", 's'),
    CALL(flock, "fi", 'r'), CALL(set_robust_list, "bl", 'r'), CALL(mknod, "pm0", 'r'), CALL(vmsplice, "fvn2", 'r'),
    CALL(name_to_handle_at, "dpbbs", 's'), CALL(sethostname, "bl", 'r'), CALL(quotactl, "spib", 'r'),
    CALL(mount, "pppsb", 's'), CALL(umount2, "ps", 's'), CALL(swapoff, "p", 'r'), CALL(acct, "p", 's'),
    CALL(getitimer, "wb", 's'), CALL(sysfs, "iib", 's'), CALL(ustat, "ib", 's'), CALL(times, "b", 's'),
    CALL(getrusage, "wb", 's'), CALL(sysinfo, "b", 's'), CALL(uname, "b", 's'), CALL(sched_rr_get_interval, "ub", 's'),
    CALL(ioprio_get, "1u", 'r'), CALL(ioprio_set, "1ui", 'r'), CALL(syslog, "ibl", 's'),
};

/* The same, where more is wanted: sequences of the calls above stay what they are. */
static const struct call more[] = {
    CALL(select, "nbbbT", 'h'), CALL(select, "nbbbT", 'h'), CALL(pselect6, "nbbbT0", 's'), CALL(ppoll, "bnT0z", 's'),
    CALL(poll, "Vn0", 'h'), CALL(poll, "Vn0", 'h'), CALL(ppoll, "VnT0z", 's'), CALL(epoll_pwait2, "fbnTbz", 's'),
    CALL(epoll_ctl, "fwfb", 'r'), CALL(sendmmsg, "fhns", 's'), CALL(recvmmsg, "fhnsT", 's'), CALL(getdents, "fbl", 's'),
    CALL(rt_sigtimedwait, "bbTz", 's'), CALL(nanosleep, "Tb", 'r'), CALL(clock_nanosleep, "i0Tb", 's'),
    CALL(futex, "biiTbi", 's'), CALL(futex_waitv, "bisTi", 'r'), CALL(mlock2, "agi", 's'), CALL(timer_settime, "isbb", 's'),
    CALL(setitimer, "1bb", 's'), CALL(mbind, "agibls", 's'), CALL(lsetxattr, "pbbls", 'r'), CALL(lgetxattr, "pbbl", 'r'),
    CALL(llistxattr, "pbl", 'r'), CALL(flistxattr, "fbl", 'r'), CALL(fsetxattr, "fbbls", 'r'), CALL(fremovexattr, "fb", 'r'),
    CALL(removexattr, "pb", 'r'), CALL(lremovexattr, "pb", 'r'), CALL(futimesat, "dpb", 'r'), CALL(utime, "pb", 'r'),
    CALL(openat2, "dpbl", 'r'), CALL(close_range, "FFs", 'r'), CALL(creat, "pm", 'r'),
    CALL(rt_tgsigqueueinfo, "uuxb", 'r'), CALL(process_madvise, "fvnis", 's'), CALL(kcmp, "uuiff", 's'),
    CALL(pidfd_getfd, "ffs", 'r'), CALL(msync, "agw", 'r'), CALL(remap_file_pages, "ag0is", 's'),
    CALL(mremap, "agg1", 's'), CALL(mremap, "agg0", 's'), CALL(munmap, "ag", 'r'), CALL(timerfd_settime, "fibb", 's'), CALL(getitimer, "wb", 's'),
    CALL(fsopen, "ps", 's'), CALL(fsconfig, "fippf", 'r'), CALL(open_tree, "dps", 's'),
    CALL(mount_setattr, "dpsbl", 's'), CALL(fspick, "dps", 's'), CALL(mq_open, "p01b", 's'), CALL(mq_unlink, "p", 's'),
    CALL(semget, "0is", 's'), CALL(shmget, "0ls", 's'), CALL(msgget, "0s", 's'), CALL(add_key, "ppbl1", 's'),
    CALL(arch_prctl, "lb", 's'), CALL(setrlimit, "ib", 's'), CALL(capset, "bb", 's'), CALL(sched_setparam, "ub", 's'),
    CALL(sched_setaffinity, "ulb", 's'), CALL(sched_getattr, "ubl0", 's'), CALL(seccomp, "10b", 's'), CALL(umount2, "pi", 's'),
};

enum { CALLS = sizeof calls / sizeof *calls, MORE = sizeof more / sizeof *more };

/* How many of all of them are drawn from. */
static unsigned drawn = CALLS;

static uint64_t hash(void)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < DATA / sizeof(uint64_t); i++)
        sum = (sum ^ ((uint64_t *)data)[i]) * 0x100000001b3;
    return sum;
}

/* Small numbers, as structures have them, and the names of files. */
static void fill(void)
{
    for (size_t i = 0; i < DATA / sizeof(uint32_t); i++)
        ((uint32_t *)data)[i] = below(3) ? below(16) : (uint32_t)chance();
}

static void fall(int signal)
{
    say("ended by signal %d\n", signal);
    tell();
    _exit(2);
}

static void nothing(int signal)
{
    (void)signal;
}

static void step(unsigned number)
{
    unsigned which = below(drawn);
    const struct call *call = which < CALLS ? &calls[which] : &more[which - CALLS];
    word values[6] = {0};
    for (int i = 0; i < 6 && call->arguments[i]; i++)
        switch (call->arguments[i]) {
        case '1':
        case '2':
        case '3':
            values[i] = (word)(call->arguments[i] - '0');
            break;
        case 'N':
            values[i] = 0xffffffff;
            break;
        default:
            values[i] = argument(call->arguments[i]);
        }
    long result = syscall(call->number, values[0], values[1], values[2], values[3], values[4], values[5]);
    int error = result == -1 ? errno : 0;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    say("%u %s", number, call->name);
    for (int i = 0; call->arguments[i]; i++)
        if (call->arguments[i] == 'u' && values[i] == (word)getpid())
            say(" self");
        else
            say(" %lx", values[i]);
    say(": ");
    if (result == -1)
        say("%s", strerrorname_np(error) ? strerrorname_np(error) : "?");
    else if (call->shown == 's')
        say("done");
    else
        say("%ld", result);
    if (call->shown == 'h')
        say(" %016lx", hash());
    say("\n");
    if (call->shown == 's')
        fill();
}

/* One descriptor of each kind, from 3 on. */
static void open_some(void)
{
    int pair[2];
    for (int i = 0; i < 3; i++)
        dup2(open("/dev/null", O_RDWR), i);
    for (int i = 3; i < 9; i++)
        close(i);
    mkdir("d", 0700);
    symlink("d", "s");
    open("a", O_RDWR | O_CREAT, 0600);
    write(open("b", O_RDWR | O_CREAT, 0600), data, 10000);
    open(".", O_RDONLY | O_DIRECTORY);
    pipe2(pair, O_NONBLOCK);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
    socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    eventfd(3, EFD_NONBLOCK);
    epoll_create1(0);
    memfd_create("m", MFD_ALLOW_SEALING);
    open("/dev/zero", O_RDWR);
}

/* In a user's rights, who can have nothing to do with anybody else. */
static int prepare(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    struct itimerval often = {{0, 200000}, {0, 200000}};
    struct sigaction quiet = {.sa_handler = nothing}, fatal = {.sa_handler = fall};
    if (dup2(1, LOG) < 0 || mmap(data - PAGE, DATA + 2 * PAGE, PROT_NONE, flags, -1, 0) == MAP_FAILED
        || mprotect(data, DATA, PROT_READ | PROT_WRITE)
        || mmap(arena - PAGE, ARENA + 32 * PAGE, PROT_NONE, flags, -1, 0) == MAP_FAILED
        || chown(".", NOBODY, NOBODY) || setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY)
        || setresuid(NOBODY, NOBODY, NOBODY))
        return -1;
    sigaction(SIGALRM, &quiet, NULL);
    sigaction(SIGPIPE, &quiet, NULL);
    sigaction(SIGIO, &quiet, NULL);
    sigaction(SIGXFSZ, &quiet, NULL);
    sigaction(SIGSEGV, &fatal, NULL);
    sigaction(SIGBUS, &fatal, NULL);
    sigaction(SIGSYS, &fatal, NULL);
    open_some();
    return setitimer(ITIMER_REAL, &often, NULL);
}

int main(int argc, char **argv)
{
    if (argc < 3 || prepare()) {
        perror("random_calls NUMBER LENGTH [more], in an empty directory");
        return 1;
    }
    drawn = argc > 3 && strcmp(argv[3], "more") == 0 ? CALLS + MORE : CALLS;
    state = strtoul(argv[1], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
    fill();
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    for (unsigned i = 0; i < count; i++)
        step(i);
    tell();
    return 0;
}
