/* The causal diagonal g_i = [(H_[0..i] - z)^-1]_ii and the causal Green operator
 *     y_i = g_i (u_i - c_i y_{i-1}) = sum_{j <= i} [(H_[0..i] - z)^-1]_ij u_j
 * on any number of channels, none included, with their exact gradients.
 *
 * forward   0 potential, 1 hopping c (absent without channels), 2 coupling s (absent: c^2), 3 energy, 4 eta, 5 u,
 *           6 initial g, 7 initial y; results 8 g, 9 y
 * backward  0 hopping, 1 coupling, 2 g, 3 y, 4 initial g, 5 initial y, 6 cotangent of g, 7 cotangent of y;
 *           results 8 potential, 9 hopping, 10 coupling, 11 energy, 12 eta, 13 u, 14 initial g, 15 initial y */

INLINE VIEW NAME(channel)(const VIEW *view, int64_t stride, int64_t channel) {
    VIEW shifted = *view;
    if (view->base) shifted.base += stride * channel;
    return shifted;
}

INLINE void NAME(square)(TILE rows, int count, TILE squares) {
    for (int t = 0; t < count; t++)
        for (int u = 0; u < UNITS; u++) squares[t][u] = rows[t][u] * rows[t][u];
}

static int64_t NAME(causal_block)(const problem_t *problem, const array_t *arrays, int64_t first, int64_t valid) {
    VIEW view[10];
    for (int k = 0; k < 10; k++)
        NAME(bind)(view + k, problem, arrays + k, first, valid, k >= 6 ? 2 : 1);
    int64_t channels = view[5].base ? problem->values : 0;
    VEC(*y)[2][UNITS] = allocate((channels + 1) * sizeof *y);
    if (!y) return OUT_OF_MEMORY;
    VEC gr[UNITS], gi[UNITS];
    NAME(read_state)(view + 6, gr, gi);
    for (int64_t p = 0; p < channels; p++) {
        VIEW initial = NAME(channel)(view + 7, arrays[7].column, p);
        NAME(read_state)(&initial, y[p][0], y[p][1]);
    }

    SITES sites = {view[0], view[2], view[3], view[4]};
    SITE_ROWS rows;
    TILE hopping, u_rows, g_r, g_i, y_r, y_i;
    int64_t bad = NAME(begin_rows)(problem, &sites, &rows);
    for (int64_t tile = 0; tile < TILES_IN(problem); tile++) {
        int count = TILE_COUNT(problem, tile);
        int64_t start = tile * STEPS;
        bad |= NAME(read_sites)(problem, &sites, start, count, &rows);
        if (view[1].base) {
            T limit = (T)problem->hopping_limit;
            NAME(read)(view + 1, start, count, hopping);
            bad |= (int64_t)!NAME(within)(hopping, count, -limit, limit) << 4;
            if (!view[2].base) NAME(square)(hopping, count, rows.coupling);
        }
        NAME(sweep_left)(&rows, count, gr, gi, g_r, g_i);
        NAME(write_complex)(view + 8, start, count, valid, g_r, g_i);
        for (int64_t p = 0; p < channels; p++) {
            VIEW input = NAME(channel)(view + 5, arrays[5].column, p);
            VIEW output = NAME(channel)(view + 9, arrays[9].column, p);
            VEC yr[UNITS], yi[UNITS];
            memcpy(yr, y[p][0], sizeof yr);
            memcpy(yi, y[p][1], sizeof yi);
            NAME(read)(&input, start, count, u_rows);
            bad |= (int64_t)!NAME(within)(u_rows, count, -LARGEST, LARGEST) << 5;
            for (int t = 0; t < count; t++)
                for (int u = 0; u < UNITS; u++) {
                    VEC c = hopping[t][u], re = u_rows[t][u] - c * yr[u], im = -c * yi[u];
                    y_r[t][u] = yr[u] = g_r[t][u] * re - g_i[t][u] * im;
                    y_i[t][u] = yi[u] = g_r[t][u] * im + g_i[t][u] * re;
                }
            memcpy(y[p][0], yr, sizeof yr);
            memcpy(y[p][1], yi, sizeof yi);
            NAME(write_complex)(&output, start, count, valid, y_r, y_i);
        }
    }
    free(y);
    return bad;
}

/* A tile of a stored complex result, and the row before it: from the tile before, or the initial value. */
SHARED void NAME(read_result)(const VIEW *view, const VIEW *initial, int64_t start, int count, TILE real,
                              TILE imaginary, VEC before_r[UNITS], VEC before_i[UNITS]) {
    NAME(read_complex)(view, start, count, real, imaginary);
    if (start == 0) {
        NAME(read_state)(initial, before_r, before_i);
        return;
    }
    VIEW previous = *view;
    previous.base += (start - 1) * view->time;
    NAME(read_state)(&previous, before_r, before_i);
}

