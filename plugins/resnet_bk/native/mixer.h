/* All of a layer between its two projections, in one pass over memory: the causal convolution with silu, the gated matrix
 * state that it feeds, and the output gate.
 *
 *     q, k, v = silu(conv(t)), q scaled by keys^-1/2
 *     R_i = alpha_i R_{i-1} + sqrt(beta_i) k_i v_i^T,   read_i = R_i^T q_i + skip v_i,   out_i = read_i silu(gate_i)
 *
 * The leading dimensions are 1, texts and heads. The projected numbers of a token lie side by side: queries of all
 * heads, their keys, their values, their gates; the channels of the convolution are the first three.
 *
 * forward   0 projected, 1 window before it, 2 taps [channel][tap], 3 bias, 4 skip, 5 alpha, 6 beta, 7 initial state;
 *           results 8 outputs, 9 read, 10 last state, 11 states before each chunk, contiguous as
 *           [lane][chunk][key][value]
 * 0 to 4, 8 and 9 are contiguous; 1, 7, 9 and 11 can be absent. The backward pass is in `mixer_gradient.h`. */

/* The arrays of one task: some heads of one text. What comes from memory and what goes there is copied for all heads of
 * a chunk at once, so that whole tokens are read and written in the order in which they lie there. A packed row holds the queries, keys and values of one head at one
 * site, each padded. */
typedef struct {
    int64_t text, first, heads;        /* which heads */
    int64_t channels, columns;         /* of the convolution, and of a projected token */
    int64_t keys, values, row, before; /* padded; numbers in a packed row; sites before a chunk that it reads */
    T scale;
    T *taps;                 /* [head][taps + 1][row], the bias last */
    T *skip;                 /* [head][values] */
    T *state;                /* [head][keys][values] */
    T *inputs;               /* [head][before + chunk][row] */
    T *gate, *read;          /* [head][chunk][values] */
    T *mixed, *slope;        /* [chunk][row]: after silu and scaled, and its derivative */
    T *alpha, *share, *root; /* [chunk] */
} NAME(mixer);
#define MIXER NAME(mixer)

/* Hands out memory piece by piece in whole vectors; with base NULL it only counts. */
typedef struct {
    char *base;
    int64_t used;
} NAME(arena);
#define ARENA NAME(arena)

INLINE void *NAME(take)(ARENA *arena, int64_t bytes) {
    void *piece = arena->base ? arena->base + arena->used : 0;
    arena->used += (bytes + 63) / 64 * 64;
    return piece;
}

SHARED void NAME(place_mixer)(MIXER *mixer, const problem_t *problem, ARENA *arena) {
    int64_t chunk = problem->chunk, heads = mixer->heads, size = sizeof(T);
    mixer->taps = NAME(take)(arena, heads * (problem->taps + 1) * mixer->row * size);
    mixer->skip = NAME(take)(arena, heads * mixer->values * size);
    mixer->state = NAME(take)(arena, heads * mixer->keys * mixer->values * size);
    mixer->inputs = NAME(take)(arena, heads * (mixer->before + chunk) * mixer->row * size);
    mixer->gate = NAME(take)(arena, heads * chunk * mixer->values * size);
    mixer->read = NAME(take)(arena, heads * chunk * mixer->values * size);
    mixer->mixed = NAME(take)(arena, chunk * mixer->row * size);
    mixer->slope = NAME(take)(arena, chunk * mixer->row * size);
    mixer->alpha = NAME(take)(arena, chunk * size);
    mixer->share = NAME(take)(arena, chunk * size);
    mixer->root = NAME(take)(arena, chunk * size);
}

/* The sizes of a task. Heads are computed together where there are enough texts for all threads: then a token's numbers
 * are read from memory as they lie. */
SHARED void NAME(size_mixer)(MIXER *mixer, const problem_t *problem, int64_t task, int64_t together) {
    int64_t groups = problem->shape[2] / together;
    mixer->text = task / groups;
    mixer->first = task % groups * together;
    mixer->heads = together;
    mixer->channels = problem->shape[2] * (2 * problem->keys + problem->values);
    mixer->columns = mixer->channels + problem->shape[2] * problem->values;
    mixer->keys = PADDED(problem->keys);
    mixer->values = PADDED(problem->values);
    mixer->row = 2 * mixer->keys + mixer->values;
    mixer->before = problem->taps - 1;
    mixer->scale = 1 / NAME(scalar_root)((T)problem->keys);
}

INLINE void NAME(copy)(T *restrict target, const T *restrict source, int64_t count) {
    int64_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) *(PACKED *)(target + i) = *(const PACKED *)(source + i);
    for (; i < count; i++) target[i] = source[i];
}

