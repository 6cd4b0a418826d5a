/* One token through all layers of a model with the Green mixer, its output included: what decoding does. Every weight
 * is read once, and nothing else takes as long as that.
 *
 *     n = norm(h);  t = W_in n;  q, k, v = silu(conv(t));  h += W_out ((R^T q + skip v) silu(gate))
 *
 * with the gates and the matrix state R of the other kernels, in the real phase. A copy memory comes after the last
 * norm:
 *
 *     f = silu(gain W h);  h += scale R^T f
 *
 * where R has f of the token before for a key, and for a value the token's row of the output, of length 1. All arrays
 * are contiguous, matrices by rows; the states are changed. */

typedef struct {
    const T *norm, *in_proj, *conv_weight, *conv_bias, *gate_weight, *potential_bias, *hopping_bias, *energy, *rho, *skip,
        *out_proj;
    T *window, *chain, *memory;
} NAME(decode_layer);

typedef struct {
    const T *proj, *gate_weight, *energy, *rho, *scale;
    T *key, *chain, *memory;
} NAME(decode_copy);

/* Scratch memory, rows padded to whole vectors. */
typedef struct {
    T *normed, *mixed, *logits, *hidden;
} NAME(decode_scratch);

/* x / (1 + e^-x) in place, of whole vectors. */
SHARED void NAME(silu)(T *values, int64_t count) {
    for (int64_t i = 0; i < count; i += WIDTH) {
        VEC x = *(PACKED *)(values + i);
        *(PACKED *)(values + i) = x * NAME(reciprocal)(1 + NAME(exponential)(-x));
    }
}

/* result (+)= matrix * vector, eight rows at a time; the rows behind them are asked for meanwhile. */
SHARED void NAME(apply)(const T *matrix, const T *vector, int64_t rows, int64_t columns, T *result, int add) {
    int64_t whole = columns / WIDTH * WIDTH;
    for (int64_t row = 0; row < rows; row += 8) {
        VEC sums[8] = {{0}};
        const T *line[8];
        T totals[8];
        for (int r = 0; r < 8; r++) line[r] = matrix + (row + r < rows ? row + r : rows - 1) * columns;
        for (int64_t c = 0; c < whole; c += WIDTH) {
            VEC x = *(const PACKED *)(vector + c);
            for (int r = 0; r < 8; r++) {
                __builtin_prefetch(line[r] + 8 * columns + c);
                sums[r] += *(const PACKED *)(line[r] + c) * x;
            }
        }
        NAME(totals)(sums, totals);
        for (int r = 0; r < 8 && row + r < rows; r++) {
            T sum = totals[r];
            for (int64_t c = whole; c < columns; c++) sum += line[r][c] * vector[c];
            result[row + r] = add ? result[row + r] + sum : sum;
        }
    }
}

SHARED void NAME(root_mean_square_norm)(const T *values, const T *weight, int64_t count, T eps, T *result) {
    T sum = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i] * values[i];
    T scale = 1 / NAME(scalar_root)(sum / (T)count + eps);
    for (int64_t i = 0; i < count; i++) result[i] = values[i] * scale * weight[i];
}

/* The causal convolution of the channels, in place; the window takes what came in. */
SHARED void NAME(convolve)(T *channels, T *window, const T *weight, const T *bias, int64_t count, int64_t taps) {
    int64_t c = 0;
    if (taps == 4) /* the usual number, whole vectors of channels at a time */
        for (; c + WIDTH <= count; c += WIDTH) {
            VEC even[2], odd[2], first, second, third, fourth, latest = *(PACKED *)(channels + c);
            VEC before = *(PACKED *)(window + count + c), last = *(PACKED *)(window + 2 * count + c);
            NAME(split)(weight + 4 * c, even, odd);
            NAME(split)(weight + 4 * c + 2 * WIDTH, even + 1, odd + 1);
            NAME(split)((T *)even, &first, &third);
            NAME(split)((T *)odd, &second, &fourth);
            *(PACKED *)(channels + c) = *(const PACKED *)(bias + c) + *(PACKED *)(window + c) * first +
                                        before * second + last * third + latest * fourth;
            *(PACKED *)(window + c) = before;
            *(PACKED *)(window + count + c) = last;
            *(PACKED *)(window + 2 * count + c) = latest;
        }
    for (; c < count; c++) {
        T sum = bias[c], latest = channels[c];
        for (int64_t tap = 0; tap < taps - 1; tap++) sum += window[tap * count + c] * weight[c * taps + tap];
        for (int64_t tap = 0; tap < taps - 2; tap++) window[tap * count + c] = window[(tap + 1) * count + c];
        window[(taps - 2) * count + c] = latest;
        channels[c] = sum + latest * weight[c * taps + taps - 1];
    }
}

