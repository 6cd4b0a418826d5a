/* What the caller hands to every kernel: the sizes, and the arrays in an order that each kernel documents. */
#ifndef RESOLVENT_PROBLEM_H
#define RESOLVENT_PROBLEM_H

#include <stdint.h>

/* Leading dimensions; every combination of their indices is one lane, an independent sequence. */
enum { LEADING = 3 };

typedef struct {
    int64_t shape[LEADING]; /* of the leading dimensions, padded with 1 */
    int64_t length;         /* sites in a sequence */
    int64_t keys;           /* rows of the matrix state */
    int64_t values;         /* value channels */
    int64_t chunk;          /* sites between two stored states */
    int64_t threads;
    int64_t complex_phase; /* 1: gates are complex numbers; 0: real */
    int64_t taps;          /* of the convolution */
    double site_limit;     /* largest |potential|, |energy| and eta */
    double hopping_limit;  /* largest |hopping| */
    double coupling_limit; /* largest product of two hoppings */
    double eta_floor;      /* smallest eta */
    double norm_eps;       /* what a norm adds to the mean of squares */
} problem_t;

/* Strides count real numbers, also in complex arrays, whose parts lie side by side. */
typedef struct {
    void *data;             /* NULL: the array is absent */
    int64_t lane[LEADING];  /* strides of the leading dimensions */
    int64_t time;           /* stride of the sites; 0: one value for all sites */
    int64_t row, column;    /* strides of the channels, or of the rows and columns of a state */
} array_t;

/* The sizes of a model that decodes a token, and the numbers in its formulas. */
typedef struct {
    int64_t layers, width, heads, keys, values; /* values: channels of one head */
    int64_t taps;                               /* of the convolution */
    int64_t bound;                              /* heads, the last ones, with potential and hopping of their own */
    int64_t vocabulary;
    int64_t copy_keys; /* of the copy memory; 0: there is none */
    int64_t token;     /* the one that is decoded */
    double norm_eps, epsilon, eta_gain, eta_floor, copy_gain;
} decode_t;

/* A kernel returns a bit for each array that holds a value it can't compute with, or this. */
enum { OUT_OF_MEMORY = -1 };

static inline int64_t lanes_of(const problem_t *problem) {
    return problem->shape[0] * problem->shape[1] * problem->shape[2];
}

static inline int64_t lane_offset(const problem_t *problem, const array_t *array, int64_t lane) {
    int64_t inner = lane % problem->shape[2];
    int64_t middle = lane / problem->shape[2] % problem->shape[1];
    int64_t outer = lane / problem->shape[2] / problem->shape[1];
    return outer * array->lane[0] + middle * array->lane[1] + inner * array->lane[2];
}

#endif
