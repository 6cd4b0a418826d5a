/* What the processor can run and how the library was built. Compiled for the oldest processor of its family. */

/* 0: any; 1: AVX2 and FMA; 2: AVX-512. */
int resolvent_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512bw"))
        return 1;
    return 2;
#else
    return 0;
#endif
}

int resolvent_threaded(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
