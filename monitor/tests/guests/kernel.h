/* Which Linux runs: for a question that kernels answer differently. */
#include <stdio.h>
#include <sys/utsname.h>

static int at_least(int version, int patch)
{
    struct utsname kernel;
    int own_version, own_patch;
    uname(&kernel);
    sscanf(kernel.release, "%d.%d", &own_version, &own_patch);
    return own_version > version || (own_version == version && own_patch >= patch);
}
