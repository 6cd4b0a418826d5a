/* The gated matrix state  R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T,  o_i = q_i^T Re R_i,  and its exact gradient.
 *
 * The value channels lie along the vectors. A few rows of the state stay in registers while a chunk of sites goes
 * by. The forward pass can store the state before each chunk; the backward pass computes the states inside again.
 *
 * forward   0 queries, 1 keys, 2 values, 3 alpha, 4 beta, 5 initial state; results 6 outputs, 7 last state,
 *           8 states before each chunk, contiguous as [lane][chunk][real, imaginary][key][value]
 * backward  0 queries, 1 keys, 2 values, 3 alpha, 4 beta, 5 states before each chunk, 6 cotangent of the outputs,
 *           7 of the last state; results 8 queries, 9 keys, 10 values, 11 alpha, 12 beta, 13 initial state */

#define ROWS_HELD 4
#define VECTORS_HELD 2

/* The arrays of one lane, packed: rows of keys and values padded with zeros to whole blocks. */
typedef struct {
    int64_t keys, values, vectors, chunk; /* padded keys; values and vectors in a padded row; sites in a chunk */
    int parts;                            /* 2 with complex gates */
    VEC *state[2], *cotangent[2];         /* [keys][vectors] */
    VEC *v, *o, *o_hat, *v_hat;           /* [chunk][vectors] */
    T *q, *k, *q_hat, *k_hat;             /* [chunk][keys] */
    T *alpha[2], *alpha_hat[2], *root;    /* [chunk] */
    VEC *history[2];                      /* [chunk + 1][ROWS_HELD][VECTORS_HELD] */
    void *memory;
} NAME(lane);
#define LANE NAME(lane)

static int NAME(prepare)(LANE *lane, const problem_t *problem, int backward) {
    lane->keys = (problem->keys + ROWS_HELD - 1) / ROWS_HELD * ROWS_HELD;
    lane->vectors = (problem->values + WIDTH - 1) / WIDTH;
    lane->values = problem->values;
    lane->chunk = problem->chunk;
    lane->parts = problem->complex_phase ? 2 : 1;
    int64_t state = lane->keys * lane->vectors, wide = lane->chunk * lane->vectors;
    int64_t narrow = (lane->chunk * lane->keys + WIDTH - 1) / WIDTH, thin = (lane->chunk + WIDTH - 1) / WIDTH;
    int64_t history = (lane->chunk + 1) * ROWS_HELD * VECTORS_HELD;
    int64_t total = (backward ? 4 : 2) * state + (backward ? 4 : 2) * wide + (backward ? 4 : 2) * narrow + 5 * thin +
                    (backward ? 2 * history : 0);
    VEC *next = lane->memory = allocate(total * sizeof(VEC));
    if (!next) return 0;
    memset(next, 0, total * sizeof(VEC));
#define TAKE(field, size) (lane->field = (void *)next, next += (size))
    TAKE(state[0], state), TAKE(state[1], state), TAKE(v, wide), TAKE(o, wide), TAKE(q, narrow), TAKE(k, narrow);
    TAKE(alpha[0], thin), TAKE(alpha[1], thin), TAKE(root, thin);
    TAKE(alpha_hat[0], thin), TAKE(alpha_hat[1], thin);
    if (backward) {
        TAKE(cotangent[0], state), TAKE(cotangent[1], state), TAKE(o_hat, wide), TAKE(v_hat, wide);
        TAKE(q_hat, narrow), TAKE(k_hat, narrow), TAKE(history[0], history), TAKE(history[1], history);
    }
#undef TAKE
    return 1;
}

INLINE T *NAME(lane_data)(const problem_t *problem, const array_t *array, int64_t lane) {
    return (T *)array->data + lane_offset(problem, array, lane);
}

