/* The full diagonal of (H - z)^-1, H tridiagonal, and its exact gradient.
 *
 * With d = x - i q:  left  x = a - E - Re(s g'),  q = eta + Im(s g'),  g = (x + i q) / (x^2 + q^2), g' the one before;
 * the right sweep is its mirror image, and G = 1 / (a - z - s_i g_{i-1} - s_{i+1} r_{i+1}). The imaginary parts are
 * sums of positive terms, so nothing cancels and |g|, |r|, |G| <= 1 / eta. One sweep stores where each tile
 * starts, the other computes what is inside again: memory is two rows a tile. */

/* The site quantities of one tile. */
typedef struct {
    VIEW potential, coupling, energy, eta;
} NAME(sites);
#define SITES NAME(sites)

typedef struct {
    TILE detuning, coupling, eta; /* detuning: potential less energy */
} NAME(site_rows);
#define SITE_ROWS NAME(site_rows)

SHARED void NAME(bind_sites)(SITES *sites, const problem_t *problem, const array_t *arrays, int64_t first,
                             int64_t valid) {
    NAME(bind)(&sites->potential, problem, arrays + 0, first, valid, 1);
    NAME(bind)(&sites->coupling, problem, arrays + 1, first, valid, 1);
    NAME(bind)(&sites->energy, problem, arrays + 2, first, valid, 1);
    NAME(bind)(&sites->eta, problem, arrays + 3, first, valid, 1);
}

/* Reads a tile; gives a bit for each array with a value outside the limits, which are not looked at if NULL. */
SHARED int64_t NAME(read_sites)(const problem_t *limits, const SITES *sites, int64_t start, int count,
                                SITE_ROWS *rows) {
    TILE energy;
    int64_t bad = 0;
    NAME(read)(&sites->potential, start, count, rows->detuning);
    NAME(read)(&sites->energy, start, count, energy);
    NAME(read)(&sites->eta, start, count, rows->eta);
    if (sites->coupling.base) NAME(read)(&sites->coupling, start, count, rows->coupling);
    if (limits) {
        T site = (T)limits->site_limit;
        bad |= (int64_t)!NAME(within)(rows->detuning, count, -site, site);
        if (sites->coupling.base)
            bad |= (int64_t)!NAME(within)(rows->coupling, count, 0, (T)limits->coupling_limit) << 1;
        bad |= (int64_t)!NAME(within)(energy, count, -site, site) << 2;
        bad |= (int64_t)!NAME(within)(rows->eta, count, (T)limits->eta_floor, site) << 3;
    }
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) rows->detuning[t][u] -= energy[t][u];
    return bad;
}

/* Left sweep over a tile. `g` enters as the value before the tile and leaves as the one at its end; the tiles
 * take g of every site. */
INLINE void NAME(sweep_left)(const SITE_ROWS *rows, int count, VEC gr[UNITS], VEC gi[UNITS], TILE out_r,
                             TILE out_i) {
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) {
            VEC s = rows->coupling[t][u];
            VEC x = rows->detuning[t][u] - s * gr[u];
            VEC q = rows->eta[t][u] + s * gi[u];
            VEC inverse = (T)1 / (x * x + q * q);
            out_r[t][u] = gr[u] = x * inverse;
            out_i[t][u] = gi[u] = q * inverse;
        }
}

/* Right sweep over a tile. `p` is s_{i+1} r_{i+1}: it enters as seen from the last site and leaves as seen from
 * the site before the first; the tiles take r of every site, and p as seen from it. */
INLINE void NAME(sweep_right)(const SITE_ROWS *rows, int count, VEC pr[UNITS], VEC pi[UNITS], TILE out_r,
                              TILE out_i, TILE seen_r, TILE seen_i) {
    for (int t = count - 1; t >= 0; t--)
        for (int u = 0; u < UNITS; u++) {
            VEC x = rows->detuning[t][u] - pr[u];
            VEC q = rows->eta[t][u] + pi[u];
            VEC inverse = (T)1 / (x * x + q * q), s = rows->coupling[t][u];
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
    VEC inverse = (T)1 / (x * x + q * q), gr = x * inverse, gi = q * inverse;
    VEC square_r = gr * gr - gi * gi, square_i = 2 * gr * gi;
    *wr = square_r * cot_r + square_i * cot_i;
    *wi = square_r * cot_i - square_i * cot_r;
}

#define TILES_IN(problem) (((problem)->length + STEPS - 1) / STEPS)
#define TILE_COUNT(problem, tile) \
    ((int)((problem)->length - (tile) * STEPS < STEPS ? (problem)->length - (tile) * STEPS : STEPS))

/* Fills `starts` with g before each tile. */
static void NAME(left_starts)(const problem_t *problem, const SITES *sites, VEC *starts) {
    SITE_ROWS rows;
    TILE g_r, g_i;
    VEC gr[UNITS] = {{0}}, gi[UNITS] = {{0}};
    for (int64_t tile = 0; tile < TILES_IN(problem); tile++) {
        memcpy(starts + 2 * UNITS * tile, gr, sizeof gr);
        memcpy(starts + 2 * UNITS * tile + UNITS, gi, sizeof gi);
        if (tile + 1 == TILES_IN(problem)) break;
        NAME(read_sites)(NULL, sites, tile * STEPS, STEPS, &rows);
        NAME(sweep_left)(&rows, STEPS, gr, gi, g_r, g_i);
    }
}

static int64_t NAME(green_diagonal_block)(const problem_t *problem, const array_t *arrays, int64_t first,
                                          int64_t valid) {
    SITES sites;
    VIEW out;
    NAME(bind_sites)(&sites, problem, arrays, first, valid);
    NAME(bind)(&out, problem, arrays + 4, first, valid, 2);
    VEC *starts = allocate(2 * UNITS * TILES_IN(problem) * sizeof(VEC));
    if (!starts) return OUT_OF_MEMORY;
    NAME(left_starts)(problem, &sites, starts);

    SITE_ROWS rows;
    TILE g_r, g_i, out_r, out_i;
    VEC pr[UNITS] = {{0}}, pi[UNITS] = {{0}};
    int64_t bad = 0;
    for (int64_t tile = TILES_IN(problem) - 1; tile >= 0; tile--) {
        int count = TILE_COUNT(problem, tile);
        VEC *start_r = starts + 2 * UNITS * tile, *start_i = start_r + UNITS;
        VEC gr[UNITS], gi[UNITS];
        memcpy(gr, start_r, sizeof gr);
        memcpy(gi, start_i, sizeof gi);
        bad |= NAME(read_sites)(problem, &sites, tile * STEPS, count, &rows);
        NAME(sweep_left)(&rows, count, gr, gi, g_r, g_i);
        for (int t = count - 1; t >= 0; t--)
            for (int u = 0; u < UNITS; u++) {
                VEC s = rows.coupling[t][u];
                VEC x = rows.detuning[t][u] - pr[u];
                VEC q = rows.eta[t][u] + pi[u];
                VEC full_x = x - s * (t ? g_r[t - 1][u] : start_r[u]);
                VEC full_q = q + s * (t ? g_i[t - 1][u] : start_i[u]);
                VEC inverse = (T)1 / (full_x * full_x + full_q * full_q), carry = s / (x * x + q * q);
                out_r[t][u] = full_x * inverse;
                out_i[t][u] = full_q * inverse;
                pr[u] = carry * x;
                pi[u] = carry * q;
            }
        NAME(write_complex)(&out, tile * STEPS, count, valid, out_r, out_i);
    }
    free(starts);
    return bad;
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
