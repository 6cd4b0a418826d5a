/* The exact gradient of the full diagonal: w, the cotangents of the denominators of G, and what of them reaches each site
 * through the left fractions of its successors, and the right ones of its predecessors. */

/* Right sweep over a tile. `p` is s_{i+1} r_{i+1}: it enters as seen from the last site and leaves as seen from
 * the site before the first; the tiles take r of every site, and p as seen from it. */
INLINE void NAME(sweep_right)(const SITE_ROWS *rows, int count, VEC pr[UNITS], VEC pi[UNITS], TILE out_r,
                              TILE out_i, TILE seen_r, TILE seen_i) {
    for (int t = count - 1; t >= 0; t--)
        for (int u = 0; u < UNITS; u++) {
            VEC x = rows->detuning[t][u] - pr[u];
            VEC q = rows->eta[t][u] + pi[u];
            VEC inverse = NAME(reciprocal)(x * x + q * q), s = rows->coupling[t][u];
            seen_r[t][u] = pr[u];
            seen_i[t][u] = pi[u];
            out_r[t][u] = x * inverse;
            out_i[t][u] = q * inverse;
            pr[u] = s * out_r[t][u];
            pi[u] = s * out_i[t][u];
        }
}

/* w = conj(G^2) * cotangent, G from both neighbours of a site. */
INLINE void NAME(diagonal_cotangent)(const SITE_ROWS *rows, int t, int u, VEC left_r, VEC left_i, VEC seen_r,
                                     VEC seen_i, VEC cot_r, VEC cot_i, VEC *wr, VEC *wi) {
    VEC s = rows->coupling[t][u];
    VEC x = rows->detuning[t][u] - s * left_r - seen_r;
    VEC q = rows->eta[t][u] + s * left_i + seen_i;
    VEC inverse = NAME(reciprocal)(x * x + q * q), gr = x * inverse, gi = q * inverse;
    VEC square_r = gr * gr - gi * gi, square_i = 2 * gr * gi;
    *wr = square_r * cot_r + square_i * cot_i;
    *wi = square_r * cot_i - square_i * cot_r;
}

/* Fills `starts` with g before each tile. */
static void NAME(left_starts)(const problem_t *problem, const SITES *sites, VEC *starts) {
    SITE_ROWS rows;
    TILE g_r, g_i;
    VEC gr[UNITS] = {{0}}, gi[UNITS] = {{0}};
    NAME(begin_rows)(NULL, sites, &rows);
    for (int64_t tile = 0; tile < TILES_IN(problem); tile++) {
        memcpy(starts + 2 * UNITS * tile, gr, sizeof gr);
        memcpy(starts + 2 * UNITS * tile + UNITS, gi, sizeof gi);
        if (tile + 1 == TILES_IN(problem)) break;
        NAME(read_sites)(NULL, sites, tile * STEPS, STEPS, &rows);
        NAME(sweep_left)(&rows, STEPS, gr, gi, g_r, g_i);
    }
}

typedef struct {
    SITES sites;
    VIEW cotangent;
    SINK potential, coupling, energy, eta;
    VEC *left, *right; /* g before each tile; s r after each tile */
} NAME(diagonal_gradient);
#define GRADIENT NAME(diagonal_gradient)

/* The reverse sweep: w, and t, the cotangent that reaches each site through the left fractions of its successors. */
static void NAME(gradient_leftwards)(const problem_t *problem, GRADIENT *g, int64_t valid) {
    SITE_ROWS rows;
    TILE g_r, g_i, r_r, r_i, seen_r, seen_i, cot_r, cot_i, da, ds, de;
    VEC pr[UNITS] = {{0}}, pi[UNITS] = {{0}}, carry_r[UNITS] = {{0}}, carry_i[UNITS] = {{0}};
    NAME(begin_rows)(NULL, &g->sites, &rows);
    for (int64_t tile = TILES_IN(problem) - 1; tile >= 0; tile--) {
        int count = TILE_COUNT(problem, tile);
        VEC *start_r = g->left + 2 * UNITS * tile, *start_i = start_r + UNITS;
        VEC gr[UNITS], gi[UNITS];
        memcpy(gr, start_r, sizeof gr);
        memcpy(gi, start_i, sizeof gi);
        memcpy(g->right + 2 * UNITS * tile, pr, sizeof pr);
        memcpy(g->right + 2 * UNITS * tile + UNITS, pi, sizeof pi);
        NAME(read_sites)(NULL, &g->sites, tile * STEPS, count, &rows);
        NAME(read_complex)(&g->cotangent, tile * STEPS, count, cot_r, cot_i);
        NAME(sweep_left)(&rows, count, gr, gi, g_r, g_i);
        NAME(sweep_right)(&rows, count, pr, pi, r_r, r_i, seen_r, seen_i);
        for (int t = count - 1; t >= 0; t--)
            for (int u = 0; u < UNITS; u++) {
                VEC left_r = t ? g_r[t - 1][u] : start_r[u], left_i = t ? g_i[t - 1][u] : start_i[u], wr, wi;
                NAME(diagonal_cotangent)(&rows, t, u, left_r, left_i, seen_r[t][u], seen_i[t][u], cot_r[t][u],
                                         cot_i[t][u], &wr, &wi);
                VEC square_r = g_r[t][u] * g_r[t][u] - g_i[t][u] * g_i[t][u], square_i = 2 * g_r[t][u] * g_i[t][u];
                VEC total_r = wr + square_r * carry_r[u] + square_i * carry_i[u];
                VEC total_i = wi + square_r * carry_i[u] - square_i * carry_r[u];
                VEC s = rows.coupling[t][u];
                da[t][u] = -total_r;
                de[t][u] = total_i;
                ds[t][u] = total_r * left_r + total_i * left_i;
                carry_r[u] = s * total_r;
                carry_i[u] = s * total_i;
            }
        NAME(put)(&g->potential, tile * STEPS, count, valid, da);
        NAME(put)(&g->coupling, tile * STEPS, count, valid, ds);
        NAME(put)(&g->eta, tile * STEPS, count, valid, de);
        NEGATED(da, da, count);
        NAME(put)(&g->energy, tile * STEPS, count, valid, da);
    }
}