/* Sites of a channelled array to rows of `padded` numbers, and back. */
SHARED int NAME(pack)(T *target, int64_t padded, const T *source, const array_t *array, int64_t start, int64_t count,
                      int64_t channels, T limit) {
    int good = 1;
    for (int64_t t = 0; t < count; t++) {
        const T *site = source + (start + t) * array->time;
        T *row = target + t * padded;
        if (array->column == 1)
            for (int64_t j = 0; j < channels; j++) row[j] = site[j];
        else
            for (int64_t j = 0; j < channels; j++) row[j] = site[j * array->column];
        for (int64_t j = 0; j < channels; j++) good &= row[j] <= limit && row[j] >= -limit;
    }
    return good;
}

SHARED void NAME(unpack)(T *target, const array_t *array, int64_t start, int64_t count, int64_t channels,
                         const T *source, int64_t padded) {
    for (int64_t t = 0; t < count; t++) {
        T *site = target + (start + t) * array->time;
        const T *row = source + t * padded;
        if (array->column == 1)
            for (int64_t j = 0; j < channels; j++) site[j] = row[j];
        else
            for (int64_t j = 0; j < channels; j++) site[j * array->column] = row[j];
    }
}

/* A state between its padded form and a plain one; `part` 1 is the imaginary part. */
SHARED void NAME(load_state)(LANE *lane, VEC *state, const T *source, int64_t keys, int64_t row, int64_t column) {
    for (int64_t j = 0; j < keys; j++)
        for (int64_t p = 0; p < lane->values; p++)
            ((T *)(state + j * lane->vectors))[p] = source[j * row + p * column];
}

SHARED void NAME(save_state)(const LANE *lane, const VEC *state, T *target, int64_t keys, int64_t row, int64_t column) {
    for (int64_t j = 0; j < keys; j++)
        for (int64_t p = 0; p < lane->values; p++)
            target[j * row + p * column] = ((const T *)(state + j * lane->vectors))[p];
}

/* Reads a chunk of a lane; the keys take the root of beta. Gives a bit for each array with a value it can't use. */
static int64_t NAME(read_chunk)(LANE *lane, const problem_t *problem, const array_t *arrays, int64_t index,
                                int64_t start, int64_t count) {
    const T *alpha = NAME(lane_data)(problem, arrays + 3, index) + start * arrays[3].time;
    const T *beta = NAME(lane_data)(problem, arrays + 4, index) + start * arrays[4].time;
    int64_t bad = 0;
    bad |= (int64_t)!NAME(pack)(lane->q, lane->keys, NAME(lane_data)(problem, arrays, index), arrays, start, count,
                                problem->keys, LARGEST);
    bad |= (int64_t)!NAME(pack)(lane->k, lane->keys, NAME(lane_data)(problem, arrays + 1, index), arrays + 1, start,
                                count, problem->keys, LARGEST) << 1;
    bad |= (int64_t)!NAME(pack)((T *)lane->v, lane->vectors * WIDTH, NAME(lane_data)(problem, arrays + 2, index),
                                arrays + 2, start, count, problem->values, LARGEST) << 2;
    for (int64_t t = 0; t < count; t++) {
        T re = alpha[t * arrays[3].time], im = lane->parts == 2 ? alpha[t * arrays[3].time + 1] : 0;
        T share = beta[t * arrays[4].time];
        bad |= (int64_t)!(re <= LARGEST && re >= -LARGEST && im <= LARGEST && im >= -LARGEST) << 3;
        bad |= (int64_t)!(share > 0 && share <= LARGEST) << 4;
        lane->alpha[0][t] = re;
        lane->alpha[1][t] = im;
        lane->root[t] = NAME(scalar_root)(share);
        for (int64_t j = 0; j < lane->keys; j++) lane->k[t * lane->keys + j] *= lane->root[t];
    }
    return bad;
}

