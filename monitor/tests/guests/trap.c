/* Question: do the other faulting instructions end the program with the signal Linux sends?
 *
 * Named by the argument: ud2 (SIGILL), int3 and icebp (SIGTRAP), int 0x81 (SIGSEGV), step
 * (the trap flag, SIGTRAP), align (alignment check, SIGBUS).
 */
#include <stdio.h>
#include <string.h>

static void provoke(const char *how)
{
    static char bytes[16];
    if (!strcmp(how, "ud2"))
        __asm__ volatile("ud2");
    else if (!strcmp(how, "int3"))
        __asm__ volatile("int3");
    else if (!strcmp(how, "icebp"))
        __asm__ volatile(".byte 0xf1");
    else if (!strcmp(how, "int81"))
        __asm__ volatile("int $0x81");
    else if (!strcmp(how, "step"))
        __asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n nop" ::: "cc", "memory");
    else if (!strcmp(how, "align"))
        __asm__ volatile("pushfq\n orq $0x40000, (%%rsp)\n popfq\n movl 1(%0), %%eax"
                         ::"r"(bytes) : "eax", "cc", "memory");
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("before %s\n", how);
    provoke(how);
    printf("survived\n");
    return 0;
}
