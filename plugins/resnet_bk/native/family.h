/* Everything that is written once and compiled for each element type T and number of vectors UNITS. */
#define WIDTH (VECTOR_BYTES / T_BYTES)
#define LANES (UNITS * WIDTH)
/* Few enough that all tiles of a kernel stay in the first-level cache. */
#if UNITS == 1
#define STEPS 16
#define LOG_STEPS 4
#else
#define STEPS 8
#define LOG_STEPS 3
#endif

typedef T NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
#define VEC NAME(vec)

#include "vectors.h"
#include "tiles.h"
#include "sinks.h"
#include "sites.h"
#include "diagonal.h"
#include "diagonal_gradient.h"
#include "operator.h"
#include "gates.h"