/* Where the queries, keys and values of a head begin among the channels. */
INLINE void NAME(parts_of)(const problem_t *problem, int64_t head, int64_t at[3]) {
    int64_t heads = problem->shape[2];
    at[0] = head * problem->keys;
    at[1] = (heads + head) * problem->keys;
    at[2] = 2 * heads * problem->keys + head * problem->values;
}

INLINE void NAME(pack_row)(const MIXER *mixer, const problem_t *problem, const int64_t at[3], T *row, const T *channels) {
    NAME(copy)(row, channels + at[0], problem->keys);
    NAME(copy)(row + mixer->keys, channels + at[1], problem->keys);
    NAME(copy)(row + 2 * mixer->keys, channels + at[2], problem->values);
}

INLINE void NAME(unpack_row)(const MIXER *mixer, const problem_t *problem, const int64_t at[3], T *channels,
                             const T *row) {
    NAME(copy)(channels + at[0], row, problem->keys);
    NAME(copy)(channels + at[1], row + mixer->keys, problem->keys);
    NAME(copy)(channels + at[2], row + 2 * mixer->keys, problem->values);
}

/* The channel that a number of a packed row belongs to; -1 for padding. */
INLINE int64_t NAME(channel_at)(const MIXER *mixer, const problem_t *problem, const int64_t at[3], int64_t place) {
    int part = place < mixer->keys ? 0 : place < 2 * mixer->keys ? 1 : 2;
    int64_t inside = place - part * mixer->keys, width = part == 2 ? problem->values : problem->keys;
    return inside < width ? at[part] + inside : -1;
}

/* The values of all heads of a task at one site, from where they lie side by side, and back. */
INLINE void NAME(spread)(const MIXER *mixer, const problem_t *problem, T *all, int64_t t, const T *source) {
    for (int64_t h = 0; h < mixer->heads; h++)
        NAME(copy)(all + (h * problem->chunk + t) * mixer->values, source + (mixer->first + h) * problem->values,
                   problem->values);
}

INLINE void NAME(gather)(const MIXER *mixer, const problem_t *problem, T *target, int64_t t, const T *all) {
    for (int64_t h = 0; h < mixer->heads; h++)
        NAME(copy)(target + (mixer->first + h) * problem->values, all + (h * problem->chunk + t) * mixer->values,
                   problem->values);
}

SHARED void NAME(pack_weights)(MIXER *mixer, const problem_t *problem, const array_t *arrays) {
    const T *taps = arrays[2].data, *bias = arrays[3].data, *skip = arrays[4].data;
    int64_t at[3];
    for (int64_t h = 0; h < mixer->heads; h++) {
        T *packed = mixer->taps + h * (problem->taps + 1) * mixer->row;
        NAME(parts_of)(problem, mixer->first + h, at);
        for (int64_t place = 0; place < mixer->row; place++) {
            int64_t channel = NAME(channel_at)(mixer, problem, at, place);
            if (channel < 0) continue;
            for (int64_t tap = 0; tap < problem->taps; tap++)
                packed[tap * mixer->row + place] = taps[channel * problem->taps + tap];
            packed[problem->taps * mixer->row + place] = bias[channel];
        }
        NAME(copy)(mixer->skip + h * mixer->values, skip + (mixer->first + h) * problem->values, problem->values);
    }
}

/* The packed inputs of a head, and its gates or what it read. */
INLINE T *NAME(inputs_of)(const MIXER *mixer, const problem_t *problem, int64_t h) {
    return mixer->inputs + h * (mixer->before + problem->chunk) * mixer->row;
}

INLINE T *NAME(wide_of)(const MIXER *mixer, const problem_t *problem, T *all, int64_t h) {
    return all + h * problem->chunk * mixer->values;
}

/* The inputs of a chunk and those before it: of the text, of the window, or zeros; and the gates. */
SHARED void NAME(read_inputs)(MIXER *mixer, const problem_t *problem, const array_t *arrays, int64_t start,
                              int64_t count) {
    const T *text = (const T *)arrays[0].data + mixer->text * problem->length * mixer->columns;
    const T *window = arrays[1].data;
    if (window) window += mixer->text * mixer->before * mixer->channels;
    for (int64_t e = 0; e < mixer->before + count; e++) {
        int64_t site = start - mixer->before + e, at[3];
        const T *source = text + site * mixer->columns;
        if (site < 0) source = window ? window + (mixer->before + site) * mixer->channels : 0;
        for (int64_t h = 0; h < mixer->heads; h++) {
            T *row = NAME(inputs_of)(mixer, problem, h) + e * mixer->row;
            NAME(parts_of)(problem, mixer->first + h, at);
            if (source) NAME(pack_row)(mixer, problem, at, row, source);
            else memset(row, 0, mixer->row * sizeof(T));
        }
        if (e >= mixer->before)
            NAME(spread)(mixer, problem, mixer->gate, e - mixer->before, source + mixer->channels);
    }
}