/* The forward sweep: p, the cotangent that reaches each site through the right fractions of its predecessors. */
static void NAME(gradient_rightwards)(const problem_t *problem, GRADIENT *g, int64_t valid) {
    SITE_ROWS rows;
    TILE g_r, g_i, r_r, r_i, seen_r, seen_i, cot_r, cot_i, da, ds, de;
    VEC gr[UNITS] = {{0}}, gi[UNITS] = {{0}}, carry_r[UNITS] = {{0}}, carry_i[UNITS] = {{0}};
    NAME(begin_rows)(NULL, &g->sites, &rows);
    for (int64_t tile = 0; tile < TILES_IN(problem); tile++) {
        int count = TILE_COUNT(problem, tile);
        VEC start_r[UNITS], start_i[UNITS], pr[UNITS], pi[UNITS];
        memcpy(start_r, gr, sizeof gr);
        memcpy(start_i, gi, sizeof gi);
        memcpy(pr, g->right + 2 * UNITS * tile, sizeof pr);
        memcpy(pi, g->right + 2 * UNITS * tile + UNITS, sizeof pi);
        NAME(read_sites)(NULL, &g->sites, tile * STEPS, count, &rows);
        NAME(read_complex)(&g->cotangent, tile * STEPS, count, cot_r, cot_i);
        NAME(sweep_left)(&rows, count, gr, gi, g_r, g_i);
        NAME(sweep_right)(&rows, count, pr, pi, r_r, r_i, seen_r, seen_i);
        for (int t = 0; t < count; t++)
            for (int u = 0; u < UNITS; u++) {
                VEC left_r = t ? g_r[t - 1][u] : start_r[u], left_i = t ? g_i[t - 1][u] : start_i[u], wr, wi;
                NAME(diagonal_cotangent)(&rows, t, u, left_r, left_i, seen_r[t][u], seen_i[t][u], cot_r[t][u],
                                         cot_i[t][u], &wr, &wi);
                VEC s = rows.coupling[t][u], rr = r_r[t][u], ri = r_i[t][u];
                VEC square_r = rr * rr - ri * ri, square_i = 2 * rr * ri;
                VEC through_r = s * carry_r[u], through_i = s * carry_i[u];
                VEC p_r = square_r * through_r + square_i * through_i;
                VEC p_i = square_r * through_i - square_i * through_r;
                ds[t][u] = carry_r[u] * rr + carry_i[u] * ri;
                da[t][u] = -p_r;
                de[t][u] = p_i;
                carry_r[u] = wr + p_r;
                carry_i[u] = wi + p_i;
            }
        TILE de_energy;
        NEGATED(de_energy, da, count);
        NAME(put_more)(&g->potential, tile * STEPS, count, valid, da);
        NAME(put_more)(&g->coupling, tile * STEPS, count, valid, ds);
        NAME(put_more)(&g->eta, tile * STEPS, count, valid, de);
        NAME(put_more)(&g->energy, tile * STEPS, count, valid, de_energy);
    }
}

static int64_t NAME(green_diagonal_backward_block)(const problem_t *problem, const array_t *arrays, int64_t first,
                                                   int64_t valid) {
    GRADIENT g;
    NAME(bind_sites)(&g.sites, problem, arrays, first, valid);
    NAME(bind)(&g.cotangent, problem, arrays + 4, first, valid, 2);
    NAME(open)(&g.potential, problem, arrays + 5, first, valid);
    NAME(open)(&g.coupling, problem, arrays + 6, first, valid);
    NAME(open)(&g.energy, problem, arrays + 7, first, valid);
    NAME(open)(&g.eta, problem, arrays + 8, first, valid);
    g.left = allocate(4 * UNITS * TILES_IN(problem) * sizeof(VEC));
    if (!g.left) return OUT_OF_MEMORY;
    g.right = g.left + 2 * UNITS * TILES_IN(problem);
    NAME(left_starts)(problem, &g.sites, g.left);
    NAME(gradient_leftwards)(problem, &g, valid);
    NAME(gradient_rightwards)(problem, &g, valid);
    NAME(close)(&g.potential, valid);
    NAME(close)(&g.coupling, valid);
    NAME(close)(&g.energy, valid);
    NAME(close)(&g.eta, valid);
    free(g.left);
    return 0;
}
