/* The exact gradient of `mixer.h`. A chunk's convolution is computed again, and its states twice: with keys along the
 * vectors, where the gradients of queries, keys and alpha are sums over rows, and with values along them, for theirs.
 *
 * backward  0 to 6 as forward, 7 read, 8 states before each chunk, 9 cotangent of the outputs, 10 of the last state;
 *           results 11 projected, 12 window, 13 taps and 14 bias and 15 skip of each text, 16 alpha, 17 beta,
 *           18 initial state
 * 7 to 9 and 11 to 15 are contiguous; 1, 10, 12 and 18 can be absent. */

typedef struct {
    MIXER mixer;
    T *turned;             /* [values][keys]: the state before the chunk, computed anew */
    T *by_key, *by_value;  /* [head][keys][values], [head][values][keys]: cotangent of the state after the chunk */
    T *mixed_hat;          /* [chunk + before][row]: of queries, keys and values, then of what silu was taken of;
                              behind them the first rows of the chunk after it */
    T *carried;            /* [head][before][row]: the first rows */
    T *window_hat;         /* [row] */
    T *outputs_hat;        /* [head][chunk][values] */
    T *read_hat;           /* [chunk][values] */
    VEC *history, *gate_sums;  /* [chunk][HELD], [chunk] */
    double *taps_hat;      /* [head][taps + 1][row], the bias last */
    double *skip_hat;      /* [head][values] */
} NAME(mixer_back);
#define BACK NAME(mixer_back)

SHARED void NAME(place_back)(BACK *back, const problem_t *problem, ARENA *arena) {
    MIXER *mixer = &back->mixer;
    int64_t chunk = problem->chunk, heads = mixer->heads, state = mixer->keys * mixer->values, size = sizeof(T);
    NAME(place_mixer)(mixer, problem, arena);
    back->turned = NAME(take)(arena, state * size);
    back->by_key = NAME(take)(arena, heads * state * size);
    back->by_value = NAME(take)(arena, heads * state * size);
    back->mixed_hat = NAME(take)(arena, (chunk + mixer->before) * mixer->row * size);
    back->carried = NAME(take)(arena, heads * mixer->before * mixer->row * size);
    back->window_hat = NAME(take)(arena, mixer->row * size);
    back->read_hat = NAME(take)(arena, chunk * mixer->values * size);
    back->outputs_hat = NAME(take)(arena, heads * chunk * mixer->values * size);
    back->history = NAME(take)(arena, chunk * HELD * (int64_t)sizeof(VEC));
    back->gate_sums = NAME(take)(arena, chunk * (int64_t)sizeof(VEC));
    back->taps_hat = NAME(take)(arena, heads * (problem->taps + 1) * mixer->row * (int64_t)sizeof(double));
    back->skip_hat = NAME(take)(arena, heads * mixer->values * (int64_t)sizeof(double));
}

SHARED void NAME(read_cotangents)(BACK *back, const problem_t *problem, const array_t *arrays, int64_t start,
                                  int64_t count) {
    MIXER *mixer = &back->mixer;
    int64_t width = problem->shape[2] * problem->values, place = (mixer->text * problem->length + start) * width;
    for (int64_t t = 0; t < count; t++) {
        NAME(spread)(mixer, problem, mixer->read, t, (T *)arrays[7].data + place + t * width);
        NAME(spread)(mixer, problem, back->outputs_hat, t, (T *)arrays[9].data + place + t * width);
    }
}

/* The gradients of a chunk, which have taken the places of inputs and gates. */
SHARED void NAME(write_gradients_of_inputs)(BACK *back, const problem_t *problem, const array_t *arrays, int64_t start,
                                            int64_t count) {
    MIXER *mixer = &back->mixer;
    T *text_hat = (T *)arrays[11].data + (mixer->text * problem->length + start) * mixer->columns;
    for (int64_t t = 0; t < count; t++, text_hat += mixer->columns) {
        for (int64_t h = 0; h < mixer->heads; h++) {
            int64_t at[3];
            NAME(parts_of)(problem, mixer->first + h, at);
            NAME(unpack_row)(mixer, problem, at, text_hat, NAME(inputs_of)(mixer, problem, h) + t * mixer->row);
        }
        NAME(gather)(mixer, problem, text_hat + mixer->channels, t, mixer->gate);
    }
}