/* x sigmoid(x), and its derivative. */
INLINE VEC NAME(silu_of)(VEC x, VEC *slope) {
    VEC share = NAME(reciprocal)(1 + NAME(exponential)(-x)), result = x * share;
    *slope = share + result * (1 - share);
    return result;
}

/* The convolution and silu of one vector of channels through a chunk; gives 0 if all of it is finite, or NaN. */
INLINE T NAME(convolve_column)(MIXER *mixer, const T *taps, const T *all, int64_t place, int64_t count, T scale,
                               int64_t number, int slopes) {
    VEC bias = *(const PACKED *)(taps + number * mixer->row + place), check = {0};
    for (int64_t t = 0; t < count; t++) {
        const T *inputs = all + t * mixer->row + place;
        VEC sum = bias, slope;
        for (int64_t tap = 0; tap < number; tap++)
            sum += *(const PACKED *)(taps + tap * mixer->row + place) * *(const PACKED *)(inputs + tap * mixer->row);
        VEC value = scale * NAME(silu_of)(sum, &slope);
        check += (T)0 * value;
        *(PACKED *)(mixer->mixed + t * mixer->row + place) = value;
        if (slopes) *(PACKED *)(mixer->slope + t * mixer->row + place) = scale * slope;
    }
    return NAME(total)(check);
}

/* Queries, keys and values of a chunk; gives a bit for each with a value that is not finite. */
SHARED int64_t NAME(convolve_chunk)(MIXER *mixer, const problem_t *problem, int64_t h, int64_t count, int slopes) {
    const T *taps = mixer->taps + h * (problem->taps + 1) * mixer->row, *all = NAME(inputs_of)(mixer, problem, h);
    int64_t bad = 0;
    for (int64_t place = 0; place < mixer->row; place += WIDTH) {
        int part = place < mixer->keys ? 0 : place < 2 * mixer->keys ? 1 : 2;
        T scale = part ? 1 : mixer->scale, check;
        if (problem->taps == 4) /* the usual number, as a constant */
            check = slopes ? NAME(convolve_column)(mixer, taps, all, place, count, scale, 4, 1)
                           : NAME(convolve_column)(mixer, taps, all, place, count, scale, 4, 0);
        else
            check = NAME(convolve_column)(mixer, taps, all, place, count, scale, problem->taps, slopes);
        bad |= (int64_t)!(check == 0) << part;
    }
    return bad;
}

/* The gates of a chunk; the keys take the root of beta. Gives a bit for each array with a value it can't use. */
SHARED int64_t NAME(read_gates)(MIXER *mixer, const problem_t *problem, const array_t *arrays, int64_t head,
                                int64_t start, int64_t count) {
    int64_t lane = mixer->text * problem->shape[2] + head, bad = 0;
    const T *alpha = (T *)arrays[5].data + lane_offset(problem, arrays + 5, lane) + start * arrays[5].time;
    const T *beta = (T *)arrays[6].data + lane_offset(problem, arrays + 6, lane) + start * arrays[6].time;
    for (int64_t t = 0; t < count; t++) {
        T kept = mixer->alpha[t] = alpha[t * arrays[5].time], share = mixer->share[t] = beta[t * arrays[6].time];
        bad |= (int64_t)!(kept <= LARGEST && kept >= -LARGEST) << 3;
        bad |= (int64_t)!(share > 0 && share <= LARGEST) << 4;
        mixer->root[t] = NAME(scalar_root)(share);
        T *keys = mixer->mixed + t * mixer->row + mixer->keys;
        for (int64_t j = 0; j < mixer->keys; j += WIDTH) *(PACKED *)(keys + j) *= mixer->root[t];
    }
    return bad;
}

/* Adds the skip to what was read, and lets the gate through what it lets through. */
SHARED void NAME(apply_gate)(MIXER *mixer, const problem_t *problem, int64_t h, int64_t count) {
    T *reads = NAME(wide_of)(mixer, problem, mixer->read, h), *gates = NAME(wide_of)(mixer, problem, mixer->gate, h);
    const T *skip = mixer->skip + h * mixer->values;
    for (int64_t t = 0; t < count; t++) {
        T *read = reads + t * mixer->values, *gate = gates + t * mixer->values;
        const T *values = mixer->mixed + t * mixer->row + 2 * mixer->keys;
        for (int64_t p = 0; p < mixer->values; p += WIDTH) {
            VEC slope, sum = *(PACKED *)(read + p) + *(const PACKED *)(skip + p) * *(const PACKED *)(values + p);
            *(PACKED *)(read + p) = sum;
            *(PACKED *)(gate + p) = sum * NAME(silu_of)(*(PACKED *)(gate + p), &slope);
        }
    }
}

