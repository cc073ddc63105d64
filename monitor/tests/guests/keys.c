/* Question: can a program keep keys in its keyrings? */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESS_RING KEY_SPEC_PROCESS_KEYRING
#define SESSION_RING KEY_SPEC_SESSION_KEYRING

static void *const elsewhere = (void *)0x10000000000, *const beyond = (void *)0x800000000000;

static long show(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
    fflush(stdout);
    return result;
}

/* Serial numbers differ from run to run. */
static long serial(const char *what, long result)
{
    show(what, result > 0 ? 1 : result);
    return result;
}

static long add(const char *kind, const char *name, const void *content, size_t length, int ring)
{
    return syscall(SYS_add_key, kind, name, content, length, ring);
}

static long keyctl(int operation, long a, const void *b, const void *c, long d)
{
    return syscall(SYS_keyctl, operation, a, b, c, d);
}

int main(void)
{
    char text[256] = "", name[] = "krun:test";
    int status;
    if (add("user", name, "x", 1, PROCESS_RING) < 0 && errno == ENOSYS) {
        puts("no keys");
        return 0;
    }
    serial("join a session", keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, NULL, NULL, 0));
    long key = serial("add", add("user", name, "secret", 6, PROCESS_RING));
    show("read", keyctl(KEYCTL_READ, key, text, (void *)sizeof text, 0));
    printf("  %s\n", text);
    show("read a part", keyctl(KEYCTL_READ, key, text, (void *)3, 0));
    show("read its length", keyctl(KEYCTL_READ, key, NULL, NULL, 0));
    show("update", keyctl(KEYCTL_UPDATE, key, "other secret", (void *)12, 0));
    show("read", keyctl(KEYCTL_READ, key, text, (void *)sizeof text, 0));
    printf("  %s\n", text);
    memset(text, 0, sizeof text);
    show("describe", keyctl(KEYCTL_DESCRIBE, key, text, (void *)sizeof text, 0) > 0);
    printf("  %.5s %d\n", text, strstr(text, name) != NULL);
    long found = keyctl(KEYCTL_SEARCH, PROCESS_RING, "user", name, 0);
    printf("search: %d\n", found == key);
    found = syscall(SYS_request_key, "user", name, NULL, 0);
    printf("request: %d\n", found == key);
    show("request what is not there", syscall(SYS_request_key, "user", "krun:nothing", NULL, 0));
    show("link", keyctl(KEYCTL_LINK, key, (void *)(long)SESSION_RING, NULL, 0));
    show("unlink", keyctl(KEYCTL_UNLINK, key, (void *)(long)SESSION_RING, NULL, 0));
    show("permissions", keyctl(KEYCTL_SETPERM, key, (void *)0x3f3f0000, NULL, 0));
    show("timeout", keyctl(KEYCTL_SET_TIMEOUT, key, (void *)1000, NULL, 0));
    show("capabilities", keyctl(KEYCTL_CAPABILITIES, (long)text, (void *)2, NULL, 0) > 0);
    long ring = serial("a ring", add("keyring", "krun:ring", NULL, 0, PROCESS_RING));
    show("restrict", keyctl(KEYCTL_RESTRICT_KEYRING, ring, NULL, NULL, 0));
    show("add to it", add("user", name, "x", 1, ring));
    show("invalidate", keyctl(KEYCTL_INVALIDATE, ring, NULL, NULL, 0));

    show("no type", add(NULL, name, "x", 1, PROCESS_RING));
    show("a type elsewhere", add(elsewhere, name, "x", 1, PROCESS_RING));
    show("a type beyond", add(beyond, name, "x", 1, PROCESS_RING));
    show("an unknown type", add("krun", name, "x", 1, PROCESS_RING));
    show("content elsewhere", add("user", name, elsewhere, 1, PROCESS_RING));
    show("too much content", add("user", name, text, 1 << 20 | 1, PROCESS_RING));
    show("no such ring", add("user", name, "x", 1, 0x7fffffff));
    show("read elsewhere", keyctl(KEYCTL_READ, key, elsewhere, (void *)64, 0));
    show("update from beyond", keyctl(KEYCTL_UPDATE, key, beyond, (void *)64, 0));
    show("instantiate", keyctl(KEYCTL_INSTANTIATE, key, "x", (void *)1, 0));
    struct iovec part = {text, 1};
    show("instantiate from a vector", keyctl(KEYCTL_INSTANTIATE_IOV, key, &part, (void *)1, 0));
    show("unknown", keyctl(99, 0, NULL, NULL, 0));

    if (fork() == 0) {
        show("a child has no process ring", keyctl(KEYCTL_SEARCH, PROCESS_RING, "user", name, 0));
        _exit(7);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    show("revoke", keyctl(KEYCTL_REVOKE, key, NULL, NULL, 0));
    show("read what is revoked", keyctl(KEYCTL_READ, key, text, (void *)sizeof text, 0));
    return 0;
}
