/* The gates of the causal Green operator in normal form, and their exact gradient.
 *
 * With d_i = x_i - i q_i as in the other kernels and q' = q_{i-1}, g' = g_{i-1}:
 *     beta_i = eta_i / q_i,   alpha_i = -c_i g' sqrt(q' / q_i),   |alpha_i| = |c_i| sqrt(Im g' / q_i),
 * so that |alpha_i|^2 + beta_i = 1. In the real phase alpha_i is that absolute value.
 *
 * forward   0 potential, 1 hopping, 2 energy, 3 eta, 4 initial (x, q); results 5 alpha, 6 beta, 7 x, 8 q
 * backward  0 hopping, 1 eta, 2 x, 3 q, 4 initial (x, q), 5 cotangent of alpha, 6 of beta, 7 of the last (x, q);
 *           results 8 potential, 9 hopping, 10 energy, 11 eta, 12 initial (x, q) */

/* g = 1 / (x - i q) of the site before the first, and its q; without one g is 0, and q is 1 so that no root is
 * taken of zero. */
SHARED void NAME(initial_gate)(const VIEW *initial, VEC gr[UNITS], VEC gi[UNITS], VEC q[UNITS]) {
    VEC x[UNITS];
    NAME(read_state)(initial, x, q);
    for (int u = 0; u < UNITS; u++) {
        if (initial->base) {
            VEC inverse = NAME(reciprocal)(x[u] * x[u] + q[u] * q[u]);
            gr[u] = x[u] * inverse;
            gi[u] = q[u] * inverse;
        } else {
            gr[u] = gi[u] = NAME(splat)(0);
            q[u] = NAME(splat)(1);
        }
    }
}

static int64_t NAME(gates_block)(const problem_t *problem, const array_t *arrays, int64_t first, int64_t valid) {
    VIEW view[9];
    for (int k = 0; k < 9; k++)
        NAME(bind)(view + k, problem, arrays + k, first, valid, k == 4 || (k == 5 && problem->complex_phase) ? 2 : 1);
    VEC gr[UNITS], gi[UNITS], q_before[UNITS];
    NAME(initial_gate)(view + 4, gr, gi, q_before);
    SITES sites = {view[0], {0}, view[2], view[3]};
    SITE_ROWS rows;
    TILE c, alpha_r, alpha_i, beta, xs, qs;
    int64_t bad = NAME(begin_rows)(problem, &sites, &rows);
    for (int64_t tile = 0; tile < TILES_IN(problem); tile++) {
        int count = TILE_COUNT(problem, tile);
        int64_t start = tile * STEPS;
        T limit = (T)problem->hopping_limit;
        bad |= NAME(read_sites)(problem, &sites, start, count, &rows);
        NAME(read)(view + 1, start, count, c);
        bad |= (int64_t)!NAME(within)(c, count, -limit, limit) << 1;
        for (int t = 0; t < count; t++)
            for (int u = 0; u < UNITS; u++) {
                VEC s = c[t][u] * c[t][u];
                VEC x = rows.detuning[t][u] - s * gr[u], q = rows.eta[t][u] + s * gi[u];
                VEC inverse = NAME(reciprocal)(x * x + q * q);
                xs[t][u] = x;
                qs[t][u] = q;
                alpha_r[t][u] = gr[u]; /* g before the site, until the roots are taken below */
                alpha_i[t][u] = gi[u];
                gr[u] = x * inverse;
                gi[u] = q * inverse;
            }
        for (int t = 0; t < count; t++)
            for (int u = 0; u < UNITS; u++) {
                VEC hop = c[t][u], share = NAME(reciprocal)(qs[t][u]);
                beta[t][u] = rows.eta[t][u] * share;
                if (problem->complex_phase) {
                    VEC root = -hop * NAME(root)((t ? qs[t - 1][u] : q_before[u]) * share);
                    alpha_r[t][u] *= root;
                    alpha_i[t][u] *= root;
                } else
                    alpha_r[t][u] = NAME(absolute)(hop) * NAME(root)(alpha_i[t][u] * share);
            }
        memcpy(q_before, qs[count - 1], sizeof q_before);
        if (problem->complex_phase)
            NAME(write_complex)(view + 5, start, count, valid, alpha_r, alpha_i);
        else
            NAME(write)(view + 5, start, count, valid, alpha_r);
        NAME(write)(view + 6, start, count, valid, beta);
        NAME(write)(view + 7, start, count, valid, xs);
        NAME(write)(view + 8, start, count, valid, qs);
    }
    return bad;
}

/* The value of a stored real result before a tile, which must not be the first. */
SHARED void NAME(row_before)(const VIEW *view, int64_t start, VEC row[UNITS]) {
    for (int l = 0; l < LANES; l++) ((T *)row)[l] = view->base[view->offset[l] + (start - 1) * view->time];
}