/* Gates of one head from its logits, as `gates.h` has them; the chain goes on. */
INLINE void NAME(decode_gates)(const decode_t *model, const NAME(decode_layer) *layer, const T *logits, int64_t head,
                               T *alpha, T *root) {
    int64_t bound = head - (model->heads - model->bound); /* negative: the head is free */
    T width = (T)model->eta_gain * logits[head] + layer->rho[head];
    T eta = (T)model->epsilon * (width > 20 ? width : log1pf(expf(width))) + (T)model->eta_floor;
    T potential = 0, hopping = 1, *x = layer->chain + 2 * head, *q = x + 1;
    if (bound >= 0) {
        potential = logits[model->heads + bound] + layer->potential_bias[bound];
        hopping = 2 / (1 + expf(-logits[model->heads + model->bound + bound] - layer->hopping_bias[bound]));
    }
    T coupling = hopping * hopping / (*x * *x + *q * *q), kept = coupling * *q;
    *x = potential - layer->energy[head] - coupling * *x;
    *q = eta + kept;
    *alpha = NAME(scalar_root)(kept / *q);
    *root = NAME(scalar_root)(eta / *q);
}

/* R = alpha R + root k v^T,  read = R^T q. */
SHARED void NAME(decode_memory)(T *restrict memory, const T *q, const T *k, const T *restrict v, int64_t keys,
                                int64_t values, T alpha, T root, T *restrict read) {
    for (int64_t p = 0; p < values; p++) read[p] = 0;
    for (int64_t j = 0; j < keys; j++, memory += values) {
        T key = root * k[j], query = q[j];
        for (int64_t p = 0; p < values; p++) {
            memory[p] = alpha * memory[p] + key * v[p];
            read[p] += query * memory[p];
        }
    }
}

SHARED void NAME(decode_one_layer)(const decode_t *model, const NAME(decode_layer) *layer,
                                   const NAME(decode_scratch) *at) {
    int64_t heads = model->heads, narrow = heads * model->keys, wide = heads * model->values;
    int64_t channels = 2 * narrow + wide;
    T *q = at->mixed, *k = q + narrow, *v = k + narrow, *gate = at->mixed + channels;
    NAME(root_mean_square_norm)(at->hidden, layer->norm, model->width, (T)model->norm_eps, at->normed);
    NAME(apply)(layer->in_proj, at->normed, channels + wide, model->width, at->mixed, 0);
    NAME(apply)(layer->gate_weight, at->normed, heads + 2 * model->bound, model->width, at->logits, 0);
    NAME(convolve)(at->mixed, layer->window, layer->conv_weight, layer->conv_bias, channels, model->taps);
    NAME(silu)(at->mixed, channels + wide);
    T scale = 1 / NAME(scalar_root)((T)model->keys), *read = at->normed + model->width;
    for (int64_t i = 0; i < narrow; i++) q[i] *= scale;
    for (int64_t head = 0; head < heads; head++) {
        T alpha, root;
        NAME(decode_gates)(model, layer, at->logits, head, &alpha, &root);
        NAME(decode_memory)(layer->memory + head * model->keys * model->values, q + head * model->keys,
                            k + head * model->keys, v + head * model->values, model->keys, model->values, alpha, root,
                            read + head * model->values);
    }
    for (int64_t c = 0; c < wide; c++) read[c] = (read[c] + layer->skip[c] * v[c]) * gate[c];
    NAME(apply)(layer->out_proj, read, model->width, wide, at->hidden, 1);
}