static int64_t NAME(causal_backward_block)(const problem_t *problem, const array_t *arrays, int64_t first,
                                           int64_t valid) {
    VIEW view[16];
    for (int k = 0; k < 16; k++)
        NAME(bind)(view + k, problem, arrays + k, first, valid, (k >= 2 && k <= 7) || k >= 14 ? 2 : 1);
    SINK potential, hopping, coupling, energy, eta;
    NAME(open)(&potential, problem, arrays + 8, first, valid);
    NAME(open)(&hopping, problem, arrays + 9, first, valid);
    NAME(open)(&coupling, problem, arrays + 10, first, valid);
    NAME(open)(&energy, problem, arrays + 11, first, valid);
    NAME(open)(&eta, problem, arrays + 12, first, valid);
    int64_t channels = view[3].base ? problem->values : 0;
    VEC(*nu)[2][UNITS] = allocate((channels + 1) * sizeof *nu); /* c u^ of the site behind */
    if (!nu) return OUT_OF_MEMORY;
    memset(nu, 0, (channels + 1) * sizeof *nu);

    TILE c_rows, s_rows, g_r, g_i, y_r, y_i, cot_r, cot_i, sum_r, sum_i, du, da, dc, ds, de;
    VEC tau_r[UNITS] = {{0}}, tau_i[UNITS] = {{0}}; /* s t of the site behind */
    for (int64_t tile = TILES_IN(problem) - 1; tile >= 0; tile--) {
        int count = TILE_COUNT(problem, tile);
        int64_t start = tile * STEPS;
        VEC g_before_r[UNITS], g_before_i[UNITS], y_before_r[UNITS], y_before_i[UNITS];
        if (view[0].base) NAME(read)(view + 0, start, count, c_rows);
        if (view[1].base)
            NAME(read)(view + 1, start, count, s_rows);
        else
            NAME(square)(c_rows, count, s_rows);
        NAME(read_result)(view + 2, view + 4, start, count, g_r, g_i, g_before_r, g_before_i);
        memset(sum_r, 0, sizeof sum_r);
        memset(sum_i, 0, sizeof sum_i);
        memset(dc, 0, sizeof dc);
        for (int64_t p = 0; p < channels; p++) {
            VIEW result = NAME(channel)(view + 3, arrays[3].column, p);
            VIEW initial = NAME(channel)(view + 5, arrays[5].column, p);
            VIEW cotangent = NAME(channel)(view + 7, arrays[7].column, p);
            VIEW input = NAME(channel)(view + 13, arrays[13].column, p);
            VEC nur[UNITS], nui[UNITS];
            memcpy(nur, nu[p][0], sizeof nur);
            memcpy(nui, nu[p][1], sizeof nui);
            NAME(read_complex)(&cotangent, start, count, cot_r, cot_i);
            NAME(read_result)(&result, &initial, start, count, y_r, y_i, y_before_r, y_before_i);
            for (int t = count - 1; t >= 0; t--)
                for (int u = 0; u < UNITS; u++) {
                    VEC c = c_rows[t][u], mu_r = cot_r[t][u] - nur[u], mu_i = cot_i[t][u] - nui[u];
                    VEC ur = g_r[t][u] * mu_r + g_i[t][u] * mu_i, ui = g_r[t][u] * mu_i - g_i[t][u] * mu_r;
                    VEC before_r = t ? y_r[t - 1][u] : y_before_r[u], before_i = t ? y_i[t - 1][u] : y_before_i[u];
                    du[t][u] = ur;
                    dc[t][u] -= ur * before_r + ui * before_i;
                    sum_r[t][u] += ur * y_r[t][u] + ui * y_i[t][u];
                    sum_i[t][u] += ui * y_r[t][u] - ur * y_i[t][u];
                    nur[u] = c * ur;
                    nui[u] = c * ui;
                }
            memcpy(nu[p][0], nur, sizeof nur);
            memcpy(nu[p][1], nui, sizeof nui);
            NAME(write)(&input, start, count, valid, du);
        }
        if (view[6].base)
            NAME(read_complex)(view + 6, start, count, cot_r, cot_i);
        else {
            memset(cot_r, 0, sizeof cot_r);
            memset(cot_i, 0, sizeof cot_i);
        }
        for (int t = count - 1; t >= 0; t--)
            for (int u = 0; u < UNITS; u++) {
                VEC square_r = g_r[t][u] * g_r[t][u] - g_i[t][u] * g_i[t][u], square_i = 2 * g_r[t][u] * g_i[t][u];
                VEC in_r = tau_r[u] + cot_r[t][u], in_i = tau_i[u] + cot_i[t][u], s = s_rows[t][u];
                VEC tr = square_r * in_r + square_i * in_i + sum_r[t][u];
                VEC ti = square_r * in_i - square_i * in_r + sum_i[t][u];
                VEC before_r = t ? g_r[t - 1][u] : g_before_r[u], before_i = t ? g_i[t - 1][u] : g_before_i[u];
                da[t][u] = -tr;
                de[t][u] = ti;
                ds[t][u] = tr * before_r + ti * before_i;
                tau_r[u] = s * tr;
                tau_i[u] = s * ti;
            }
        if (!view[1].base)
            for (int t = 0; t < count; t++)
                for (int u = 0; u < UNITS; u++) dc[t][u] += 2 * c_rows[t][u] * ds[t][u];
        NAME(put)(&potential, start, count, valid, da);
        NAME(put)(&hopping, start, count, valid, dc);
        NAME(put)(&coupling, start, count, valid, ds);
        NAME(put)(&eta, start, count, valid, de);
        NEGATED(da, da, count);
        NAME(put)(&energy, start, count, valid, da);
    }
    NAME(write_state)(view + 14, valid, tau_r, tau_i);
    for (int64_t p = 0; p < channels; p++) {
        VIEW initial = NAME(channel)(view + 15, arrays[15].column, p);
        for (int u = 0; u < UNITS; u++) {
            nu[p][0][u] = -nu[p][0][u];
            nu[p][1][u] = -nu[p][1][u];
        }
        NAME(write_state)(&initial, valid, nu[p][0], nu[p][1]);
    }
    NAME(close)(&potential, valid);
    NAME(close)(&hopping, valid);
    NAME(close)(&coupling, valid);
    NAME(close)(&energy, valid);
    NAME(close)(&eta, valid);
    free(nu);
    return 0;
}
