/* Question: is a program that watches openings (`fanotify(7)`) given the files that are opened, or their names only? */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(void)
{
    int files = fanotify_init(FAN_CLASS_NOTIF, O_RDWR);
    printf("files: %s\n", files < 0 ? strerrorname_np(errno) : "given");
    int names = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, 0);
    printf("names: %s\n", names < 0 ? strerrorname_np(errno) : "given");
    return 0;
}
