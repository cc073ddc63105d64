/* Question: does SIOCGIFCONF list the interfaces' addresses, and what of a list that is none? */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(const char *what, int fd, void *configuration, int length)
{
    int result = ioctl(fd, SIOCGIFCONF, configuration);

    printf("%s: %d %s", what, result, result < 0 ? strerrorname_np(errno) : "");
    printf(" %d\n", result < 0 ? length : ((struct ifconf *)configuration)->ifc_len);
    return result;
}

static void list(int fd)
{
    struct ifreq room[64];
    struct ifconf all = {.ifc_len = sizeof room, .ifc_req = room};

    memset(room, 0, sizeof room);
    ask("all", fd, &all, 0);
    for (unsigned i = 0; i < all.ifc_len / sizeof *room; i++) {
        struct sockaddr_in *address = (struct sockaddr_in *)&room[i].ifr_addr;

        printf("%s %s\n", room[i].ifr_name, inet_ntoa(address->sin_addr));
    }
}

int main(void)
{
    struct ifreq one;
    struct ifconf cases[] = {
        {.ifc_len = 0, .ifc_req = NULL},
        {.ifc_len = 1000, .ifc_req = NULL},
        {.ifc_len = sizeof one, .ifc_req = &one},
        {.ifc_len = sizeof one - 1, .ifc_req = &one},
        {.ifc_len = -1, .ifc_req = &one},
        {.ifc_len = 1000, .ifc_buf = (char *)8},
        {.ifc_len = 1000, .ifc_buf = (char *)0x700000000000},
        {.ifc_len = 1000, .ifc_buf = (char *)-4096},
        {.ifc_len = 0, .ifc_buf = (char *)-4096},
    };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int pipes[2];
    void *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    list(fd);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        ask("case", fd, &cases[i], i);
    ask("null", fd, NULL, 0);
    ask("read-only", fd, read_only, 0);
    ask("no descriptor", 1000, &cases[0], 0);
    if (pipe(pipes) == 0)
        ask("a pipe", pipes[0], &cases[0], 0);
    return 0;
}
