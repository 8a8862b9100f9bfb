/* init.c - first values of weights: U(-a, a), N(0, s^2) or orthogonal, with a and s from the fans or given.
 *
 * Drawn on the host from the counter-based generator, so they are the same on every device. */
#include "init.h"
#include <math.h>
#include <string.h>

void clg_fill_uniform(float *value, clg_shape shape, uint64_t seed, double a)
{
    const size_t count = (size_t)clg_shape_count(shape);
    for (size_t i = 0; i < count; i++) value[i] = (float)(a * (2.0 * (double)clg_random_uniform(seed, i) - 1.0));
}

void clg_fill_normal(float *value, clg_shape shape, uint64_t seed, double s) /* Box & Muller 1958 */
{
    const size_t count = (size_t)clg_shape_count(shape);
    for (size_t i = 0; i < count; i++) {
        const double u = 1.0 - (double)clg_random_uniform(seed, 2 * i), v = (double)clg_random_uniform(seed, 2 * i + 1);
        value[i] = (float)(s * sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
    }
}

static double dot(const float *a, const float *b, size_t n, size_t step)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i * step] * (double)b[i * step];
    return sum;
}

/* The rows, or the columns where they are fewer, of a normal matrix by Gram and Schmidt, each twice: once leaves what
 * rounding makes of nearly dependent vectors (Giraud et al. 2005). */
void clg_fill_orthogonal(float *value, clg_shape shape, uint64_t seed, double scale)
{
    const size_t count = (size_t)clg_shape_count(shape), rows = shape.rank ? (size_t)shape.dim[0] : 1,
                 columns = count / rows;
    const size_t vectors = rows < columns ? rows : columns, n = count / vectors;
    const size_t next = rows < columns ? columns : 1, step = rows < columns ? 1 : columns; /* vector, element */
    clg_fill_normal(value, shape, seed, 1.0);
    for (size_t k = 0; k < vectors; k++) {
        float *v = value + k * next;
        for (size_t j = 0; j < 2 * k; j++) {
            const float *q = value + j % k * next;
            const double along = dot(v, q, n, step);
            for (size_t i = 0; i < n; i++) v[i * step] = (float)((double)v[i * step] - along * (double)q[i * step]);
        }
        const double length = sqrt(dot(v, v, n, step));
        for (size_t i = 0; i < n; i++) v[i * step] = (float)((double)v[i * step] / length);
    }
    for (size_t i = 0; i < count; i++) value[i] = (float)(scale * (double)value[i]);
}

static void fill_zeros(float *value, clg_shape shape, uint64_t seed, double scale)
{
    (void)seed, (void)scale;
    memset(value, 0, (size_t)clg_shape_count(shape) * sizeof *value);
}

/* variance = gain / (constant + in fan_in + out fan_out); a uniform distribution on (-a, a) has variance a^2 / 3 */
static const struct {
    clg_fill_fn *fill;
    double       gain, in, out, constant;
} initialisers[CLG_INIT_COUNT] = {
    [CLG_INIT_DEFAULT] = {clg_fill_uniform, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_GLOROT_UNIFORM] = {clg_fill_uniform, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_GLOROT_NORMAL] = {clg_fill_normal, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_HE_UNIFORM] = {clg_fill_uniform, 2.0, 1.0, 0.0, 0.0},
    [CLG_INIT_HE_NORMAL] = {clg_fill_normal, 2.0, 1.0, 0.0, 0.0},
    [CLG_INIT_ZEROS] = {fill_zeros, 0.0, 0.0, 0.0, 1.0},
    [CLG_INIT_HE_NORMAL_OUT] = {clg_fill_normal, 2.0, 0.0, 1.0, 0.0},
    [CLG_INIT_NORMAL] = {clg_fill_normal, 1.0, 0.0, 0.0, 1.0},
    [CLG_INIT_GPT2] = {clg_fill_normal, 4e-4, 0.0, 0.0, 1.0},
    [CLG_INIT_UNIFORM] = {clg_fill_uniform, 0.05 * 0.05 / 3.0, 0.0, 0.0, 1.0},
    [CLG_INIT_ORTHOGONAL] = {clg_fill_orthogonal, 1.0, 0.0, 0.0, 1.0},
};

bool clg__init(int init, double fan_in, double fan_out, clg_fill_fn **fill, double *scale)
{
    if (init < 0 || init >= CLG_INIT_COUNT) return false;
    const double variance = initialisers[init].gain / (initialisers[init].constant + initialisers[init].in * fan_in +
                                                       initialisers[init].out * fan_out);
    *fill = initialisers[init].fill;
    *scale = sqrt(*fill == clg_fill_uniform ? 3.0 * variance : variance);
    return true;
}