/* ROWS_HELD rows and `held` vectors of the state go through a chunk; their states are kept, or outputs added up. */
INLINE void NAME(advance)(LANE *lane, int64_t key, int64_t vector, int64_t count, const int held, const int parts,
                          const int keep) {
    VEC re[ROWS_HELD][VECTORS_HELD], im[ROWS_HELD][VECTORS_HELD];
    VEC *state_r = lane->state[0] + key * lane->vectors + vector;
    VEC *state_i = lane->state[1] + key * lane->vectors + vector;
    for (int j = 0; j < ROWS_HELD; j++)
        for (int p = 0; p < held; p++) {
            re[j][p] = state_r[j * lane->vectors + p];
            if (parts == 2) im[j][p] = state_i[j * lane->vectors + p];
        }
    for (int64_t t = 0; t < count; t++) {
        const T *k = lane->k + t * lane->keys + key, *q = lane->q + t * lane->keys + key;
        VEC ar = NAME(splat)(lane->alpha[0][t]), ai = NAME(splat)(lane->alpha[1][t]);
        for (int p = 0; p < held; p++) {
            VEC v = lane->v[t * lane->vectors + vector + p], sum = {0};
            for (int j = 0; j < ROWS_HELD; j++) {
                VEC before = re[j][p];
                if (keep) {
                    lane->history[0][(t * ROWS_HELD + j) * VECTORS_HELD + p] = before;
                    if (parts == 2) lane->history[1][(t * ROWS_HELD + j) * VECTORS_HELD + p] = im[j][p];
                }
                re[j][p] = ar * before + k[j] * v;
                if (parts == 2) {
                    re[j][p] -= ai * im[j][p];
                    im[j][p] = ar * im[j][p] + ai * before;
                }
                sum += q[j] * re[j][p];
            }
            if (!keep) lane->o[t * lane->vectors + vector + p] += sum;
        }
    }
    for (int j = 0; j < ROWS_HELD; j++)
        for (int p = 0; p < held; p++) {
            if (keep) {
                lane->history[0][(count * ROWS_HELD + j) * VECTORS_HELD + p] = re[j][p];
                continue;
            }
            state_r[j * lane->vectors + p] = re[j][p];
            if (parts == 2) state_i[j * lane->vectors + p] = im[j][p];
        }
}

/* The way back through a chunk for the same rows and vectors. */
INLINE void NAME(retreat)(LANE *lane, int64_t key, int64_t vector, int64_t count, const int held, const int parts) {
    VEC re[ROWS_HELD][VECTORS_HELD], im[ROWS_HELD][VECTORS_HELD];
    VEC *cot_r = lane->cotangent[0] + key * lane->vectors + vector;
    VEC *cot_i = lane->cotangent[1] + key * lane->vectors + vector;
    for (int j = 0; j < ROWS_HELD; j++)
        for (int p = 0; p < held; p++) {
            re[j][p] = cot_r[j * lane->vectors + p];
            if (parts == 2) im[j][p] = cot_i[j * lane->vectors + p];
        }
    for (int64_t t = count - 1; t >= 0; t--) {
        const T *k = lane->k + t * lane->keys + key, *q = lane->q + t * lane->keys + key;
        const VEC *before_r = lane->history[0] + t * ROWS_HELD * VECTORS_HELD;
        const VEC *before_i = lane->history[1] + t * ROWS_HELD * VECTORS_HELD;
        const VEC *after_r = before_r + ROWS_HELD * VECTORS_HELD;
        VEC ar = NAME(splat)(lane->alpha[0][t]), ai = NAME(splat)(lane->alpha[1][t]);
        VEC alpha_r = {0}, alpha_i = {0}, sums[2 * ROWS_HELD] = {{0}};
        for (int p = 0; p < held; p++) {
            int64_t place = t * lane->vectors + vector + p;
            VEC v = lane->v[place], o_hat = lane->o_hat[place], v_hat = lane->v_hat[place];
            for (int j = 0; j < ROWS_HELD; j++) {
                VEC state = before_r[j * VECTORS_HELD + p];
                re[j][p] += q[j] * o_hat;
                sums[2 * j] += re[j][p] * v;
                sums[2 * j + 1] += after_r[j * VECTORS_HELD + p] * o_hat;
                v_hat += k[j] * re[j][p];
                alpha_r += state * re[j][p];
                if (parts == 2) {
                    VEC state_i = before_i[j * VECTORS_HELD + p], cotangent = re[j][p];
                    alpha_r += state_i * im[j][p];
                    alpha_i += state * im[j][p] - state_i * cotangent;
                    re[j][p] = ar * cotangent + ai * im[j][p];
                    im[j][p] = ar * im[j][p] - ai * cotangent;
                } else
                    re[j][p] *= ar;
            }
            lane->v_hat[place] = v_hat;
        }
        T both[2 * ROWS_HELD];
        NAME(totals)(sums, both);
        for (int j = 0; j < ROWS_HELD; j++) {
            lane->k_hat[t * lane->keys + key + j] += both[2 * j];
            lane->q_hat[t * lane->keys + key + j] += both[2 * j + 1];
        }
        lane->alpha_hat[0][t] += NAME(total)(alpha_r);
        if (parts == 2) lane->alpha_hat[1][t] += NAME(total)(alpha_i);
    }
    for (int j = 0; j < ROWS_HELD; j++)
        for (int p = 0; p < held; p++) {
            cot_r[j * lane->vectors + p] = re[j][p];
            if (parts == 2) cot_i[j * lane->vectors + p] = im[j][p];
        }
}

