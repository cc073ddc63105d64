// Does a thread that has given up rights, or got a filter, keep them only until then, whoever makes its
// calls? Run as root.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int null;

static void warm_up(void) {
  for (int i = 0; i < 3000; i++)
    if (write(null, "x", 1) != 1)
      exit(9);
}

static void try_it(const char *when, const char *path) {
  errno = 0;
  int file = open(path, O_RDONLY);
  printf("%s: open %s", when, file >= 0 ? "succeeds" : strerrorname_np(errno));
  errno = 0;
  int removed = unlink(path);
  printf(", unlink %s, I am %ld\n", removed ? strerrorname_np(errno) : "succeeds", (long)syscall(SYS_getuid));
  close(file);
}

static void as_child(void (*change)(void), const char *when, const char *path) {
  close(open(path, O_CREAT | O_WRONLY, 0600));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    warm_up();
    change();
    warm_up();
    try_it(when, path);
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status)
    printf("%s: status %x\n", when, status);
}

static void stay(void) {}

static void become_nobody(void) {
  if (setresgid(65533, 65533, 65533) || setresuid(65533, 65533, 65533))
    exit(7);
}

static void drop_effective(void) {
  if (seteuid(65533))
    exit(7);
}

static void forbid_unlink(void) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unlink, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {4, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter))
    exit(6);
}

static void leave_root(void) {
  if (mkdir("empty", 0700) || chroot("empty"))
    exit(5);
}

int main(void) {
  null = open("/dev/null", O_WRONLY);
  char path[] = "/tmp/krun-rightsXXXXXX";
  if (!mkdtemp(path) || chdir(path))
    return 8;
  as_child(stay, "with all rights", "file");
  as_child(become_nobody, "as nobody", "file");
  as_child(drop_effective, "with another effective user", "file");
  as_child(forbid_unlink, "with a filter", "file");
  char absolute[100];
  snprintf(absolute, sizeof absolute, "%s/file", path);
  as_child(leave_root, "in another root", absolute);
  unlink("file");
  rmdir("empty");
  rmdir(path);
  return 0;
}
