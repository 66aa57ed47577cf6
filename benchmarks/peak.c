/* How many single-precision floating-point operations one core of this machine does in a second, in independent fused
 * multiply-adds on registers: nothing can be faster. Prints GFLOP/s for the vector width it is compiled for, the best of
 * five tries. */
#include <stdio.h>
#include <time.h>

enum { LANES = VECTOR_BYTES / 4, CHAINS = 12, ROUNDS = 4000000 };
typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

static double seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(void) {
    double best = 0;
    volatile float sink = 0, factor = 0.999f, term = 0.001f;
    for (int try = 0; try < 5; try++) {
        vector sum[CHAINS], a = factor - (vector){0}, b = term - (vector){0};
        for (int i = 0; i < CHAINS; i++)
            sum[i] = (float)i - (vector){0};
        const double start = seconds();
        for (long round = 0; round < ROUNDS; round++)
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
        const double rate = 2.0 * LANES * CHAINS * ROUNDS / (seconds() - start) / 1e9;
        for (int i = 0; i < CHAINS; i++)
            sink += sum[i][0];
        best = rate > best ? rate : best;
    }
    printf("%.1f\n", best);
    return 0;
}
