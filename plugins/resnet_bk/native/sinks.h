/* Where gradients with respect to site quantities go: one value a site, or, for an array that all sites of a
 * lane share, their sum. Sums are kept in double precision: a million float32 terms lose four digits otherwise. */

typedef struct {
    VIEW view;
    double sum[LANES];
} NAME(sink);
#define SINK NAME(sink)

SHARED void NAME(open)(SINK *sink, const problem_t *problem, const array_t *array, int64_t first, int64_t valid) {
    NAME(bind)(&sink->view, problem, array, first, valid, 1);
    for (int l = 0; l < LANES; l++) sink->sum[l] = 0;
}

/* Whether `put` would do anything. */
INLINE int NAME(wanted)(const SINK *sink) { return sink->view.base != 0; }

SHARED void NAME(put)(SINK *sink, int64_t start, int count, int64_t valid, TILE values) {
    if (!sink->view.base) return;
    if (sink->view.time) {
        NAME(write)(&sink->view, start, count, valid, values);
        return;
    }
    for (int u = 0; u < UNITS; u++) {
        VEC partial = {0};
        for (int t = 0; t < count; t++) partial += values[t][u];
        for (int l = 0; l < WIDTH; l++) sink->sum[u * WIDTH + l] += partial[l];
    }
}

/* Like `put`, on top of what an earlier sweep has put there. */
SHARED void NAME(put_more)(SINK *sink, int64_t start, int count, int64_t valid, TILE values) {
    if (sink->view.base && sink->view.time) {
        TILE scratch;
        NAME(read)(&sink->view, start, count, scratch);
        for (int u = 0; u < UNITS; u++)
            for (int t = 0; t < count; t++) values[t][u] += scratch[t][u];
    }
    NAME(put)(sink, start, count, valid, values);
}

/* Stores the sums; call once, after the last `put`. */
SHARED void NAME(close)(SINK *sink, int64_t valid) {
    if (!sink->view.base || sink->view.time) return;
    for (int l = 0; l < valid; l++) sink->view.base[sink->view.offset[l]] = (T)sink->sum[l];
}

#define NEGATED(target, source, count)              \
    for (int u_ = 0; u_ < UNITS; u_++)              \
        for (int t_ = 0; t_ < (count); t_++) target[t_][u_] = -source[t_][u_]
