/* The root mean square norm of rows, and its exact gradient; a lane is a block of rows.
 *
 *     out = x s weight,   s = (mean(x^2) + eps)^-1/2
 *
 * `length` counts all rows, `values` the numbers in one, `chunk` the rows in a block; all arrays are contiguous.
 *
 * forward   0 rows, 1 weight; results 2 rows, 3 s of each
 * backward  0 rows, 1 weight, 2 s, 3 cotangent of the result; results 4 rows, 5 weight for each block */

/* The sum of f(i) over a row: vectors in `whole`, the numbers that are left in `rest`. */
#define ROW_SUM(width, whole, rest, result)                                                  \
    {                                                                                        \
        VEC sums_[4] = {{0}};                                                                \
        int64_t i = 0;                                                                       \
        for (; i + 4 * WIDTH <= (width); i += 4 * WIDTH)                                     \
            for (int64_t n = 0, at = i; n < 4; n++, at += WIDTH) sums_[n] += whole;          \
        for (int64_t at = i; at + WIDTH <= (width); at += WIDTH, i += WIDTH) sums_[0] += whole; \
        result = NAME(total)((sums_[0] + sums_[1]) + (sums_[2] + sums_[3]));                 \
        for (; i < (width); i++) result += rest;                                             \
    }
#define AT(array) (*(const PACKED *)((array) + at))

static int64_t NAME(norm_lane)(const problem_t *problem, const array_t *arrays, int64_t index) {
    int64_t width = problem->values, start = index * problem->chunk;
    int64_t end = start + problem->chunk < problem->length ? start + problem->chunk : problem->length;
    const T *weight = arrays[1].data;
    for (int64_t row = start; row < end; row++) {
        const T *x = (const T *)arrays[0].data + row * width;
        T *result = (T *)arrays[2].data + row * width, sum, scale;
        ROW_SUM(width, AT(x) * AT(x), x[i] * x[i], sum)
        ((T *)arrays[3].data)[row] = scale = 1 / NAME(scalar_root)(sum / (T)width + (T)problem->norm_eps);
        int64_t at = 0;
        for (; at + WIDTH <= width; at += WIDTH) *(PACKED *)(result + at) = AT(x) * scale * AT(weight);
        for (; at < width; at++) result[at] = x[at] * scale * weight[at];
    }
    return 0;
}

static int64_t NAME(norm_backward_lane)(const problem_t *problem, const array_t *arrays, int64_t index) {
    int64_t width = problem->values, start = index * problem->chunk;
    int64_t end = start + problem->chunk < problem->length ? start + problem->chunk : problem->length;
    const T *weight = arrays[1].data;
    T *weight_hat = (T *)arrays[5].data + index * width;
    for (int64_t i = 0; i < width; i++) weight_hat[i] = 0;
    for (int64_t row = start; row < end; row++) {
        const T *x = (const T *)arrays[0].data + row * width, *hat = (const T *)arrays[3].data + row * width;
        T *x_hat = (T *)arrays[4].data + row * width, scale = ((const T *)arrays[2].data)[row], sum;
        ROW_SUM(width, AT(x) * AT(hat) * AT(weight), x[i] * hat[i] * weight[i], sum)
        sum *= scale * scale / (T)width;
        int64_t at = 0;
        for (; at + WIDTH <= width; at += WIDTH) {
            *(PACKED *)(x_hat + at) = scale * (AT(weight) * AT(hat) - sum * AT(x));
            *(PACKED *)(weight_hat + at) += AT(hat) * (AT(x) * scale);
        }
        for (; at < width; at++) {
            x_hat[at] = scale * (weight[at] * hat[at] - sum * x[at]);
            weight_hat[at] += hat[at] * (x[at] * scale);
        }
    }
    return 0;
}

#undef ROW_SUM
#undef AT
