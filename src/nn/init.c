/* init.c - first values of weights: U(-a, a) or N(0, s^2), with a and s from the fans or given.
 *
 * Drawn on the host from the counter-based generator, so they are the same on every device. */
#include "init.h"
#include <math.h>
#include <string.h>

static void fill_uniform(float *value, size_t count, uint64_t seed, double a)
{
    for (size_t i = 0; i < count; i++) value[i] = (float)(a * (2.0 * (double)clg_random_uniform(seed, i) - 1.0));
}

void clg_fill_normal(float *value, size_t count, uint64_t seed, double s) /* Box & Muller 1958 */
{
    for (size_t i = 0; i < count; i++) {
        const double u = 1.0 - (double)clg_random_uniform(seed, 2 * i), v = (double)clg_random_uniform(seed, 2 * i + 1);
        value[i] = (float)(s * sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
    }
}

static void fill_zeros(float *value, size_t count, uint64_t seed, double scale)
{
    (void)seed, (void)scale;
    memset(value, 0, count * sizeof *value);
}

/* variance = gain / (constant + in fan_in + out fan_out); a uniform distribution on (-a, a) has variance a^2 / 3 */
static const struct {
    clg_fill_fn *fill;
    double       gain, in, out, constant;
} initialisers[CLG_INIT_COUNT] = {
    [CLG_INIT_DEFAULT] = {fill_uniform, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_GLOROT_UNIFORM] = {fill_uniform, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_GLOROT_NORMAL] = {clg_fill_normal, 2.0, 1.0, 1.0, 0.0},
    [CLG_INIT_HE_UNIFORM] = {fill_uniform, 2.0, 1.0, 0.0, 0.0},
    [CLG_INIT_HE_NORMAL] = {clg_fill_normal, 2.0, 1.0, 0.0, 0.0},
    [CLG_INIT_ZEROS] = {fill_zeros, 0.0, 0.0, 0.0, 1.0},
    [CLG_INIT_HE_NORMAL_OUT] = {clg_fill_normal, 2.0, 0.0, 1.0, 0.0},
    [CLG_INIT_NORMAL] = {clg_fill_normal, 1.0, 0.0, 0.0, 1.0},
    [CLG_INIT_GPT2] = {clg_fill_normal, 4e-4, 0.0, 0.0, 1.0},
};

bool clg__init(int init, double fan_in, double fan_out, clg_fill_fn **fill, double *scale)
{
    if (init < 0 || init >= CLG_INIT_COUNT) return false;
    const double variance = initialisers[init].gain / (initialisers[init].constant + initialisers[init].in * fan_in +
                                                       initialisers[init].out * fan_out);
    *fill = initialisers[init].fill;
    *scale = sqrt(*fill == fill_uniform ? 3.0 * variance : variance);
    return true;
}