/* What the copy memory adds to the last hidden state; `row` is the token's row of the output. */
SHARED void NAME(decode_copying)(const decode_t *model, const NAME(decode_copy) *copy, const T *row,
                                 const NAME(decode_scratch) *at) {
    int64_t keys = model->copy_keys, width = model->width;
    T *features = at->mixed, *read = at->mixed + (keys + WIDTH - 1) / WIDTH * WIDTH, square, alpha, root;
    decode_t free_head = *model;
    NAME(decode_layer) gates = {.energy = copy->energy, .rho = copy->rho, .chain = copy->chain};
    free_head.heads = 1;
    free_head.bound = 0;
    NAME(apply)(copy->proj, at->normed, keys, width, features, 0);
    NAME(apply)(copy->gate_weight, at->normed, 1, width, at->logits, 0);
    NAME(apply)(row, row, 1, width, &square, 0);
    for (int64_t j = 0; j < keys; j++) features[j] *= (T)model->copy_gain;
    NAME(silu)(features, keys);
    NAME(decode_gates)(&free_head, &gates, at->logits, 0, &alpha, &root);
    T length = NAME(scalar_root)(square);
    root /= length > (T)1e-12 ? length : (T)1e-12;
    NAME(decode_memory)(copy->memory, features, copy->key, row, keys, width, alpha, root, read);
    for (int64_t c = 0; c < width; c++) at->normed[c] += copy->scale[c] * read[c];
    memcpy(copy->key, features, keys * sizeof(T));
}

/* `layers`, then weights of the last norm and of the output, the output's bias if there is one, and the copy memory if
 * there is one. */
static int64_t NAME(decode)(const decode_t *model, const void *const *arrays, const T *embedding, T *logits) {
    int64_t wide = model->heads * model->values;
    int64_t mixed = 2 * model->heads * model->keys + 2 * wide, gates = model->heads + 2 * model->bound;
    int64_t copying = model->copy_keys ? model->copy_keys + WIDTH + model->width : 0;
    if (mixed < copying) mixed = copying; /* the layers are done with it by then */
    int64_t total = 2 * model->width + wide + mixed + gates + 4 * WIDTH;
    T *memory = allocate(total * sizeof(T));
    if (!memory) return OUT_OF_MEMORY;
    memset(memory, 0, total * sizeof(T));
    NAME(decode_scratch) at;
    at.mixed = memory;
    at.normed = at.mixed + (mixed + WIDTH - 1) / WIDTH * WIDTH;
    at.hidden = at.normed + model->width + wide;
    at.logits = at.hidden + model->width;
    memcpy(at.hidden, embedding, model->width * sizeof(T));
    for (int64_t n = 0; n < model->layers; n++, arrays += sizeof(NAME(decode_layer)) / sizeof *arrays) {
        NAME(decode_layer) layer;
        memcpy(&layer, arrays, sizeof layer);
        NAME(decode_one_layer)(model, &layer, &at);
    }
    NAME(root_mean_square_norm)(at.hidden, arrays[0], model->width, (T)model->norm_eps, at.normed);
    if (model->copy_keys) {
        NAME(decode_copy) copy;
        memcpy(&copy, arrays + 3, sizeof copy);
        NAME(decode_copying)(model, &copy, (const T *)arrays[1] + model->token * model->width, &at);
    }
    NAME(apply)(arrays[1], at.normed, model->vocabulary, model->width, logits, 0);
    const T *bias = arrays[2];
    for (int64_t c = 0; bias && c < model->vocabulary; c++) logits[c] += bias[c];
    free(memory);
    return 0;
}