/* All blocks of the state, with the sizes as constants so that they stay in registers. */
#define FOR_BLOCKS(lane, body)                                                    \
    for (int64_t key = 0; key < (lane)->keys; key += ROWS_HELD)                   \
        for (int64_t vector = 0, held; vector < (lane)->vectors; vector += held) { \
            held = (lane)->vectors - vector >= VECTORS_HELD ? VECTORS_HELD : 1;   \
            body                                                                  \
        }
#define WITH_CONSTANTS(lane, call, ...)                                       \
    if ((lane)->parts == 2) {                                                 \
        if (held == 2) call(lane, key, vector, count, 2, 2 __VA_ARGS__);      \
        else call(lane, key, vector, count, 1, 2 __VA_ARGS__);                \
    } else {                                                                  \
        if (held == 2) call(lane, key, vector, count, 2, 1 __VA_ARGS__);      \
        else call(lane, key, vector, count, 1, 1 __VA_ARGS__);                \
    }

static int64_t NAME(state_lane)(const problem_t *problem, const array_t *arrays, int64_t index) {
    LANE lane;
    if (!NAME(prepare)(&lane, problem, 0)) return OUT_OF_MEMORY;
    const array_t *initial = arrays + 5, *last = arrays + 7;
    if (initial->data)
        for (int part = 0; part < lane.parts; part++)
            NAME(load_state)(&lane, lane.state[part], NAME(lane_data)(problem, initial, index) + part, problem->keys,
                             initial->row, initial->column);
    T *stored = arrays[8].data;
    int64_t chunks = (problem->length + lane.chunk - 1) / lane.chunk, size = problem->keys * problem->values;
    int64_t bad = 0;
    for (int64_t start = 0; start < problem->length; start += lane.chunk) {
        int64_t count = problem->length - start < lane.chunk ? problem->length - start : lane.chunk;
        if (stored)
            for (int part = 0; part < lane.parts; part++)
                NAME(save_state)(&lane, lane.state[part],
                                 stored + ((index * chunks + start / lane.chunk) * lane.parts + part) * size,
                                 problem->keys, problem->values, 1);
        bad |= NAME(read_chunk)(&lane, problem, arrays, index, start, count);
        memset(lane.o, 0, count * lane.vectors * sizeof(VEC));
        FOR_BLOCKS(&lane, WITH_CONSTANTS(&lane, NAME(advance), , 0))
        NAME(unpack)(NAME(lane_data)(problem, arrays + 6, index), arrays + 6, start, count, problem->values,
                     (T *)lane.o, lane.vectors * WIDTH);
    }
    for (int part = 0; part < lane.parts; part++)
        NAME(save_state)(&lane, lane.state[part], NAME(lane_data)(problem, last, index) + part, problem->keys,
                         last->row, last->column);
    free(lane.memory);
    return bad;
}