/* The way back through the output gate and the skip: what was read gets its cotangent, the gate and the skip their
 * gradients. */
SHARED void NAME(gate_back)(BACK *back, const problem_t *problem, int64_t h, int64_t count) {
    MIXER *mixer = &back->mixer;
    T *gates = NAME(wide_of)(mixer, problem, mixer->gate, h);
    const T *reads = NAME(wide_of)(mixer, problem, mixer->read, h);
    const T *hats = NAME(wide_of)(mixer, problem, back->outputs_hat, h);
    for (int64_t p = 0; p < mixer->values; p += WIDTH) {
        VEC skip_hat = {0};
        for (int64_t t = 0; t < count; t++) {
            int64_t place = t * mixer->values + p;
            VEC slope, open = NAME(silu_of)(*(PACKED *)(gates + place), &slope);
            VEC hat = *(const PACKED *)(hats + place);
            *(PACKED *)(gates + place) = hat * *(const PACKED *)(reads + place) * slope;
            *(PACKED *)(back->read_hat + place) = hat *= open;
            skip_hat += hat * *(PACKED *)(mixer->mixed + t * mixer->row + 2 * mixer->keys + p);
        }
        for (int l = 0; l < WIDTH; l++) back->skip_hat[h * mixer->values + p + l] += skip_hat[l];
    }
}

/* The way back through the matrix state. */
SHARED void NAME(state_back)(BACK *back, int64_t h, int64_t count) {
    MIXER *mixer = &back->mixer;
    int64_t state = mixer->keys * mixer->values, row = mixer->row;
    const T *q = mixer->mixed, *k = q + mixer->keys, *v = k + mixer->keys;
    T *q_hat = back->mixed_hat, *k_hat = q_hat + mixer->keys, *v_hat = k_hat + mixer->keys;
    memset(back->gate_sums, 0, count * sizeof(VEC));
    SWEEP queries = {.rows = v, .lanes = k, .weights = back->read_hat, .alpha = mixer->alpha, .results = q_hat,
                     .rows_step = row, .lanes_step = row, .weights_step = mixer->values, .results_step = row,
                     .row_count = mixer->values, .lane_count = mixer->keys, .count = count, .history = back->history};
    SWEEP keys = {.rows = back->read_hat, .lanes = q, .weights = v, .alpha = mixer->alpha, .results = k_hat,
                  .rows_step = mixer->values, .lanes_step = row, .weights_step = row, .results_step = row,
                  .row_count = mixer->values, .lane_count = mixer->keys, .count = count, .history = back->history,
                  .gate = back->gate_sums};
    SWEEP values = {.rows = q, .lanes = back->read_hat, .weights = k, .alpha = mixer->alpha, .results = v_hat,
                    .rows_step = row, .lanes_step = mixer->values, .weights_step = row, .results_step = row,
                    .row_count = mixer->keys, .lane_count = mixer->values, .count = count};
    NAME(sweep_state)(&queries, back->turned, &keys, back->by_value + h * state);
    NAME(sweep_state)(0, 0, &values, back->by_key + h * state);
}

/* The gradients of the gates, and those of queries, keys and values become those of what silu was taken of. */
SHARED void NAME(silu_back)(BACK *back, const problem_t *problem, const array_t *arrays, int64_t h, int64_t start,
                            int64_t count) {
    MIXER *mixer = &back->mixer;
    int64_t lane = mixer->text * problem->shape[2] + mixer->first + h;
    T *alpha = (T *)arrays[16].data + lane_offset(problem, arrays + 16, lane) + start * arrays[16].time;
    T *beta = (T *)arrays[17].data + lane_offset(problem, arrays + 17, lane) + start * arrays[17].time;
    const T *skip = mixer->skip + h * mixer->values;
    for (int64_t t = 0; t < count; t++) {
        T *hat = back->mixed_hat + t * mixer->row, *slope = mixer->slope + t * mixer->row;
        const T *mixed = mixer->mixed + t * mixer->row;
        VEC sums[8] = {{0}};
        T totals[8];
        sums[0] = back->gate_sums[t];
        for (int64_t j = mixer->keys; j < 2 * mixer->keys; j += WIDTH) {
            sums[1] += *(PACKED *)(hat + j) * *(const PACKED *)(mixed + j);
            *(PACKED *)(hat + j) *= mixer->root[t];
        }
        for (int64_t p = 0; p < mixer->values; p += WIDTH)
            *(PACKED *)(hat + 2 * mixer->keys + p) +=
                *(const PACKED *)(skip + p) * *(PACKED *)(back->read_hat + t * mixer->values + p);
        for (int64_t c = 0; c < mixer->row; c += WIDTH) *(PACKED *)(hat + c) *= *(PACKED *)(slope + c);
        NAME(totals)(sums, totals);
        alpha[t * arrays[16].time] = totals[0];
        beta[t * arrays[17].time] = totals[1] / (2 * mixer->share[t]);
    }
}

