// What SELinux says of memory that a program writes and then executes, for integration/selinux-init.
#include <stdio.h>
#include <sys/mman.h>

int main(void) {
    int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *memory = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    puts("can be executed");
    return 0;
}
