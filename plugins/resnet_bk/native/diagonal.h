/* The full diagonal of (H - z)^-1, H tridiagonal.
 *
 * With d = x - i q:  left  x = a - E - Re(s g'),  q = eta + Im(s g'),  g = (x + i q) / (x^2 + q^2), g' the one before;
 * the right sweep is its mirror image, and G = 1 / (a - z - s_i g_{i-1} - s_{i+1} r_{i+1}). The imaginary parts are
 * sums of positive terms, so nothing cancels and |g|, |r|, |G| <= 1 / eta.
 *
 * Chains are cut into segments that stay in the cache between the two passes over them. What enters a segment from the
 * left comes from the one before. What enters from the right is found by looking ahead: the sites behind a few hundred
 * others hardly matter, and how little is known exactly. Whatever they are, r lies in a disc (Weyl's), which every
 * site in between shrinks. Where it does not become smaller than rounding, one sweep over all sites does the job. */

/* Sites in a segment: what a block reads, stores and writes takes one or two megabytes. Sites that are looked ahead at: as few as
 * will do, up to a part of a segment. */
#define SEGMENT (UNITS == 1 ? 4096 : 1024)
#define FIRST_WINDOW 64
#define WINDOW_GROWTH 4
#define LAST_WINDOW (SEGMENT / 4)
/* Tiles from asking for memory to using it. */
#define AHEAD 4

/* Both sweeps at once, each over a tile of its own: two chains of dependent operations. `g` enters as the value before
 * one tile, `p` as s r behind the other; they leave as those at the other ends. Each step multiplies by the coupling
 * while the reciprocal before it is still on its way. The tiles, if any, take the denominators of the left
 * sweep and what the right sweep has met before each site. */
INLINE void NAME(sweep_both)(const SITE_ROWS *left, int left_count, VEC gr[UNITS], VEC gi[UNITS], VEC (*left_x)[UNITS],
                             VEC (*left_q)[UNITS], const SITE_ROWS *right, int right_count, VEC pr[UNITS],
                             VEC pi[UNITS], VEC (*seen_r)[UNITS], VEC (*seen_i)[UNITS]) {
    VEC before[UNITS], behind[UNITS]; /* reciprocals that g and p are still to be multiplied by */
    for (int u = 0; u < UNITS; u++) before[u] = behind[u] = NAME(splat)(1);
    for (int t = 0; t < left_count || t < right_count; t++) {
        int last = right_count - 1 - t;
        for (int u = 0; u < UNITS; u++) {
            if (t < left_count) {
                VEC s = left->coupling[t][u];
                gr[u] = left->detuning[t][u] - s * gr[u] * before[u];
                gi[u] = left->eta[t][u] + s * gi[u] * before[u];
                before[u] = NAME(reciprocal)(gr[u] * gr[u] + gi[u] * gi[u]);
                if (left_x) left_x[t][u] = gr[u], left_q[t][u] = gi[u];
            }
            if (last >= 0) {
                VEC r = pr[u] * behind[u], i = pi[u] * behind[u], s = right->coupling[last][u];
                if (seen_r) seen_r[last][u] = r, seen_i[last][u] = i;
                VEC x = right->detuning[last][u] - pr[u] * behind[u], q = right->eta[last][u] + pi[u] * behind[u];
                behind[u] = NAME(reciprocal)(x * x + q * q);
                pr[u] = s * x;
                pi[u] = s * q;
            }
        }
    }
    for (int u = 0; u < UNITS; u++) {
        gr[u] *= before[u], gi[u] *= before[u];
        pr[u] *= behind[u], pi[u] *= behind[u];
    }
}

/* G of a tile from the denominators of the left sweep and what the right sweep has met. */
INLINE void NAME(meet)(TILE x, TILE q, TILE seen_r, TILE seen_i, int count) {
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) {
            VEC full_x = x[t][u] - seen_r[t][u], full_q = q[t][u] + seen_i[t][u];
            VEC inverse = NAME(reciprocal)(full_x * full_x + full_q * full_q);
            x[t][u] = full_x * inverse;
            q[t][u] = full_q * inverse;
        }
}

