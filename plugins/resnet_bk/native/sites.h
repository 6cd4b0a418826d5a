/* What all kernels of a chain begin with: its sites, tile by tile, and the sweep from the left. */

#define TILES_IN(problem) (((problem)->length + STEPS - 1) / STEPS)
#define TILE_COUNT(problem, tile) \
    ((int)((problem)->length - (tile) * STEPS < STEPS ? (problem)->length - (tile) * STEPS : STEPS))

/* The site quantities of one tile. */
typedef struct {
    VIEW potential, coupling, energy, eta;
} NAME(sites);
#define SITES NAME(sites)

typedef struct {
    TILE detuning, coupling, energy, eta; /* detuning: potential less energy */
} NAME(site_rows);
#define SITE_ROWS NAME(site_rows)

SHARED void NAME(bind_sites)(SITES *sites, const problem_t *problem, const array_t *arrays, int64_t first,
                             int64_t valid) {
    NAME(bind)(&sites->potential, problem, arrays + 0, first, valid, 1);
    NAME(bind)(&sites->coupling, problem, arrays + 1, first, valid, 1);
    NAME(bind)(&sites->energy, problem, arrays + 2, first, valid, 1);
    NAME(bind)(&sites->eta, problem, arrays + 3, first, valid, 1);
}

/* Gives a bit for energy or eta with a value outside the limits, which are not looked at if NULL. */
SHARED int64_t NAME(check_levels)(const problem_t *limits, SITE_ROWS *rows, int count, int energy, int eta) {
    if (!limits) return 0;
    T site = (T)limits->site_limit;
    int64_t bad = 0;
    if (energy) bad |= (int64_t)!NAME(within)(rows->energy, count, -site, site) << 2;
    if (eta) bad |= (int64_t)!NAME(within)(rows->eta, count, (T)limits->eta_floor, site) << 3;
    return bad;
}

/* Fills in the levels that all sites share: once, before the tiles are read into the same rows. */
SHARED int64_t NAME(begin_rows)(const problem_t *limits, const SITES *sites, SITE_ROWS *rows) {
    if (!sites->energy.time) NAME(read)(&sites->energy, 0, STEPS, rows->energy);
    if (!sites->eta.time) NAME(read)(&sites->eta, 0, STEPS, rows->eta);
    return NAME(check_levels)(limits, rows, 1, !sites->energy.time, !sites->eta.time);
}

/* Reads a tile into rows that were begun; gives a bit for each array with a value outside the limits. */
SHARED int64_t NAME(read_sites)(const problem_t *limits, const SITES *sites, int64_t start, int count,
                                SITE_ROWS *rows) {
    int64_t bad = 0;
    NAME(read)(&sites->potential, start, count, rows->detuning);
    if (sites->coupling.base) NAME(read)(&sites->coupling, start, count, rows->coupling);
    if (sites->energy.time) NAME(read)(&sites->energy, start, count, rows->energy);
    if (sites->eta.time) NAME(read)(&sites->eta, start, count, rows->eta);
    if (limits) {
        T site = (T)limits->site_limit;
        bad |= (int64_t)!NAME(within)(rows->detuning, count, -site, site);
        if (sites->coupling.base)
            bad |= (int64_t)!NAME(within)(rows->coupling, count, 0, (T)limits->coupling_limit) << 1;
        bad |= NAME(check_levels)(limits, rows, count, sites->energy.time != 0, sites->eta.time != 0);
    }
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) rows->detuning[t][u] -= rows->energy[t][u];
    return bad;
}

SHARED void NAME(fetch_sites)(const SITES *sites, int64_t start) {
    NAME(fetch)(&sites->potential, start, 1);
    NAME(fetch)(&sites->coupling, start, 1);
    NAME(fetch)(&sites->energy, start, 1);
    NAME(fetch)(&sites->eta, start, 1);
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
            VEC inverse = NAME(reciprocal)(x * x + q * q);
            out_r[t][u] = gr[u] = x * inverse;
            out_i[t][u] = gi[u] = q * inverse;
        }
}
