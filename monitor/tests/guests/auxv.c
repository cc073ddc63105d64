/* Question: does a program find on its stack at entry what Linux puts there?
 *
 * Prints what must be equal natively: values as they are, addresses only as "there".
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static void value(const char *name, unsigned long type)
{
    printf("%s %lu\n", name, getauxval(type));
}

static void string(const char *name, unsigned long type)
{
    const char *text = (const char *)getauxval(type);
    printf("%s %s\n", name, text ? text : "none");
}

static void there(const char *name, unsigned long type)
{
    printf("%s %s\n", name, getauxval(type) ? "there" : "missing");
}

/* argv, its strings, envp and its strings follow one another, as ps and setproctitle expect. */
static int in_order(int argc, char **argv, char **envp)
{
    for (int i = 1; i < argc; i++)
        if (argv[i] != argv[i - 1] + strlen(argv[i - 1]) + 1)
            return 0;
    return envp == argv + argc + 1 && (!envp[0] || envp[0] > argv[argc - 1]);
}

int main(int argc, char **argv, char **envp)
{
    value("AT_PAGESZ", AT_PAGESZ);
    value("AT_PHENT", AT_PHENT);
    value("AT_PHNUM", AT_PHNUM);
    value("AT_CLKTCK", AT_CLKTCK);
    value("AT_FLAGS", AT_FLAGS);
    value("AT_UID", AT_UID);
    value("AT_EUID", AT_EUID);
    value("AT_GID", AT_GID);
    value("AT_EGID", AT_EGID);
    value("AT_SECURE", AT_SECURE);
    value("AT_HWCAP", AT_HWCAP);
    value("AT_HWCAP2", AT_HWCAP2);
    value("AT_MINSIGSTKSZ", AT_MINSIGSTKSZ);
    string("AT_PLATFORM", AT_PLATFORM);
    string("AT_EXECFN", AT_EXECFN);
    there("AT_PHDR", AT_PHDR);
    there("AT_ENTRY", AT_ENTRY);
    there("AT_BASE", AT_BASE);
    there("AT_RANDOM", AT_RANDOM);
    there("AT_SYSINFO_EHDR", AT_SYSINFO_EHDR);

    const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
    printf("AT_PHDR shows %u, then %u\n", headers[0].p_type, headers[1].p_type);
    printf("argc %d, strings in order %d\n", argc, in_order(argc, argv, envp));
    for (int i = 0; i < argc; i++)
        printf("argv[%d]=%s\n", i, argv[i]);
    for (int i = 0; envp[i]; i++)
        printf("envp[%d]=%s\n", i, envp[i]);
    return 0;
}