/* The gradient of what the packed row `e` of inputs holds, from the cotangents of the `number` sites it reaches. */
INLINE void NAME(inputs_back)(const BACK *back, const T *taps, int64_t number, int64_t e, T *result) {
    int64_t row = back->mixer.row;
    for (int64_t c = 0; c < row; c += WIDTH) {
        VEC sum = {0};
        for (int64_t tap = 0; tap < number; tap++)
            sum += *(const PACKED *)(taps + tap * row + c) * *(PACKED *)(back->mixed_hat + (e - tap) * row + c);
        *(PACKED *)(result + c) = sum;
    }
}

/* Adds the gradients of some taps of one vector of channels, and of the bias with the first of them. */
INLINE void NAME(taps_back)(BACK *back, const T *inputs, double *taps_hat, int64_t bias, int64_t tap, int64_t c, int64_t count,
                            const int held) {
    MIXER *mixer = &back->mixer;
    VEC sums[FEW + 1] = {{0}};
    for (int64_t t = 0; t < count; t++) {
        VEC hat = *(PACKED *)(back->mixed_hat + t * mixer->row + c);
        sums[FEW] += hat;
        for (int j = 0; j < held; j++) sums[j] += hat * *(const PACKED *)(inputs + (t + tap + j) * mixer->row + c);
    }
    for (int j = 0; j < held; j++)
        for (int l = 0; l < WIDTH; l++) taps_hat[(tap + j) * mixer->row + c + l] += sums[j][l];
    for (int l = 0; l < WIDTH && !tap; l++) taps_hat[bias * mixer->row + c + l] += sums[FEW][l];
}

/* The way back through the convolution. */
SHARED void NAME(convolution_back)(BACK *back, const problem_t *problem, const array_t *arrays, int64_t h, int64_t start,
                                   int64_t count) {
    MIXER *mixer = &back->mixer;
    int64_t taps = problem->taps, rows = mixer->before * mixer->row, at[3];
    const T *weights = mixer->taps + h * (taps + 1) * mixer->row;
    double *taps_hat = back->taps_hat + h * (taps + 1) * mixer->row;
    T *carried = back->carried + h * rows, *window_hat = arrays[12].data;
    T *inputs = NAME(inputs_of)(mixer, problem, h);
    memcpy(back->mixed_hat + count * mixer->row, carried, rows * sizeof(T));
    memcpy(carried, back->mixed_hat, rows * sizeof(T));
    for (int64_t c = 0; c < mixer->row; c += WIDTH)
        for (int64_t tap = 0, held; tap < taps; tap += held) {
            held = taps - tap >= FEW ? FEW : 1;
            if (held == FEW) NAME(taps_back)(back, inputs, taps_hat, taps, tap, c, count, FEW);
            else NAME(taps_back)(back, inputs, taps_hat, taps, tap, c, count, 1);
        }
    for (int64_t t = 0; t < count; t++) {
        T *hat = inputs + t * mixer->row;
        if (taps == 4) NAME(inputs_back)(back, weights, 4, t + 3, hat);
        else NAME(inputs_back)(back, weights, taps, t + mixer->before, hat);
    }
    if (start || !window_hat) return;
    NAME(parts_of)(problem, mixer->first + h, at);
    for (int64_t e = 0; e < mixer->before; e++) {
        NAME(inputs_back)(back, weights, e + 1, e, back->window_hat);
        NAME(unpack_row)(mixer, problem, at, window_hat + (mixer->text * mixer->before + e) * mixer->channels,
                         back->window_hat);
    }
}