SHARED void NAME(write_outputs)(MIXER *mixer, const problem_t *problem, const array_t *arrays, int64_t start,
                                int64_t count) {
    int64_t width = problem->shape[2] * problem->values, place = (mixer->text * problem->length + start) * width;
    T *outputs = (T *)arrays[8].data + place, *kept = arrays[9].data ? (T *)arrays[9].data + place : 0;
    for (int64_t t = 0; t < count; t++) {
        NAME(gather)(mixer, problem, outputs + t * width, t, mixer->gate);
        if (kept) NAME(gather)(mixer, problem, kept + t * width, t, mixer->read);
    }
}

/* A state between its padded form and a plain one. */
INLINE void NAME(load_padded)(T *state, int64_t padded, const T *source, int64_t rows, int64_t columns, int64_t row,
                              int64_t column) {
    for (int64_t j = 0; j < rows; j++)
        for (int64_t p = 0; p < columns; p++) state[j * padded + p] = source[j * row + p * column];
}

INLINE void NAME(save_padded)(const T *state, int64_t padded, T *target, int64_t rows, int64_t columns, int64_t row,
                              int64_t column) {
    for (int64_t j = 0; j < rows; j++)
        for (int64_t p = 0; p < columns; p++) target[j * row + p * column] = state[j * padded + p];
}

/* One head through a chunk. */
SHARED int64_t NAME(mix_chunk)(MIXER *mixer, const problem_t *problem, const array_t *arrays, int64_t h, int64_t start,
                               int64_t count) {
    int64_t head = mixer->first + h, lane = mixer->text * problem->shape[2] + head;
    int64_t chunks = (problem->length + problem->chunk - 1) / problem->chunk, size = problem->keys * problem->values;
    T *state = mixer->state + h * mixer->keys * mixer->values, *stored = arrays[11].data;
    if (stored)
        NAME(save_padded)(state, mixer->values, stored + (lane * chunks + start / problem->chunk) * size, problem->keys,
                          problem->values, problem->values, 1);
    int64_t bad = NAME(convolve_chunk)(mixer, problem, h, count, 0);
    bad |= NAME(read_gates)(mixer, problem, arrays, head, start, count);
    const T *q = mixer->mixed, *k = q + mixer->keys, *v = k + mixer->keys;
    SWEEP sweep = {.rows = k, .lanes = v, .weights = q, .alpha = mixer->alpha, .results = NAME(wide_of)(mixer, problem, mixer->read, h),
                   .rows_step = mixer->row, .lanes_step = mixer->row, .weights_step = mixer->row,
                   .results_step = mixer->values, .row_count = mixer->keys, .lane_count = mixer->values, .count = count};
    NAME(sweep_state)(&sweep, state, 0, 0);
    NAME(apply_gate)(mixer, problem, h, count);
    return bad;
}

static int64_t NAME(mixer_task)(const problem_t *problem, const array_t *arrays, int64_t task, int64_t together) {
    MIXER mixer;
    ARENA arena = {0};
    NAME(size_mixer)(&mixer, problem, task, together);
    NAME(place_mixer)(&mixer, problem, &arena);
    if (!(arena.base = allocate(arena.used))) return OUT_OF_MEMORY;
    memset(arena.base, 0, arena.used);
    arena.used = 0;
    NAME(place_mixer)(&mixer, problem, &arena);
    NAME(pack_weights)(&mixer, problem, arrays);
    const array_t *initial = arrays + 7, *last = arrays + 10;
    int64_t lane = mixer.text * problem->shape[2] + mixer.first, size = mixer.keys * mixer.values, bad = 0;
    for (int64_t h = 0; h < mixer.heads && initial->data; h++)
        NAME(load_padded)(mixer.state + h * size, mixer.values,
                          (T *)initial->data + lane_offset(problem, initial, lane + h), problem->keys, problem->values,
                          initial->row, initial->column);
    for (int64_t start = 0; start < problem->length; start += problem->chunk) {
        int64_t left = problem->length - start, count = left < problem->chunk ? left : problem->chunk;
        NAME(read_inputs)(&mixer, problem, arrays, start, count);
        for (int64_t h = 0; h < mixer.heads; h++) bad |= NAME(mix_chunk)(&mixer, problem, arrays, h, start, count);
        NAME(write_outputs)(&mixer, problem, arrays, start, count);
    }
    for (int64_t h = 0; h < mixer.heads; h++)
        NAME(save_padded)(mixer.state + h * size, mixer.values, (T *)last->data + lane_offset(problem, last, lane + h),
                          problem->keys, problem->values, last->row, last->column);
    free(arena.base);
    return bad;
}
