/* All kernels for one instruction set: compiled once for each, with VARIANT as the ending of its names.
 *
 * Every kernel but `decode` is `int64_t name(const problem_t *, const array_t *)`; lanes go over the threads in
 * blocks. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Compilers differ in how a shuffle's order is written. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES_BY_LIST 1
#endif
#endif
#ifndef SHUFFLES_BY_LIST
#define SHUFFLES_BY_LIST 0
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#define SHARED static __attribute__((noinline, unused))
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, SUFFIX)
#define EXPORT(name) JOIN(JOIN(resolvent_, name), VARIANT)

/* Memory aligned for vectors; released with free. */
static void *allocate(int64_t bytes) {
    return aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
}

#define T float
#define T_BYTES 4
#define INTEGER int32_t
#define SQUARE_ROOT sqrtf
#define LARGEST 3.40282347e+38f
#define ROUNDING 0x1p-24f
#define UNITS 1
#define SUFFIX _f32_1
#include "family.h"
#include "state.h"
#include "sweeps.h"
#include "mixer.h"
#include "mixer_gradient.h"
#include "norm.h"
#include "decode.h"
#include "clear.h"
#define UNITS 4
#define SUFFIX _f32_4
#include "family.h"
#include "clear.h"
#undef T
#undef T_BYTES
#undef INTEGER
#undef SQUARE_ROOT
#undef LARGEST
#undef ROUNDING

#define T double
#define T_BYTES 8
#define INTEGER int64_t
#define SQUARE_ROOT sqrt
#define LARGEST 1.7976931348623157e+308
#define ROUNDING 0x1p-53
#define UNITS 1
#define SUFFIX _f64_1
#include "family.h"
#include "state.h"
#include "sweeps.h"
#include "mixer.h"
#include "mixer_gradient.h"
#include "norm.h"
#include "clear.h"
#define UNITS 4
#define SUFFIX _f64_4
#include "family.h"
#include "clear.h"

typedef int64_t (*block_t)(const problem_t *, const array_t *, int64_t, int64_t);
typedef int64_t (*lane_t)(const problem_t *, const array_t *, int64_t);
typedef int64_t (*task_t)(const problem_t *, const array_t *, int64_t, int64_t);

/* Merges the result of one block: out of memory wins, otherwise the bits add up. */
static void merge(int64_t *into, int64_t result) {
    if (result == OUT_OF_MEMORY || *into == OUT_OF_MEMORY)
        *into = OUT_OF_MEMORY;
    else
        *into |= result;
}

/* Runs a kernel over blocks of `wide` lanes while every thread gets one, and over blocks of `narrow` otherwise and for
 * the lanes that are left. */
static int64_t over_blocks(const problem_t *problem, const array_t *arrays, block_t wide_kernel, int64_t wide,
                           block_t narrow_kernel, int64_t narrow) {
    int64_t lanes = lanes_of(problem), result = 0;
    int64_t whole = lanes >= wide * problem->threads ? lanes / wide : 0;
    int64_t blocks = whole + (lanes - whole * wide + narrow - 1) / narrow;
#pragma omp parallel for schedule(dynamic) num_threads(problem->threads) if (problem->threads > 1 && blocks > 1)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block < whole ? block * wide : whole * wide + (block - whole) * narrow;
        int64_t size = block < whole ? wide : narrow, valid = lanes - first < size ? lanes - first : size;
        int64_t bits = (block < whole ? wide_kernel : narrow_kernel)(problem, arrays, first, valid);
#pragma omp critical(resolvent_merge)
        merge(&result, bits);
    }
    return result;
}

static int64_t over_lanes(const problem_t *problem, const array_t *arrays, lane_t kernel) {
    int64_t lanes = lanes_of(problem), result = 0;
#pragma omp parallel for schedule(dynamic) num_threads(problem->threads) if (problem->threads > 1 && lanes > 1)
    for (int64_t lane = 0; lane < lanes; lane++) {
        int64_t bits = kernel(problem, arrays, lane);
#pragma omp critical(resolvent_merge)
        merge(&result, bits);
    }
    return result;
}

/* Runs a kernel over texts, or over the heads of all texts if there are not enough for the threads. */
static int64_t over_heads(const problem_t *problem, const array_t *arrays, task_t kernel) {
    int64_t texts = problem->shape[1], heads = problem->shape[2], result = 0;
    int64_t enough = texts % problem->threads == 0 || texts >= 4 * problem->threads;
    int64_t together = enough ? heads : 1, tasks = texts * (heads / together);
#pragma omp parallel for schedule(dynamic) num_threads(problem->threads) if (problem->threads > 1 && tasks > 1)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t bits = kernel(problem, arrays, task, together);
#pragma omp critical(resolvent_merge)
        merge(&result, bits);
    }
    return result;
}

#define BLOCK_KERNEL(name)                                                                                \
    int64_t EXPORT(name##_f32)(const problem_t *problem, const array_t *arrays) {                         \
        return over_blocks(problem, arrays, name##_block_f32_4, VECTOR_BYTES, name##_block_f32_1,         \
                           VECTOR_BYTES / 4);                                                             \
    }                                                                                                     \
    int64_t EXPORT(name##_f64)(const problem_t *problem, const array_t *arrays) {                         \
        return over_blocks(problem, arrays, name##_block_f64_4, VECTOR_BYTES / 2, name##_block_f64_1,     \
                           VECTOR_BYTES / 8);                                                             \
    }
#define LANE_KERNEL(name)                                                         \
    int64_t EXPORT(name##_f32)(const problem_t *problem, const array_t *arrays) { \
        return over_lanes(problem, arrays, name##_lane_f32_1);                    \
    }                                                                             \
    int64_t EXPORT(name##_f64)(const problem_t *problem, const array_t *arrays) { \
        return over_lanes(problem, arrays, name##_lane_f64_1);                    \
    }
#define TASK_KERNEL(name)                                                         \
    int64_t EXPORT(name##_f32)(const problem_t *problem, const array_t *arrays) { \
        return over_heads(problem, arrays, name##_task_f32_1);                    \
    }                                                                             \
    int64_t EXPORT(name##_f64)(const problem_t *problem, const array_t *arrays) { \
        return over_heads(problem, arrays, name##_task_f64_1);                    \
    }

BLOCK_KERNEL(green_diagonal)
BLOCK_KERNEL(green_diagonal_backward)
BLOCK_KERNEL(causal)
BLOCK_KERNEL(causal_backward)
BLOCK_KERNEL(gates)
BLOCK_KERNEL(gates_backward)
LANE_KERNEL(state)
LANE_KERNEL(state_backward)
LANE_KERNEL(norm)
LANE_KERNEL(norm_backward)
TASK_KERNEL(mixer)
TASK_KERNEL(mixer_backward)

int64_t EXPORT(decode_f32)(const decode_t *model, const void *const *arrays, const float *embedding, float *logits) {
    return decode_f32_1(model, arrays, embedding, logits);
}
