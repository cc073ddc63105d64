/* Question: do arithmetic faults end the program with SIGFPE?
 *
 * Named by the argument: zero, overflow, sse (an unmasked SSE exception), x87.
 */
#include <fenv.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <xmmintrin.h>

static volatile int zero, one = 1, minus_one = -1, least = INT_MIN;
static volatile double real_zero;
static volatile long double long_zero;

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("before %s\n", how);
    if (!strcmp(how, "zero"))
        printf("%d\n", one / zero);
    else if (!strcmp(how, "overflow"))
        printf("%d\n", least / minus_one);
    else if (!strcmp(how, "sse")) {
        _mm_setcsr(_mm_getcsr() & ~(unsigned)_MM_MASK_DIV_ZERO);
        printf("%f\n", 1.0 / real_zero);
    } else if (!strcmp(how, "x87")) {
        unsigned short control = 0x37b; /* Zero divide unmasked. */
        __asm__ volatile("fldcw %0" ::"m"(control));
        printf("%Lf\n", 1.0L / long_zero);
    }
    printf("survived\n");
    return 0;
}