/* G of the sites from `from`, a multiple of STEPS, to before `to`. `g` and `p` enter as the values at both sides; `g`
 * leaves as that at the end. The first pass goes from both ends to the middle and stores what it computes, the second
 * goes on from the middle to both ends. */
static int64_t NAME(green_diagonal_segment)(const problem_t *problem, const SITES *sites, const VIEW *out, int64_t valid,
                                            int64_t from, int64_t to, VEC gr[UNITS], VEC gi[UNITS], VEC pr[UNITS],
                                            VEC pi[UNITS], TILE (*stored)[2]) {
    SITE_ROWS front, back;
    TILE x, q, seen_r, seen_i;
    int64_t tiles = (to - from + STEPS - 1) / STEPS;
    int last = (int)(to - from - (tiles - 1) * STEPS); /* sites in the last tile */
    int64_t bad = NAME(begin_rows)(problem, sites, &front);
    NAME(begin_rows)(NULL, sites, &back);
    for (int64_t k = 0; k < tiles / 2; k++) {
        int64_t mirror = tiles - 1 - k;
        int count = k ? STEPS : last;
        if (k + AHEAD < tiles / 2) {
            NAME(fetch_sites)(sites, from + (k + AHEAD) * STEPS);
            NAME(fetch_sites)(sites, from + (mirror - AHEAD) * STEPS);
        }
        bad |= NAME(read_sites)(problem, sites, from + k * STEPS, STEPS, &front);
        bad |= NAME(read_sites)(problem, sites, from + mirror * STEPS, count, &back);
        NAME(sweep_both)(&front, STEPS, gr, gi, stored[k][0], stored[k][1], &back, count, pr, pi, stored[mirror][0],
                         stored[mirror][1]);
    }
    if (tiles % 2) { /* the tile in the middle is met from both sides */
        int64_t start = from + tiles / 2 * STEPS;
        int count = tiles > 1 ? STEPS : last;
        bad |= NAME(read_sites)(problem, sites, start, count, &front);
        NAME(sweep_both)(&front, count, gr, gi, x, q, &front, count, pr, pi, seen_r, seen_i);
        NAME(meet)(x, q, seen_r, seen_i, count);
        NAME(write_complex)(out, start, count, valid, x, q);
    }
    for (int64_t k = tiles / 2 - 1; k >= 0; k--) {
        int64_t mirror = tiles - 1 - k;
        int count = k ? STEPS : last;
        if (k > AHEAD) {
            NAME(fetch)(out, from + (k - AHEAD) * STEPS, 2);
            NAME(fetch)(out, from + (mirror + AHEAD) * STEPS, 2);
        }
        NAME(read_sites)(NULL, sites, from + k * STEPS, STEPS, &front);
        NAME(read_sites)(NULL, sites, from + mirror * STEPS, count, &back);
        NAME(sweep_both)(&back, count, gr, gi, x, q, &front, STEPS, pr, pi, seen_r, seen_i);
        NAME(meet)(stored[k][0], stored[k][1], seen_r, seen_i, STEPS);
        NAME(meet)(x, q, stored[mirror][0], stored[mirror][1], count);
        NAME(write_complex)(out, from + k * STEPS, STEPS, valid, stored[k][0], stored[k][1]);
        NAME(write_complex)(out, from + mirror * STEPS, count, valid, x, q);
    }
    return bad;
}

/* p = s r as seen from the site before `to`, from the sites up to before `end` whatever is behind them. The disc that
 * holds p has its centre above `pr`, its lowest point at height `low`, and the radius `radius`: as sums and products of
 * positive numbers nothing cancels. Tells whether it is smaller than rounding; always so at the end of the chain. */
