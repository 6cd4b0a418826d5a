/* Arithmetic on vectors that the language has no operator for. */

#define MASK NAME(mask)
typedef INTEGER MASK __attribute__((vector_size(VECTOR_BYTES)));
typedef T NAME(packed) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
#define PACKED NAME(packed)

INLINE VEC NAME(splat)(T value) { return value - (VEC){0}; }

INLINE VEC NAME(root)(VEC value) {
    VEC result;
    for (int l = 0; l < WIDTH; l++) result[l] = SQUARE_ROOT(value[l]);
    return result;
}

/* 1 / value, to a unit in the last place; value is positive. */
INLINE VEC NAME(reciprocal)(VEC value) {
#if defined(__AVX512F__) && T_BYTES == 4
    /* An estimate of 14 bits and a step of Newton's method: a fifth of the time of a division. */
    VEC estimate = (VEC)_mm512_rcp14_ps((__m512)value);
    return estimate + estimate * ((T)1 - value * estimate);
#else
    return (T)1 / value;
#endif
}

/* e^x to a few units in the last place, x cut off where the type ends. */
INLINE VEC NAME(exponential)(VEC x) {
#if T_BYTES == 4
    VEC low = NAME(splat)(-87.0f), high = NAME(splat)(88.0f);
    MASK below = x < low, above = x > high;
    x = (VEC)((below & (MASK)low) | (above & (MASK)high) | (~(below | above) & (MASK)x));
    VEC shifted = x * 1.44269504f + 12582912.0f; /* the nearest whole power of two, in the lowest bits */
    VEC power = shifted - 12582912.0f, rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
    VEC sum = NAME(splat)(1.9875691500e-4f);
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1;
    return (VEC)((MASK)sum + ((MASK)shifted << 23));
#else
    VEC result;
    for (int l = 0; l < WIDTH; l++) result[l] = exp(x[l]);
    return result;
#endif
}

INLINE T NAME(scalar_root)(T value) { return SQUARE_ROOT(value); }

INLINE VEC NAME(absolute)(VEC value) {
    MASK sign = (MASK)(-(VEC){0} - (VEC){0});
    return (VEC)((MASK)value & ~sign);
}

INLINE VEC NAME(where_positive)(VEC condition, VEC value) { return (VEC)((condition > 0) & (MASK)value); }

INLINE VEC NAME(sign)(VEC value) {
    VEC one = (T)1 - (VEC){0};
    return (VEC)((value > 0) & (MASK)one) - (VEC)((value < 0) & (MASK)one);
}

/* The sum of a vector's elements, in halves: the same order whatever the compiler. */
INLINE T NAME(total)(VEC value) {
    T parts[WIDTH] __attribute__((aligned(VECTOR_BYTES)));
    *(VEC *)parts = value;
    for (int half = WIDTH / 2; half; half /= 2)
        for (int l = 0; l < half; l++) parts[l] += parts[l + half];
    return parts[0];
}

/* Pairs of numbers side by side, taken apart and put together again. */
#if WIDTH == 16
#define LOG_WIDTH 4
#define FIRSTS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define SECONDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define LOW_PAIRS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_PAIRS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif WIDTH == 8
#define LOG_WIDTH 3
#define FIRSTS 0, 2, 4, 6, 8, 10, 12, 14
#define SECONDS 1, 3, 5, 7, 9, 11, 13, 15
#define LOW_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#elif WIDTH == 4
#define LOG_WIDTH 2
#define FIRSTS 0, 2, 4, 6
#define SECONDS 1, 3, 5, 7
#define LOW_PAIRS 0, 4, 1, 5
#define HIGH_PAIRS 2, 6, 3, 7
#elif WIDTH == 2
#define LOG_WIDTH 1
#define FIRSTS 0, 2
#define SECONDS 1, 3
#define LOW_PAIRS 0, 2
#define HIGH_PAIRS 1, 3
#endif
#if SHUFFLES_BY_LIST
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (MASK){__VA_ARGS__})
#endif

INLINE void NAME(split)(const T *pairs, VEC *first, VEC *second) {
    VEC low = *(const PACKED *)pairs, high = *(const PACKED *)(pairs + WIDTH);
    *first = SHUFFLE(low, high, FIRSTS);
    *second = SHUFFLE(low, high, SECONDS);
}

INLINE void NAME(pair)(T *pairs, VEC first, VEC second) {
    *(PACKED *)pairs = SHUFFLE(first, second, LOW_PAIRS);
    *(PACKED *)(pairs + WIDTH) = SHUFFLE(first, second, HIGH_PAIRS);
}

/* The sums of the elements of eight vectors, by adding neighbours of two vectors at a time. */
INLINE void NAME(totals)(VEC vectors[8], T sums[8]) {
    int count = 8, share = WIDTH; /* share: elements that still belong to one sum */
    for (; count > 1 && share > 1; count /= 2, share /= 2)
        for (int n = 0; n < count / 2; n++) {
            VEC a = vectors[2 * n], b = vectors[2 * n + 1];
            vectors[n] = SHUFFLE(a, b, FIRSTS) + SHUFFLE(a, b, SECONDS);
        }
    for (; share > 1; share /= 2) {
        VEC a = vectors[0];
        vectors[0] = SHUFFLE(a, a, FIRSTS) + SHUFFLE(a, a, SECONDS);
    }
    memcpy(sums, vectors, 8 * sizeof(T));
}