/* What was added up over all sites of a text. */
SHARED void NAME(write_sums)(BACK *back, const problem_t *problem, const array_t *arrays) {
    MIXER *mixer = &back->mixer;
    int64_t taps = problem->taps, at[3];
    T *taps_hat = (T *)arrays[13].data + mixer->text * mixer->channels * taps;
    T *bias_hat = (T *)arrays[14].data + mixer->text * mixer->channels;
    T *skip_hat = (T *)arrays[15].data + (mixer->text * problem->shape[2] + mixer->first) * problem->values;
    for (int64_t h = 0; h < mixer->heads; h++) {
        const double *packed = back->taps_hat + h * (taps + 1) * mixer->row;
        NAME(parts_of)(problem, mixer->first + h, at);
        for (int64_t place = 0; place < mixer->row; place++) {
            int64_t channel = NAME(channel_at)(mixer, problem, at, place);
            if (channel < 0) continue;
            for (int64_t tap = 0; tap < taps; tap++)
                taps_hat[channel * taps + tap] = (T)packed[tap * mixer->row + place];
            bias_hat[channel] = (T)packed[taps * mixer->row + place];
        }
        for (int64_t p = 0; p < problem->values; p++)
            skip_hat[h * problem->values + p] = (T)back->skip_hat[h * mixer->values + p];
    }
}

/* One head back through a chunk. */
SHARED void NAME(mix_chunk_back)(BACK *back, const problem_t *problem, const array_t *arrays, int64_t h, int64_t start,
                                 int64_t count) {
    MIXER *mixer = &back->mixer;
    int64_t head = mixer->first + h, lane = mixer->text * problem->shape[2] + head;
    int64_t chunks = (problem->length + problem->chunk - 1) / problem->chunk, size = problem->keys * problem->values;
    NAME(load_padded)(back->turned, mixer->keys,
                      (const T *)arrays[8].data + (lane * chunks + start / problem->chunk) * size, problem->values,
                      problem->keys, 1, problem->values);
    NAME(convolve_chunk)(mixer, problem, h, count, 1);
    NAME(read_gates)(mixer, problem, arrays, head, start, count);
    NAME(gate_back)(back, problem, h, count);
    NAME(state_back)(back, h, count);
    NAME(silu_back)(back, problem, arrays, h, start, count);
    NAME(convolution_back)(back, problem, arrays, h, start, count);
}

static int64_t NAME(mixer_backward_task)(const problem_t *problem, const array_t *arrays, int64_t task,
                                         int64_t together) {
    BACK back;
    MIXER *mixer = &back.mixer;
    ARENA arena = {0};
    NAME(size_mixer)(mixer, problem, task, together);
    NAME(place_back)(&back, problem, &arena);
    if (!(arena.base = allocate(arena.used))) return OUT_OF_MEMORY;
    memset(arena.base, 0, arena.used);
    arena.used = 0;
    NAME(place_back)(&back, problem, &arena);
    NAME(pack_weights)(mixer, problem, arrays);
    const array_t *last = arrays + 10, *initial = arrays + 18;
    int64_t lane = mixer->text * problem->shape[2] + mixer->first, size = mixer->keys * mixer->values;
    for (int64_t h = 0; h < mixer->heads && last->data; h++) {
        const T *source = (T *)last->data + lane_offset(problem, last, lane + h);
        NAME(load_padded)(back.by_key + h * size, mixer->values, source, problem->keys, problem->values, last->row,
                          last->column);
        NAME(load_padded)(back.by_value + h * size, mixer->keys, source, problem->values, problem->keys, last->column,
                          last->row);
    }
    for (int64_t start = (problem->length - 1) / problem->chunk * problem->chunk; start >= 0; start -= problem->chunk) {
        int64_t left = problem->length - start, count = left < problem->chunk ? left : problem->chunk;
        NAME(read_inputs)(mixer, problem, arrays, start, count);
        NAME(read_cotangents)(&back, problem, arrays, start, count);
        for (int64_t h = 0; h < mixer->heads; h++) NAME(mix_chunk_back)(&back, problem, arrays, h, start, count);
        NAME(write_gradients_of_inputs)(&back, problem, arrays, start, count);
    }
    for (int64_t h = 0; h < mixer->heads && initial->data; h++)
        NAME(save_padded)(back.by_key + h * size, mixer->values,
                          (T *)initial->data + lane_offset(problem, initial, lane + h), problem->keys, problem->values,
                          initial->row, initial->column);
    NAME(write_sums)(&back, problem, arrays);
    free(arena.base);
    return 0;
}
