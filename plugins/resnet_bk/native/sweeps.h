/* A matrix state going through a chunk of sites, some of its rows in registers, its columns along the vectors:
 *
 *     forward    A = alpha_t A + row_t lane_t^T,   result_t = A^T weight_t
 *     backward   A = A + row_t lane_t^T,           result_t = A^T weight_t,   then A = alpha_t A
 *
 * Rows are keys and lanes values, or the other way round: whatever a sum over rows gives needs no sum inside a vector. */

#if defined(__AVX512F__)
#define HELD 16
#else
#define HELD 8
#endif
#define FEW 4
#define UNROLLED _Pragma("GCC unroll 16")
/* Rows of numbers are padded with zeros to whole vectors and to whole blocks of rows. */
#define PADDING (WIDTH < FEW ? FEW : WIDTH)
#define PADDED(count) (((count) + PADDING - 1) / PADDING * PADDING)

/* What goes into a sweep and comes out of it: numbers of the first site, and how many there are from site to site. */
typedef struct {
    const T *rows, *lanes, *weights, *alpha;
    T *results;
    int64_t rows_step, lanes_step, weights_step, results_step;
    int64_t row_count, lane_count, count; /* padded rows and lanes; sites */
    VEC *history;                         /* [count][HELD]: the block before each site; NULL: not kept, nor read */
    VEC *gate;                            /* [count]: where the backward sweep adds up A times the history */
} NAME(sweep);
#define SWEEP NAME(sweep)

INLINE void NAME(block_forward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane, const int held, const int keep) {
    VEC a[HELD];
    UNROLLED
    for (int j = 0; j < held; j++) a[j] = *(PACKED *)(state + (row + j) * sweep->lane_count + lane);
    for (int64_t t = 0; t < sweep->count; t++) {
        const T *rows = sweep->rows + t * sweep->rows_step + row;
        const T *weights = sweep->weights + t * sweep->weights_step + row;
        PACKED *result = (PACKED *)(sweep->results + t * sweep->results_step + lane);
        VEC gate = NAME(splat)(sweep->alpha[t]), x = *(const PACKED *)(sweep->lanes + t * sweep->lanes_step + lane);
        VEC even = {0}, odd = {0};
        UNROLLED
        for (int j = 0; j < held; j++) {
            if (keep) sweep->history[t * HELD + j] = a[j];
            a[j] = gate * a[j] + rows[j] * x;
            if (j % 2) odd += weights[j] * a[j];
            else even += weights[j] * a[j];
        }
        if (row) *result += even + odd;
        else *result = even + odd;
    }
    UNROLLED
    for (int j = 0; j < held; j++) *(PACKED *)(state + (row + j) * sweep->lane_count + lane) = a[j];
}

INLINE void NAME(block_backward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane, const int held, const int kept) {
    VEC a[HELD];
    UNROLLED
    for (int j = 0; j < held; j++) a[j] = *(PACKED *)(state + (row + j) * sweep->lane_count + lane);
    for (int64_t t = sweep->count - 1; t >= 0; t--) {
        const T *rows = sweep->rows + t * sweep->rows_step + row;
        const T *weights = sweep->weights + t * sweep->weights_step + row;
        PACKED *result = (PACKED *)(sweep->results + t * sweep->results_step + lane);
        VEC gate = NAME(splat)(sweep->alpha[t]), x = *(const PACKED *)(sweep->lanes + t * sweep->lanes_step + lane);
        VEC even = {0}, odd = {0}, even_gate = {0}, odd_gate = {0};
        UNROLLED
        for (int j = 0; j < held; j++) {
            a[j] += rows[j] * x;
            if (j % 2) odd += weights[j] * a[j];
            else even += weights[j] * a[j];
            if (kept && j % 2) odd_gate += sweep->history[t * HELD + j] * a[j];
            else if (kept) even_gate += sweep->history[t * HELD + j] * a[j];
            a[j] *= gate;
        }
        if (row) *result += even + odd;
        else *result = even + odd;
        if (kept) sweep->gate[t] += even_gate + odd_gate;
    }
    UNROLLED
    for (int j = 0; j < held; j++) *(PACKED *)(state + (row + j) * sweep->lane_count + lane) = a[j];
}

/* The sizes as constants, so that a block stays in registers. */
SHARED void NAME(many_forward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane) {
    if (sweep->history) NAME(block_forward)(sweep, state, row, lane, HELD, 1);
    else NAME(block_forward)(sweep, state, row, lane, HELD, 0);
}

SHARED void NAME(few_forward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane) {
    if (sweep->history) NAME(block_forward)(sweep, state, row, lane, FEW, 1);
    else NAME(block_forward)(sweep, state, row, lane, FEW, 0);
}

SHARED void NAME(many_backward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane) {
    if (sweep->history) NAME(block_backward)(sweep, state, row, lane, HELD, 1);
    else NAME(block_backward)(sweep, state, row, lane, HELD, 0);
}

SHARED void NAME(few_backward)(const SWEEP *sweep, T *state, int64_t row, int64_t lane) {
    if (sweep->history) NAME(block_backward)(sweep, state, row, lane, FEW, 1);
    else NAME(block_backward)(sweep, state, row, lane, FEW, 0);
}

/* The whole state: [row_count][lane_count]. With a backward sweep, the history that a block leaves is used at once. */
INLINE void NAME(sweep_state)(const SWEEP *forward, T *state, const SWEEP *backward, T *cotangent) {
    const SWEEP *any = forward ? forward : backward;
    for (int64_t lane = 0; lane < any->lane_count; lane += WIDTH)
        for (int64_t row = 0, held; row < any->row_count; row += held) {
            held = any->row_count - row >= HELD ? HELD : FEW;
            if (forward) (held == HELD ? NAME(many_forward) : NAME(few_forward))(forward, state, row, lane);
            if (backward) (held == HELD ? NAME(many_backward) : NAME(few_backward))(backward, cotangent, row, lane);
        }
}
