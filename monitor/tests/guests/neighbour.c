/* Question: what does a program find in /proc of itself and of another one?
 *
 * Starts a copy of itself that waits, and compares what /proc says of it, by every way a name
 * can take, with what it must be: the program, its arguments, environment and descriptors.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct stat own;

static void same_file(const char *how, int error, const struct stat *found)
{
    int same = !error && found->st_dev == own.st_dev && found->st_ino == own.st_ino;
    printf("  %s: %s\n", how, error ? strerror(errno) : same ? "the program" : "another file");
}

static void opened(const char *how, int fd)
{
    struct stat found = {0};
    char magic[4] = "";
    same_file(how, fd < 0 || fstat(fd, &found), &found);
    if (fd >= 0 && read(fd, magic, 4) == 4)
        printf("  %s: %s\n", how, memcmp(magic, ELFMAG, 4) ? "no program" : "can be read");
    if (fd >= 0)
        close(fd);
}

/* The link itself, and files by it: by its name, from its folder, by links to it. */
static void show_exe(const char *folder, const char *path)
{
    char exe[300], target[300] = "", link[] = "/tmp/neighbour-XXXXXX", name[64];
    struct stat found;
    snprintf(exe, sizeof exe, "%s/exe", folder);
    printf("%s", readlink(exe, target, sizeof target - 1) < 0 ? strerror(errno) : "");
    printf("  readlink: %s\n", strcmp(target, path) ? target : "the program");
    same_file("stat", stat(exe, &found), &found);
    opened("open", open(exe, O_RDONLY));
    printf("  access: %d\n", access(exe, X_OK));
    opened("open to write", open(exe, O_RDWR));
    opened("truncate", open(exe, O_RDONLY | O_TRUNC));

    int dir = open(folder, O_DIRECTORY | O_PATH);
    opened("openat", openat(dir, "exe", O_RDONLY));
    same_file("fstatat", fstatat(dir, "exe", &found, 0), &found);
    memset(target, 0, sizeof target);
    printf("  readlinkat: %s\n",
           readlinkat(dir, "exe", target, 299) < 0 || strcmp(target, path) ? target : "the program");
    int self = openat(dir, "exe", O_PATH | O_NOFOLLOW);
    memset(target, 0, sizeof target);
    printf("  of the link: %s\n",
           readlinkat(self, "", target, 299) < 0 || strcmp(target, path) ? target : "the program");
    close(self);
    close(dir);

    if (!mkdtemp(link))
        return;
    snprintf(name, sizeof name, "%s/link", link);
    if (symlink(exe, name) == 0)
        opened("by a link", open(name, O_RDONLY));
    pid_t child = fork();
    if (child == 0) {
        execl(name, name, "name", (char *)NULL);
        _exit(99);
    }
    int status;
    waitpid(child, &status, 0);
    printf("  executed by a link: %d\n", WEXITSTATUS(status));
    unlink(name);
    rmdir(link);
}

static void show_strings(const char *folder, const char *file)
{
    char name[300], content[400];
    snprintf(name, sizeof name, "%s/%s", folder, file);
    int fd = open(name, O_RDONLY);
    ssize_t len = read(fd, content, sizeof content);
    for (ssize_t at = 0; at < len; at++)
        if (!content[at])
            content[at] = ' ';
    printf("  %s: %.*s\n", file, len < 0 ? 0 : (int)len, content);
    close(fd);
}

static void show_auxv(const char *folder)
{
    char name[300];
    uint64_t entry[2];
    int known = 0;
    snprintf(name, sizeof name, "%s/auxv", folder);
    int fd = open(name, O_RDONLY);
    while (read(fd, entry, sizeof entry) == sizeof entry && entry[0])
        known += entry[0] == AT_PHNUM && entry[1] == getauxval(AT_PHNUM);
    close(fd);
    printf("  auxv: %s\n", known ? "a program like this" : "another");
}

static void show_list(const char *folder, const char *list)
{
    char name[300];
    struct dirent *entry;
    int count = 0;
    snprintf(name, sizeof name, "%s/%s", folder, list);
    DIR *dir = opendir(name);
    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    printf("  %s: %d\n", list, count);
}

/* The mappings: the program's own first, a stack, a vDSO, nothing that has a foreign name. */
static void show_maps(const char *folder, const char *path)
{
    char name[300], line[600];
    int programs = 0, stacks = 0, vdsos = 0, foreign = 0;
    snprintf(name, sizeof name, "%s/maps", folder);
    FILE *maps = fopen(name, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        char *what = strpbrk(line, "/[");
        line[strcspn(line, "\n")] = 0;
        programs += what && !strcmp(what, path);
        stacks += what && !strcmp(what, "[stack]");
        vdsos += what && !strcmp(what, "[vdso]");
        foreign += what && what[0] == '/' && strcmp(what, path);
    }
    if (maps)
        fclose(maps);
    printf("  maps: program %s, stacks %d, vDSOs %d, other files %d\n", programs ? "yes" : "no",
           stacks, vdsos, foreign);
}

static void show(const char *what, const char *folder, const char *path)
{
    printf("%s\n", what);
    show_exe(folder, path);
    show_strings(folder, "cmdline");
    show_strings(folder, "environ");
    show_strings(folder, "comm");
    show_auxv(folder);
    show_list(folder, "task");
    show_maps(folder, path);
}

static int wait_for_end(char **argv)
{
    char byte = 'r';
    /* As servers write their state over their arguments. */
    strcpy(argv[1], "WAIT");
    prctl(PR_SET_NAME, "a neighbour");
    for (int fd = 5; fd < 64; fd++)
        close(fd);
    if (write(3, &byte, 1) != 1)
        return 1;
    close(3);
    return read(4, &byte, 1) != 0;
}

int main(int argc, char **argv)
{
    char path[300] = "", folder[64];
    int ready[2], end[2];
    if (argc > 1 && !strcmp(argv[1], "name"))
        return 17;
    if (argc > 1 && !strcmp(argv[1], "wait"))
        return wait_for_end(argv);
    setvbuf(stdout, NULL, _IONBF, 0);
    if (readlink("/proc/self/exe", path, sizeof path - 1) < 0 || stat(argv[0], &own) < 0)
        return 1;
    printf("its path: %s\n", strcmp(path, argv[0]) ? path : "as it was called");
    if (pipe2(ready, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
        return 1;
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {argv[0], "wait", "two words", NULL}, *environment[] = {"A=1", NULL};
        int out = fcntl(ready[1], F_DUPFD, 20), in = fcntl(end[0], F_DUPFD, 20);
        dup2(out, 3);
        dup2(in, 4);
        execve(argv[0], arguments, environment);
        _exit(98);
    }
    char byte;
    close(ready[1]);
    close(end[0]);
    if (read(ready[0], &byte, 1) != 1)
        return 2;

    snprintf(folder, sizeof folder, "/proc/%d", child);
    show("the neighbour", folder, path);
    show_list(folder, "fd");
    show_list(folder, "fdinfo");
    snprintf(folder, sizeof folder, "/proc/%d/task/%d", child, child);
    show("the neighbour's thread", folder, path);
    show("itself", "/proc/self", path);
    show("its thread", "/proc/thread-self", path);
    snprintf(folder, sizeof folder, "/proc/%d", child);
    printf("chdir: %d\n", chdir(folder));
    show("from its folder", ".", path);

    close(end[1]);
    int status;
    waitpid(child, &status, 0);
    printf("ended: %d\n", status);
    return 0;
}
