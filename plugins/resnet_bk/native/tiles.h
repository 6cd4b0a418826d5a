/* Blocks of lanes and tiles of sites: how arrays of any strides become rows of vectors, and back.
 *
 * Included once for each element type T and each number UNITS of vectors in a block. A tile holds STEPS sites of a
 * block; in scratch memory its row for site t is UNITS vectors. A block at the end repeats lanes, so that
 * arithmetic never meets memory that is not there. */

typedef VEC NAME(tile)[STEPS][UNITS];
#define TILE NAME(tile)

/* One array seen from one block. `run`: how many lanes lie side by side in every group of so many: WIDTH, a half or
 * a quarter of it, or 1. */
typedef struct {
    T *base;
    int64_t time;
    int64_t offset[LANES];
    int run[UNITS];
} NAME(view);
#define VIEW NAME(view)

SHARED void NAME(bind)(VIEW *view, const problem_t *problem, const array_t *array, int64_t first, int64_t valid,
                       int64_t element) {
    view->base = array->data;
    view->time = array->time;
    if (!array->data) return;
    for (int64_t l = 0; l < LANES; l++) view->offset[l] = lane_offset(problem, array, first + l % valid);
    for (int u = 0; u < UNITS; u++) {
        int run = WIDTH;
        for (int l = 1; l < WIDTH; l++)
            while (l % run && view->offset[u * WIDTH + l] - view->offset[u * WIDTH + l - 1] != element) run /= 2;
        view->run[u] = run < WIDTH / 4 ? 1 : run;
    }
}

/* n vectors as one row of numbers, of which each number's place is turned left by so many binary digits: STEPS numbers
 * of each of WIDTH lanes become WIDTH numbers of each of STEPS sites, and the other way round. */
INLINE void NAME(turn)(VEC v[STEPS], const int digits) {
    for (int digit = 0; digit < digits; digit++) {
        VEC next[STEPS];
        for (int n = 0; n < STEPS / 2; n++) {
            next[2 * n] = SHUFFLE(v[n], v[n + STEPS / 2], LOW_PAIRS);
            next[2 * n + 1] = SHUFFLE(v[n], v[n + STEPS / 2], HIGH_PAIRS);
        }
        memcpy(v, next, sizeof next);
    }
}

/* Asks for a tile that will be needed soon: a block reads more rows side by side than processors foresee by themselves.
 * Where sites are neighbours in memory, or lanes are not, nothing is done. */
SHARED void NAME(fetch)(const VIEW *view, int64_t start, int64_t element) {
    if (!view->base || !view->time || view->time == element) return;
    for (int u = 0; u < UNITS; u++) {
        if (view->run[u] == 1) continue;
        int64_t bytes = view->run[u] * element * (int64_t)sizeof(T);
        for (int l = 0; l < WIDTH; l += view->run[u])
            for (int t = 0; t < STEPS; t++) {
                const T *place = view->base + view->offset[u * WIDTH + l] + (start + t) * view->time;
                for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch((const char *)place + byte, 0, 2);
            }
    }
}

/* Copies between a tile and `run` lanes at a time; constant sizes, so that each copy is one instruction. */
#define COPY_RUNS(size, copy)                                      \
    for (int l = 0; l < WIDTH && l < lanes; l += (size))           \
        for (int t = 0; t < count; t++) {                          \
            copy                                                   \
        }
#define BY_RUN(run_, copy)                                         \
    if ((run_) == WIDTH) {                                         \
        enum { RUN = WIDTH };                                      \
        COPY_RUNS(RUN, copy)                                       \
    } else if (WIDTH > 2 && (run_) == WIDTH / 2) {                 \
        enum { RUN = WIDTH / 2 };                                  \
        COPY_RUNS(RUN, copy)                                       \
    } else if (WIDTH > 4 && (run_) == WIDTH / 4) {                 \
        enum { RUN = WIDTH / 4 };                                  \
        COPY_RUNS(RUN, copy)                                       \
    } else {                                                       \
        enum { RUN = 1 };                                          \
        COPY_RUNS(RUN, copy)                                       \
    }

/* `count` sites of a real array. */
SHARED void NAME(read)(const VIEW *view, int64_t start, int count, TILE rows) {
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH, lanes = WIDTH, time = view->time;
        const T *source = view->base + start * time;
        T *target = (T *)&rows[0][u];
        if (!time) {
            for (int l = 0; l < WIDTH; l++) target[l] = source[offset[l]];
            for (int t = 1; t < count; t++) rows[t][u] = rows[0][u];
        } else if (time == 1 && count == STEPS && view->run[u] < WIDTH) {
            VEC packed[STEPS];
            for (int l = 0; l < WIDTH; l++) memcpy((T *)packed + l * STEPS, source + offset[l], STEPS * sizeof(T));
            NAME(turn)(packed, LOG_WIDTH);
            for (int t = 0; t < STEPS; t++) rows[t][u] = packed[t];
        } else
            BY_RUN(view->run[u],
                   memcpy(target + t * LANES + l, source + offset[l] + t * time, RUN * sizeof(T));)
    }
}

