/* The selective scan of Mamba, fused, with its exact gradient: one thread, float32.

   h_t[e][n] = exp(delta_t[e] A[e][n]) h_{t-1}[e][n] + delta_t[e] B_t[n] x_t[e],
   y_t[e]    = sum_n C_t[n] h_t[e][n] + D[e] x_t[e].

   Sixteen channels lie side by side, so that every inner loop is one vector register wide: states and A are
   held as [channels / 16][states][16]. The backward pass keeps one state for each CHUNK tokens and computes
   those in between, and their decays, once more. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
#define CHUNK 16

/* e^x for x <= 0, to about one unit in the last place. */
static inline float decay(float x) {
    x = x < -87.0f ? -87.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f;
    float power = shifted - 12582912.0f;
    float rest = x - power * 0.693359375f;
    rest = rest + power * 2.12194440e-4f;
    float series = 1.9875691500e-4f;
    series = series * rest + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 5.0000001201e-1f;
    series = series * rest * rest + rest + 1.0f;
    union { int32_t whole; float real; } scale = {((int32_t)power + 127) << 23};
    return series * scale.real;
}

static void into_lanes(const float *from, float *to, long channels, long states) {
    for (long e = 0; e < channels; e++)
        for (long n = 0; n < states; n++)
            to[(e / LANES * states + n) * LANES + e % LANES] = from[e * states + n];
}

/* One token of all channels. Decays and states after it are written if `decays` is given. */
static void advance(
    const float *restrict x, const float *restrict delta, const float *restrict a, const float *restrict b,
    const float *restrict before, float *restrict after, float *restrict decays, long channels, long states
) {
    for (long block = 0; block < channels / LANES; block++) {
        const float *step = delta + block * LANES, *input = x + block * LANES;
        float written[LANES];
        for (int l = 0; l < LANES; l++) written[l] = step[l] * input[l];
        for (long n = 0; n < states; n++) {
            long at = (block * states + n) * LANES;
            for (int l = 0; l < LANES; l++) {
                float kept = decay(step[l] * a[at + l]);
                decays[at + l] = kept;
                after[at + l] = kept * before[at + l] + written[l] * b[n];
            }
        }
    }
}

/* y (batch, length, channels); starts (batch, ceil(length / CHUNK), channels, states) are for the backward
   pass. Returns 0, or 1 without memory. */
int scan_forward(
    const float *x, const float *delta, const float *a, const float *b, const float *c, const float *d,
    float *y, float *starts, long batch, long length, long channels, long states
) {
    long size = channels * states;
    float *memory = aligned_alloc(64, sizeof(float) * 2 * size);
    if (!memory) return 1;
    float *rates = memory, *state = memory + size;
    into_lanes(a, rates, channels, states);
    for (long row = 0; row < batch; row++) {
        memset(state, 0, sizeof(float) * size);
        for (long t = 0; t < length; t++) {
            long at = row * length + t;
            if (t % CHUNK == 0) {
                memcpy(starts, state, sizeof(float) * size);
                starts += size;
            }
            for (long block = 0; block < channels / LANES; block++) {
                const float *step = delta + at * channels + block * LANES, *input = x + at * channels + block * LANES;
                float written[LANES], read[LANES];
                for (int l = 0; l < LANES; l++) {
                    written[l] = step[l] * input[l];
                    read[l] = d[block * LANES + l] * input[l];
                }
                for (long n = 0; n < states; n++) {
                    float *h = state + (block * states + n) * LANES;
                    const float *rate = rates + (block * states + n) * LANES;
                    float in = b[at * states + n], out = c[at * states + n];
                    for (int l = 0; l < LANES; l++) {
                        h[l] = decay(step[l] * rate[l]) * h[l] + written[l] * in;
                        read[l] += h[l] * out;
                    }
                }
                memcpy(y + at * channels + block * LANES, read, sizeof read);
            }
        }
    }
    free(memory);
    return 0;
}