static int NAME(look_ahead)(const problem_t *problem, const SITES *sites, int64_t to, int64_t end, VEC pr[UNITS],
                            VEC pi[UNITS]) {
    SITE_ROWS rows;
    VEC low[UNITS] = {{0}}, radius[UNITS] = {{0}};
    for (int u = 0; u < UNITS; u++) pr[u] = NAME(splat)(0);
    NAME(begin_rows)(NULL, sites, &rows);
    int unknown = end < problem->length;
    for (int64_t start = to + (end - to - 1) / STEPS * STEPS; start >= to; start -= STEPS) {
        int count = end - start < STEPS ? (int)(end - start) : STEPS;
        NAME(read_sites)(NULL, sites, start, count, &rows);
        if (unknown) { /* |r - i / 2 eta| <= 1 / 2 eta at the last site */
            unknown = 0, count--;
            for (int u = 0; u < UNITS; u++)
                radius[u] = (T)0.5 * rows.coupling[count][u] * NAME(reciprocal)(rows.eta[count][u]);
        }
        for (int t = count - 1; t >= 0; t--)
            for (int u = 0; u < UNITS; u++) {
                VEC x = rows.detuning[t][u] - pr[u], q = rows.eta[t][u] + low[u];
                VEC factor = rows.coupling[t][u] * NAME(reciprocal)(x * x + q * (q + 2 * radius[u]));
                pr[u] = factor * x;
                low[u] = factor * q;
                radius[u] *= factor;
            }
    }
    int known = 1;
    for (int u = 0; u < UNITS; u++) {
        pi[u] = low[u] + radius[u];
        MASK small = radius[u] <= ROUNDING * (NAME(absolute)(pr[u]) + low[u]);
        for (int l = 0; l < WIDTH; l++) known &= small[l] != 0;
    }
    return known;
}

/* Fills `known` with what enters each segment from the right, by one sweep over all sites behind the first. */
static void NAME(right_starts)(const problem_t *problem, const SITES *sites, int64_t size, VEC (*known)[2][UNITS]) {
    SITE_ROWS rows;
    VEC none[2][UNITS] = {{{0}}}, pr[UNITS] = {{0}}, pi[UNITS] = {{0}};
    NAME(begin_rows)(NULL, sites, &rows);
    for (int64_t tile = TILES_IN(problem) - 1; tile >= 0; tile--) {
        int count = TILE_COUNT(problem, tile);
        if ((tile + 1) * STEPS % size == 0 || tile == TILES_IN(problem) - 1) {
            memcpy(known[tile * STEPS / size][0], pr, sizeof pr);
            memcpy(known[tile * STEPS / size][1], pi, sizeof pi);
        }
        NAME(read_sites)(NULL, sites, tile * STEPS, count, &rows);
        NAME(sweep_both)(&rows, 0, none[0], none[1], NULL, NULL, &rows, count, pr, pi, NULL, NULL);
    }
}

static int64_t NAME(green_diagonal_block)(const problem_t *problem, const array_t *arrays, int64_t first,
                                          int64_t valid) {
    SITES sites;
    VIEW out;
    NAME(bind_sites)(&sites, problem, arrays, first, valid);
    NAME(bind)(&out, problem, arrays + 4, first, valid, 2);
    int64_t size = SEGMENT, segments = (problem->length + size - 1) / size, window = FIRST_WINDOW, bad = 0;
    TILE(*stored)[2] = allocate((size < problem->length ? size / STEPS : TILES_IN(problem)) * sizeof *stored);
    VEC(*known)[2][UNITS] = NULL;
    VEC gr[UNITS] = {{0}}, gi[UNITS] = {{0}}, pr[UNITS] = {{0}}, pi[UNITS] = {{0}};
    if (!stored) return OUT_OF_MEMORY;
    for (int64_t n = 0; n < segments; n++) {
        int64_t from = n * size, to = from + size < problem->length ? from + size : problem->length;
        int found = 0;
        while (!known && !found && window <= LAST_WINDOW) {
            int64_t end = to + window < problem->length ? to + window : problem->length;
            found = NAME(look_ahead)(problem, &sites, to, end, pr, pi);
            if (!found) window *= WINDOW_GROWTH;
        }
        if (!known && !found) {
            known = allocate(segments * sizeof *known);
            if (!known) {
                free(stored);
                return OUT_OF_MEMORY;
            }
            NAME(right_starts)(problem, &sites, size, known);
        }
        if (known) memcpy(pr, known[n][0], sizeof pr), memcpy(pi, known[n][1], sizeof pi);
        bad |= NAME(green_diagonal_segment)(problem, &sites, &out, valid, from, to, gr, gi, pr, pi, stored);
    }
    free(known);
    free(stored);
    return bad;
}