/* `count` sites of a complex array, taken apart. */
SHARED void NAME(read_complex)(const VIEW *view, int64_t start, int count, TILE real, TILE imaginary) {
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH, lanes = WIDTH, time = view->time;
        const T *source = view->base + start * time;
        VEC packed[2 * STEPS], first[STEPS], second[STEPS];
        int by_lane = time == 2 && count == STEPS && view->run[u] < WIDTH;
        if (by_lane)
            for (int l = 0; l < WIDTH; l++)
                memcpy((T *)packed + 2 * l * STEPS, source + offset[l], 2 * STEPS * sizeof(T));
        else
            BY_RUN(view->run[u], memcpy((T *)packed + 2 * (t * WIDTH + l), source + offset[l] + t * time,
                                        2 * RUN * sizeof(T));)
        for (int t = 0; t < count; t++) NAME(split)((T *)(packed + 2 * t), first + t, second + t);
        if (by_lane) {
            NAME(turn)(first, LOG_WIDTH);
            NAME(turn)(second, LOG_WIDTH);
        }
        for (int t = 0; t < count; t++) {
            real[t][u] = first[t];
            imaginary[t][u] = second[t];
        }
    }
}

/* Lanes of vector u that are no repetitions. */
INLINE int64_t NAME(own_lanes)(int64_t valid, int u) {
    int64_t lanes = valid - u * WIDTH;
    return lanes < 0 ? 0 : lanes < WIDTH ? lanes : WIDTH;
}

SHARED void NAME(write)(const VIEW *view, int64_t start, int count, int64_t valid, TILE scratch) {
    if (!view->base) return;
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH, lanes = NAME(own_lanes)(valid, u), time = view->time;
        T *target = view->base + start * time;
        const T *source = (const T *)&scratch[0][u];
        if (time == 1 && count == STEPS && view->run[u] < WIDTH) {
            VEC packed[STEPS];
            for (int t = 0; t < STEPS; t++) packed[t] = scratch[t][u];
            NAME(turn)(packed, LOG_STEPS);
            for (int l = 0; l < lanes; l++) memcpy(target + offset[l], (T *)packed + l * STEPS, STEPS * sizeof(T));
        } else
            BY_RUN(lanes % view->run[u] ? 1 : view->run[u],
                   memcpy(target + offset[l] + t * time, source + t * LANES + l, RUN * sizeof(T));)
    }
}

SHARED void NAME(write_complex)(const VIEW *view, int64_t start, int count, int64_t valid, TILE real,
                                TILE imaginary) {
    if (!view->base) return;
    for (int u = 0; u < UNITS; u++) {
        const int64_t *offset = view->offset + u * WIDTH, lanes = NAME(own_lanes)(valid, u), time = view->time;
        T *target = view->base + start * time;
        VEC packed[2 * STEPS], first[STEPS], second[STEPS];
        int by_lane = time == 2 && count == STEPS && view->run[u] < WIDTH;
        for (int t = 0; t < count; t++) {
            first[t] = real[t][u];
            second[t] = imaginary[t][u];
        }
        if (by_lane) {
            NAME(turn)(first, LOG_STEPS);
            NAME(turn)(second, LOG_STEPS);
        }
        for (int t = 0; t < count; t++) NAME(pair)((T *)(packed + 2 * t), first[t], second[t]);
        if (by_lane)
            for (int l = 0; l < lanes; l++)
                memcpy(target + offset[l], (T *)packed + 2 * l * STEPS, 2 * STEPS * sizeof(T));
        else
            BY_RUN(lanes % view->run[u] ? 1 : view->run[u],
                   memcpy(target + offset[l] + t * time, (T *)packed + 2 * (t * WIDTH + l), 2 * RUN * sizeof(T));)
    }
}

/* Whether every value lies in [low, high]; false for NaN. Two rows at a time, so that comparisons need not wait. */
SHARED int NAME(within)(TILE rows, int count, T low, T high) {
    MASK even = ~(MASK){0}, odd = even;
    VEC lower = NAME(splat)(low), upper = NAME(splat)(high);
    for (int t = 0; t + 1 < count; t += 2)
        for (int u = 0; u < UNITS; u++) {
            even &= (rows[t][u] >= lower) & (rows[t][u] <= upper);
            odd &= (rows[t + 1][u] >= lower) & (rows[t + 1][u] <= upper);
        }
    if (count % 2)
        for (int u = 0; u < UNITS; u++) even &= (rows[count - 1][u] >= lower) & (rows[count - 1][u] <= upper);
    even &= odd;
    int all = 1;
    for (int l = 0; l < WIDTH; l++) all &= even[l] != 0;
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
