/* Question: does the widest vector unit work, and do its registers survive system calls?
 *
 * Uses AVX-512 where the CPU has it, else AVX2: the CPU is asked the way every library asks,
 * so a CPUID that promises what XCR0 does not allow ends in SIGILL here.
 */
#include <immintrin.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define ROUNDS 1000

/* A system call that leaves every vector register to the kernel's good manners. */
#define SYSCALL_BETWEEN(number)                                                       \
    do {                                                                              \
        long call = number;                                                           \
        __asm__ volatile("syscall" : "+a"(call) : : "rcx", "r11", "memory");          \
    } while (0)

__attribute__((target("avx512f"))) static void with_avx512(double *out)
{
    __m512d sum = _mm512_setzero_pd();
    __m512d step = _mm512_set_pd(8, 7, 6, 5, 4, 3, 2, 1);
    __mmask8 odd = 0x55;
    for (int i = 0; i < ROUNDS; i++) {
        sum = _mm512_mask_add_pd(sum, odd, sum, step);
        sum = _mm512_fmadd_pd(step, step, sum);
        __asm__ volatile("" : "+v"(sum), "+v"(step), "+Yk"(odd));
        SYSCALL_BETWEEN(SYS_getppid);
        __asm__ volatile("" : "+v"(sum), "+v"(step), "+Yk"(odd));
    }
    _mm512_storeu_pd(out, sum);
}

__attribute__((target("avx2,fma"))) static void with_avx2(double *out)
{
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    __m256d step = _mm256_set_pd(4, 3, 2, 1);
    for (int i = 0; i < ROUNDS; i++) {
        low = _mm256_fmadd_pd(step, step, low);
        high = _mm256_add_pd(high, step);
        __asm__ volatile("" : "+x"(low), "+x"(high), "+x"(step));
        SYSCALL_BETWEEN(SYS_getppid);
        __asm__ volatile("" : "+x"(low), "+x"(high), "+x"(step));
    }
    _mm256_storeu_pd(out, low);
    _mm256_storeu_pd(out + 4, high);
}

int main(void)
{
    double out[8];
    memset(out, 0, sizeof out);
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        with_avx512(out);
        printf("avx512");
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        with_avx2(out);
        printf("avx2");
    } else {
        printf("neither");
    }
    for (int i = 0; i < 8; i++)
        printf(" %.0f", out[i]);
    printf("\n");
    return 0;
}
