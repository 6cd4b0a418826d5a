/* Blocks of lanes and tiles of sites: how arrays of any strides become rows of vectors, and back.
 *
 * Included once for each element type T and each number UNITS of vectors in a block. A tile holds STEPS sites of a
 * block; in scratch memory its row for site t is UNITS vectors. A block at the end repeats its last lane, so
 * that arithmetic never meets memory that is not there. */


typedef VEC NAME(tile)[STEPS][UNITS];
#define TILE NAME(tile)

/* One array seen from one block. */
typedef struct {
    T *base;
    int64_t time;
    int64_t offset[LANES];
    int contiguous[UNITS];
} NAME(view);
#define VIEW NAME(view)

SHARED void NAME(bind)(VIEW *view, const problem_t *problem, const array_t *array, int64_t first, int64_t valid,
                       int64_t element) {
    view->base = array->data;
    view->time = array->time;
    if (!array->data) return;
    for (int64_t l = 0; l < LANES; l++)
        view->offset[l] = lane_offset(problem, array, first + (l < valid ? l : valid - 1));
    for (int u = 0; u < UNITS; u++) {
        view->contiguous[u] = 1;
        for (int l = u * WIDTH + 1; l < (u + 1) * WIDTH; l++)
            view->contiguous[u] &= view->offset[l] - view->offset[l - 1] == element;
    }
}

/* `count` sites of a real array. */
SHARED void NAME(read)(const VIEW *view, int64_t start, int count, TILE rows) {
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH;
        const T *source = view->base + start * view->time;
        T *target = (T *)&rows[0][u];
        if (view->contiguous[u])
            for (int t = 0; t < count; t++) rows[t][u] = *(const PACKED *)(source + offset[0] + t * view->time);
        else if (view->time)
            for (int l = 0; l < WIDTH; l++)
                for (int t = 0; t < count; t++) target[t * LANES + l] = source[offset[l] + t * view->time];
        else {
            for (int l = 0; l < WIDTH; l++) target[l] = source[offset[l]];
            for (int t = 1; t < count; t++) rows[t][u] = rows[0][u];
        }
    }
}

/* `count` sites of a complex array, taken apart. */
SHARED void NAME(read_complex)(const VIEW *view, int64_t start, int count, TILE real, TILE imaginary) {
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH;
        const T *source = view->base + start * view->time;
        T *re = (T *)&real[0][u], *im = (T *)&imaginary[0][u];
        if (view->contiguous[u]) {
            for (int t = 0; t < count; t++)
                NAME(split)(source + offset[0] + t * view->time, &real[t][u], &imaginary[t][u]);
            continue;
        }
        for (int l = 0; l < WIDTH; l++)
            for (int t = 0; t < count; t++) {
                re[t * LANES + l] = source[offset[l] + t * view->time];
                im[t * LANES + l] = source[offset[l] + t * view->time + 1];
            }
    }
}

SHARED void NAME(write)(const VIEW *view, int64_t start, int count, int64_t valid, TILE scratch) {
    if (!view->base) return;
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH;
        T *target = view->base + start * view->time;
        const T *source = (const T *)&scratch[0][u];
        int64_t lanes = valid - u * WIDTH;
        if (view->contiguous[u] && lanes >= WIDTH) {
            for (int t = 0; t < count; t++) *(PACKED *)(target + offset[0] + t * view->time) = scratch[t][u];
            continue;
        }
        for (int l = 0; l < WIDTH && l < lanes; l++)
            for (int t = 0; t < count; t++) target[offset[l] + t * view->time] = source[t * LANES + l];
    }
}

SHARED void NAME(write_complex)(const VIEW *view, int64_t start, int count, int64_t valid, TILE real,
                                TILE imaginary) {
    if (!view->base) return;
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH;
        T *target = view->base + start * view->time;
        const T *re = (const T *)&real[0][u], *im = (const T *)&imaginary[0][u];
        int64_t lanes = valid - u * WIDTH;
        if (view->contiguous[u] && lanes >= WIDTH) {
            for (int t = 0; t < count; t++)
                NAME(pair)(target + offset[0] + t * view->time, real[t][u], imaginary[t][u]);
            continue;
        }
        for (int l = 0; l < WIDTH && l < lanes; l++)
            for (int t = 0; t < count; t++) {
                target[offset[l] + t * view->time] = re[t * LANES + l];
                target[offset[l] + t * view->time + 1] = im[t * LANES + l];
            }
    }
}

/* Whether every value lies in [low, high]; false for NaN. */
SHARED int NAME(within)(TILE rows, int count, T low, T high) {
    MASK good = ~(MASK){0};
    VEC lower = NAME(splat)(low), upper = NAME(splat)(high);
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) good &= (rows[t][u] >= lower) & (rows[t][u] <= upper);
    int all = 1;
    for (int l = 0; l < WIDTH; l++) all &= good[l] != 0;
    return all;
}

/* One row of a view at no particular site: an initial value, or zeros where there is none. */
SHARED void NAME(read_state)(const VIEW *view, VEC real[UNITS], VEC imaginary[UNITS]) {
    for (int l = 0; l < LANES; l++) {
        ((T *)real)[l] = view->base ? view->base[view->offset[l]] : 0;
        ((T *)imaginary)[l] = view->base ? view->base[view->offset[l] + 1] : 0;
    }
}

SHARED void NAME(write_state)(const VIEW *view, int64_t valid, const VEC real[UNITS],
                              const VEC imaginary[UNITS]) {
    if (!view->base) return;
    for (int l = 0; l < valid; l++) {
        view->base[view->offset[l]] = ((const T *)real)[l];
        view->base[view->offset[l] + 1] = ((const T *)imaginary)[l];
    }
}