/* Stores what a chunk gave; the gradient of the scaled keys becomes those of keys and beta. */
static void NAME(write_gradients)(LANE *lane, const problem_t *problem, const array_t *arrays, int64_t index,
                                  int64_t start, int64_t count) {
    T *alpha = NAME(lane_data)(problem, arrays + 11, index) + start * arrays[11].time;
    T *beta = NAME(lane_data)(problem, arrays + 12, index) + start * arrays[12].time;
    for (int64_t t = 0; t < count; t++) {
        T sum = 0, root = lane->root[t];
        for (int64_t j = 0; j < problem->keys; j++) {
            sum += lane->k_hat[t * lane->keys + j] * lane->k[t * lane->keys + j];
            lane->k_hat[t * lane->keys + j] *= root;
        }
        beta[t * arrays[12].time] = sum / (2 * root * root);
        alpha[t * arrays[11].time] = lane->alpha_hat[0][t];
        if (lane->parts == 2) alpha[t * arrays[11].time + 1] = lane->alpha_hat[1][t];
    }
    NAME(unpack)(NAME(lane_data)(problem, arrays + 8, index), arrays + 8, start, count, problem->keys, lane->q_hat,
                 lane->keys);
    NAME(unpack)(NAME(lane_data)(problem, arrays + 9, index), arrays + 9, start, count, problem->keys, lane->k_hat,
                 lane->keys);
    NAME(unpack)(NAME(lane_data)(problem, arrays + 10, index), arrays + 10, start, count, problem->values,
                 (T *)lane->v_hat, lane->vectors * WIDTH);
}

static int64_t NAME(state_backward_lane)(const problem_t *problem, const array_t *arrays, int64_t index) {
    LANE lane;
    if (!NAME(prepare)(&lane, problem, 1)) return OUT_OF_MEMORY;
    const array_t *last = arrays + 7, *initial = arrays + 13;
    if (last->data)
        for (int part = 0; part < lane.parts; part++)
            NAME(load_state)(&lane, lane.cotangent[part], NAME(lane_data)(problem, last, index) + part, problem->keys,
                             last->row, last->column);
    const T *stored = arrays[5].data;
    int64_t chunks = (problem->length + lane.chunk - 1) / lane.chunk, size = problem->keys * problem->values;
    for (int64_t number = chunks - 1; number >= 0; number--) {
        int64_t start = number * lane.chunk;
        int64_t count = problem->length - start < lane.chunk ? problem->length - start : lane.chunk;
        for (int part = 0; part < lane.parts; part++)
            NAME(load_state)(&lane, lane.state[part], stored + ((index * chunks + number) * lane.parts + part) * size,
                             problem->keys, problem->values, 1);
        NAME(read_chunk)(&lane, problem, arrays, index, start, count);
        NAME(pack)((T *)lane.o_hat, lane.vectors * WIDTH, NAME(lane_data)(problem, arrays + 6, index), arrays + 6,
                   start, count, problem->values, LARGEST);
        memset(lane.v_hat, 0, count * lane.vectors * sizeof(VEC));
        memset(lane.q_hat, 0, count * lane.keys * sizeof(T));
        memset(lane.k_hat, 0, count * lane.keys * sizeof(T));
        memset(lane.alpha_hat[0], 0, count * sizeof(T));
        memset(lane.alpha_hat[1], 0, count * sizeof(T));
        FOR_BLOCKS(&lane, WITH_CONSTANTS(&lane, NAME(advance), , 1) WITH_CONSTANTS(&lane, NAME(retreat)))
        NAME(write_gradients)(&lane, problem, arrays, index, start, count);
    }
    if (initial->data)
        for (int part = 0; part < lane.parts; part++)
            NAME(save_state)(&lane, lane.cotangent[part], NAME(lane_data)(problem, initial, index) + part,
                             problem->keys, initial->row, initial->column);
    free(lane.memory);
    return 0;
}
