// Do pipes and sockets that are full, empty or closed do what they do on Linux: wait, say EAGAIN, send
// SIGPIPE to the thread that wrote?
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MUCH = 300000 };

static volatile pid_t pipe_broke_in;

static void broken(int signal) {
  (void)signal;
  pipe_broke_in = syscall(SYS_gettid);
}

static void warm_up(void) {
  int null = open("/dev/null", O_WRONLY);
  for (int i = 0; i < 2000; i++)
    if (write(null, "x", 1) != 1)
      exit(9);
  close(null);
}

static void *drain(void *end) {
  char bytes[1000];
  long sum = 0;
  for (long got; (got = read(*(int *)end, bytes, sizeof bytes)) > 0;)
    sum += got;
  return (void *)sum;
}

static void fill(const char *name, int ends[2]) {
  static char bytes[MUCH];
  pthread_t reader;
  pthread_create(&reader, NULL, drain, &ends[0]);
  warm_up();
  long written = write(ends[1], bytes, MUCH);
  struct iovec pieces[3] = {{bytes, 100000}, {bytes, 7}, {bytes, 99993}};
  long gathered = writev(ends[1], pieces, 3) + writev(ends[1], pieces, 1);
  close(ends[1]);
  void *read;
  pthread_join(reader, &read);
  printf("%s: wrote %ld and %ld, read %ld\n", name, written, gathered, (long)read);
}

static void break_it(const char *name, int ends[2]) {
  warm_up();
  close(ends[0]);
  pipe_broke_in = 0;
  errno = 0;
  long written = write(ends[1], "x", 1);
  printf("%s: %ld %s, told %s\n", name, written, strerrorname_np(errno),
         pipe_broke_in == syscall(SYS_gettid) ? "the writer" : "nobody");
  close(ends[1]);
}

static void say_again(const char *name, int ends[2]) {
  char bytes[4096] = {0};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  warm_up();
  errno = 0;
  long empty = read(ends[0], bytes, 1);
  int empty_errno = errno;
  while (write(ends[1], bytes, sizeof bytes) > 0)
    ;
  printf("%s: empty %ld %s, full %s\n", name, empty, strerrorname_np(empty_errno),
         strerrorname_np(errno));
}

// A signal that was sent to this thread alone can be read by it alone.
static void read_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  int signals = signalfd(-1, &set, SFD_NONBLOCK);
  int events = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(events, EPOLL_CTL_ADD, signals, &event);
  warm_up();
  struct signalfd_siginfo info;
  printf("signalfd: %ld", (long)read(signals, &info, sizeof info));
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
  struct pollfd poll_it = {signals, POLLIN, 0};
  printf(", ready %d %d", epoll_wait(events, &event, 1, 0), poll(&poll_it, 1, 0));
  printf(", read %d", read(signals, &info, sizeof info) == sizeof info);
  // One that has been sent before is ready at once.
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
  int others = epoll_create1(0);
  epoll_ctl(others, EPOLL_CTL_ADD, signals, &event);
  printf(", before %d\n", epoll_wait(others, &event, 1, 1000));
}

// Descriptors of one's own are those of whoever makes the calls, too.
static void part(void) {
  warm_up();
  close_range(900, 1000, CLOSE_RANGE_UNSHARE);
  warm_up();
  char byte;
  int file = open("/etc/passwd", O_RDONLY);
  printf("parted: %ld\n", (long)read(file, &byte, 1));
}

// Opening a fifo waits for the other side.
static void *open_late(void *path) {
  usleep(50000);
  return (void *)(long)open(path, O_WRONLY);
}

static void open_fifo(void) {
  char path[] = "/tmp/krun-fifoXXXXXX";
  if (!mkdtemp(path) || chdir(path) || mkfifo("fifo", 0600))
    exit(8);
  pthread_t other;
  warm_up();
  pthread_create(&other, NULL, open_late, "fifo");
  int mine = open("fifo", O_RDONLY);
  void *theirs;
  pthread_join(other, &theirs);
  printf("fifo: %d %d\n", mine >= 0, (long)theirs >= 0);
  unlink("fifo");
  rmdir(path);
}

static long send_all(int to, int from, off_t *at, size_t most) {
  errno = 0;
  return sendfile(to, from, at, most);
}

// A plain file to sockets that say when they are full, that wait, and that are closed; and what is no plain file.
static void send_files(void) {
  int ends[2], waiting[2];
  FILE *temporary = tmpfile();
  int file = fileno(temporary);
  ftruncate(file, MUCH);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
  warm_up();
  off_t at = 0;
  long once = send_all(ends[1], file, &at, 1000);
  printf("sendfile: %ld at %ld, place %ld", once, (long)at, (long)lseek(file, 0, SEEK_CUR));
  at = MUCH - 10;
  printf(", rest %ld", send_all(ends[1], file, &at, 1000));
  printf(", end %ld", send_all(ends[1], file, &at, 1000));
  at = -1;
  printf(", before it %ld %s", send_all(ends[1], file, &at, 1), strerrorname_np(errno));
  printf(", nowhere %ld %s", send_all(ends[1], file, (off_t *)8, 1), strerrorname_np(errno));
  at = 0;
  while (send_all(ends[1], file, &at, 20000) > 0)
    at %= MUCH;
  printf(", full %s\n", strerrorname_np(errno));
  struct stat same;
  int directory = open("/", O_RDONLY);
  printf("of a directory: %ld %s\n", send_all(ends[1], directory, NULL, 1), strerrorname_np(errno));
  printf("of a socket: %ld %s\n", send_all(ends[1], ends[0], NULL, 1), strerrorname_np(errno));
  printf("of none: %ld %s, %d\n", send_all(ends[1], 99, NULL, 1), strerrorname_np(errno), fstat(file, &same));
  close(ends[0]);
  pipe_broke_in = 0;
  printf("closed: %ld %s", send_all(ends[1], file, NULL, 1), strerrorname_np(errno));
  printf(", told %s\n", pipe_broke_in == syscall(SYS_gettid) ? "the writer" : "nobody");
  socketpair(AF_UNIX, SOCK_STREAM, 0, waiting);
  pthread_t reader;
  pthread_create(&reader, NULL, drain, &waiting[0]);
  warm_up();
  lseek(file, 0, SEEK_SET);
  long waited = send_all(waiting[1], file, NULL, MUCH);
  close(waiting[1]);
  void *read;
  pthread_join(reader, &read);
  printf("waiting: sent %ld, read %ld\n", waited, (long)read);
}

int main(void) {
  struct sigaction action = {.sa_handler = broken};
  sigaction(SIGPIPE, &action, NULL);
  int ends[2];
  pipe(ends), fill("pipe", ends);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends), fill("socket", ends);
  pipe(ends), break_it("pipe", ends);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends), break_it("socket", ends);
  pipe(ends), say_again("pipe", ends);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends), say_again("socket", ends);
  int event = eventfd(0, EFD_NONBLOCK);
  long value;
  warm_up();
  printf("eventfd: %ld\n", (long)read(event, &value, 8));
  send_files();
  read_signals();
  open_fifo();
  part();
  return 0;
}