/* One token of the backward pass: all channels. `carry` is the gradient of the state after this token. */
static void retreat(
    const float *restrict x, const float *restrict delta, const float *restrict rates,
    const float *restrict b, const float *restrict c, const float *restrict d, const float *restrict dy,
    const float *restrict before, const float *restrict after, const float *restrict decays,
    float *restrict carry, float *restrict dx, float *restrict ddelta, float *restrict drates,
    float *restrict db, float *restrict dc, float *restrict dd, long channels, long states
) {
    float sums_b[states * LANES], sums_c[states * LANES];
    memset(sums_b, 0, sizeof sums_b);
    memset(sums_c, 0, sizeof sums_c);
    for (long block = 0; block < channels / LANES; block++) {
        const float *step = delta + block * LANES, *input = x + block * LANES, *up = dy + block * LANES;
        float through[LANES] = {0}, rated[LANES] = {0}, written[LANES];
        for (int l = 0; l < LANES; l++) written[l] = step[l] * input[l];
        for (long n = 0; n < states; n++) {
            long at = (block * states + n) * LANES;
            float *sum_b = sums_b + n * LANES, *sum_c = sums_c + n * LANES;
            float in = b[n], out = c[n];
            for (int l = 0; l < LANES; l++) {
                float grad = carry[at + l] + out * up[l];
                sum_c[l] += after[at + l] * up[l];
                sum_b[l] += grad * written[l];
                through[l] += grad * in;
                float kept = grad * decays[at + l];
                float exponent = kept * before[at + l];
                rated[l] += exponent * rates[at + l];
                drates[at + l] += exponent * step[l];
                carry[at + l] = kept;
            }
        }
        for (int l = 0; l < LANES; l++) {
            dx[block * LANES + l] = through[l] * step[l] + d[block * LANES + l] * up[l];
            ddelta[block * LANES + l] = through[l] * input[l] + rated[l];
            dd[block * LANES + l] += up[l] * input[l];
        }
    }
    for (long n = 0; n < states; n++) {
        float total_b = 0, total_c = 0;
        for (int l = 0; l < LANES; l++) {
            total_b += sums_b[n * LANES + l];
            total_c += sums_c[n * LANES + l];
        }
        db[n] = total_b;
        dc[n] = total_c;
    }
}

/* Gradients of everything, from dy. Returns 0, or 1 without memory. */
int scan_backward(
    const float *x, const float *delta, const float *a, const float *b, const float *c, const float *d,
    const float *starts, const float *dy, float *dx, float *ddelta, float *da, float *db, float *dc, float *dd,
    long batch, long length, long channels, long states
) {
    long size = channels * states, chunks = (length + CHUNK - 1) / CHUNK;
    float *memory = aligned_alloc(64, sizeof(float) * (2 * CHUNK + 4) * size);
    if (!memory) return 1;
    float *rates = memory, *drates = rates + size, *carry = drates + size;
    float *kept = carry + size, *decays = kept + (CHUNK + 1) * size;
    into_lanes(a, rates, channels, states);
    memset(drates, 0, sizeof(float) * size);
    memset(dd, 0, sizeof(float) * channels);
    for (long row = 0; row < batch; row++) {
        memset(carry, 0, sizeof(float) * size);
        for (long chunk = chunks - 1; chunk >= 0; chunk--) {
            long first = chunk * CHUNK, count = length - first < CHUNK ? length - first : CHUNK;
            memcpy(kept, starts + (row * chunks + chunk) * size, sizeof(float) * size);
            for (long i = 0; i < count; i++) {
                long at = row * length + first + i;
                advance(x + at * channels, delta + at * channels, rates, b + at * states,
                        kept + i * size, kept + (i + 1) * size, decays + i * size, channels, states);
            }
            for (long i = count - 1; i >= 0; i--) {
                long at = row * length + first + i;
                retreat(x + at * channels, delta + at * channels, rates, b + at * states, c + at * states, d,
                        dy + at * channels, kept + i * size, kept + (i + 1) * size, decays + i * size, carry,
                        dx + at * channels, ddelta + at * channels, drates, db + at * states, dc + at * states,
                        dd, channels, states);
            }
        }
    }
    for (long e = 0; e < channels; e++)
        for (long n = 0; n < states; n++)
            da[e * states + n] = drates[(e / LANES * states + n) * LANES + e % LANES];
    free(memory);
    return 0;
}