static int64_t NAME(gates_backward_block)(const problem_t *problem, const array_t *arrays, int64_t first,
                                          int64_t valid) {
    VIEW view[13];
    int phase = problem->complex_phase != 0;
    for (int k = 0; k < 13; k++)
        NAME(bind)(view + k, problem, arrays + k, first, valid, k == 4 || (k == 5 && phase) || k == 7 || k == 12 ? 2 : 1);
    SINK potential, hopping, energy, eta;
    NAME(open)(&potential, problem, arrays + 8, first, valid);
    NAME(open)(&hopping, problem, arrays + 9, first, valid);
    NAME(open)(&energy, problem, arrays + 10, first, valid);
    NAME(open)(&eta, problem, arrays + 11, first, valid);
    TILE c, h, x, q, beta, cot_r, cot_i, g_r, g_i, da, dc, de;
    VEC x_hat[UNITS], q_hat[UNITS]; /* cotangents of the current x and q */
    NAME(read_state)(view + 7, x_hat, q_hat);
    for (int64_t tile = TILES_IN(problem) - 1; tile >= 0; tile--) {
        int count = TILE_COUNT(problem, tile);
        int64_t start = tile * STEPS;
        NAME(read)(view + 0, start, count, c);
        NAME(read)(view + 1, start, count, h);
        NAME(read)(view + 2, start, count, x);
        NAME(read)(view + 3, start, count, q);
        NAME(read)(view + 6, start, count, beta);
        if (phase)
            NAME(read_complex)(view + 5, start, count, cot_r, cot_i);
        else
            NAME(read)(view + 5, start, count, cot_r);
        VEC first_gr[UNITS], first_gi[UNITS], first_q[UNITS];
        if (start == 0)
            NAME(initial_gate)(view + 4, first_gr, first_gi, first_q);
        else {
            VEC first_x[UNITS];
            NAME(row_before)(view + 2, start, first_x);
            NAME(row_before)(view + 3, start, first_q);
            for (int u = 0; u < UNITS; u++) {
                VEC inverse = NAME(reciprocal)(first_x[u] * first_x[u] + first_q[u] * first_q[u]);
                first_gr[u] = first_x[u] * inverse;
                first_gi[u] = first_q[u] * inverse;
            }
        }
        for (int t = 0; t < count; t++)
            for (int u = 0; u < UNITS; u++) {
                VEC re = x[t][u], im = q[t][u], inverse = NAME(reciprocal)(re * re + im * im);
                g_r[t][u] = re * inverse;
                g_i[t][u] = im * inverse;
            }
        for (int t = count - 1; t >= 0; t--)
            for (int u = 0; u < UNITS; u++) {
                VEC hop = c[t][u], share = NAME(reciprocal)(q[t][u]), beta_hat = beta[t][u];
                VEC gr = t ? g_r[t - 1][u] : first_gr[u], gi = t ? g_i[t - 1][u] : first_gi[u];
                VEC q_before = t ? q[t - 1][u] : first_q[u];
                VEC q_total = q_hat[u], own = beta_hat * share * share;
                VEC gr_hat, gi_hat, c_hat, before_hat;
                if (phase) {
                    VEC root = NAME(root)(q_before * share), ar = cot_r[t][u], ai = cot_i[t][u];
                    c_hat = -root * (gr * ar + gi * ai);
                    gr_hat = -hop * root * ar;
                    gi_hat = -hop * root * ai;
                    VEC half = c_hat * hop * (T)0.5;
                    before_hat = half / q_before;
                    q_total -= half * share;
                } else {
                    VEC cot = cot_r[t][u], root = NAME(root)(gi * share), magnitude = NAME(absolute)(hop) * cot;
                    c_hat = NAME(sign)(hop) * cot * root;
                    gr_hat = NAME(splat)(0);
                    /* d sqrt(gi / q) / d gi; where gi is 0 there is no site before, and the value is not used. */
                    gi_hat = NAME(where_positive)(gi, (T)0.5 * magnitude * root / gi);
                    before_hat = NAME(splat)(0);
                    q_total -= (T)0.5 * magnitude * root * share;
                }
                VEC s = hop * hop;
                de[t][u] = q_total + own * s * gi; /* 1 / q - eta / q^2 as a product: the difference can vanish */
                q_total -= own * h[t][u];
                VEC s_hat = q_total * gi - x_hat[u] * gr;
                da[t][u] = x_hat[u];
                dc[t][u] = c_hat + 2 * hop * s_hat;
                gr_hat -= s * x_hat[u];
                gi_hat += s * q_total;
                VEC difference = gi * gi - gr * gr, product = 2 * gr * gi;
                x_hat[u] = gr_hat * difference - gi_hat * product;
                q_hat[u] = before_hat - gr_hat * product - gi_hat * difference;
            }
        NAME(put)(&potential, start, count, valid, da);
        NAME(put)(&hopping, start, count, valid, dc);
        NAME(put)(&eta, start, count, valid, de);
        NEGATED(da, da, count);
        NAME(put)(&energy, start, count, valid, da);
    }
    NAME(write_state)(view + 12, valid, x_hat, q_hat);
    NAME(close)(&potential, valid);
    NAME(close)(&hopping, valid);
    NAME(close)(&energy, valid);
    NAME(close)(&eta, valid);
    return 0;
}
