/* bench_peak.c - the roofline (Williams, Waterman & Patterson 2009): how fast this device multiplies and adds when it
 * does nothing else, and how fast it copies as many bytes as an operator moves, so that what fits in a cache is held to
 * the cache's speed. Both are measured, now. The kernels' shape is a vector's width, a group's size and enough
 * groups. */
#include "bench.h"

#include <clgrad/cl.h>
#include <stdio.h>

enum {
    CHAINS = 12,    /* enough independent sums to hide a multiply-add's latency, few enough for 16 registers */
    ROUNDS = 32768, /* far longer than a launch takes, fewer than the 65,535 turns of llvmpipe's loops */
};

static const char source[] =
    "#if VEC == 1\n"
    "typedef float V;\n"
    "#else\n"
    "#define JOIN(a, b) a##b\n"
    "#define VECTOR(n) JOIN(float, n)\n"
    "typedef VECTOR(VEC) V;\n"
    "#endif\n"
    "kernel __attribute__((reqd_work_group_size(WG, 1, 1)))\n"
    "void multiply_add(global float *y, float a, float b)\n"
    "{\n"
    "    const float at = (float)get_global_id(0);\n"
    "#define EACH(S) S(0) S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11)\n"
    "#define BEGIN(i) V x##i = (V)(at + i);\n"
    "#define STEP(i) x##i = fma(x##i, (V)a, (V)b);\n"
    "#define ADD(i) sum += x##i;\n"
    "    EACH(BEGIN)\n"
    "    for (int r = 0; r < ROUNDS; r++) { EACH(STEP) }\n"
    "    V sum = (V)0.0f;\n"
    "    EACH(ADD)\n"
    "    union { V v; float f[VEC]; } u = {.v = sum};\n"
    "    float all = 0.0f;\n"
    "    for (int i = 0; i < VEC; i++) all += u.f[i];\n"
    "    y[get_global_id(0)] = all;\n"
    "}\n"
    "kernel __attribute__((reqd_work_group_size(WG, 1, 1)))\n"
    "void copy(global const V *x, global V *y, uint each)\n"
    "{\n"
    "    const size_t from = get_group_id(0) * (size_t)each * WG + get_local_id(0);\n"
    "    for (uint i = 0; i < each; i++) y[from + i * WG] = x[from + i * WG];\n"
    "}\n";

typedef struct launch {
    cl_command_queue queue;
    cl_kernel        kernel;
    size_t           global, local;
    cl_int           code;
} launch;

static void enqueue(void *user)
{
    launch *l = user;
    if (l->code == CL_SUCCESS)
        l->code = clEnqueueNDRangeKernel(l->queue, l->kernel, 1, NULL, &l->global, &l->local, 0, NULL, NULL);
}

bench_peak bench_peak_measure(clg_context *ctx, double bytes)
{
    const clg_device_info *device = clg_context_device(ctx);
    const clg_profile     *profile = &device->profile;
    const size_t wg = profile->wg, vec = profile->vec, groups = (size_t)profile->groups * device->compute_units;
    const double step = (double)(groups * wg * vec) * 2.0 * sizeof(float); /* of both arrays, one vector an item */
    if (bytes > 0x1p27) bytes = 0x1p27;
    const cl_uint each = bytes > step ? (cl_uint)(bytes / step) : 1;
    const size_t  half = groups * wg * vec * each * sizeof(float);
    char          options[128];
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DWG=%zu -DVEC=%zu -DROUNDS=%d", wg, vec, ROUNDS);

    const char      *text = source;
    cl_device_id     id = clg_context_cl_device(ctx);
    cl_context       cl = clg_context_cl_context(ctx);
    cl_int           code = CL_SUCCESS;
    cl_program       program = clCreateProgramWithSource(cl, 1, &text, NULL, &code);
    if (program) code = clBuildProgram(program, 1, &id, options, NULL, NULL);
    cl_kernel        fma = code == CL_SUCCESS ? clCreateKernel(program, "multiply_add", &code) : NULL;
    cl_kernel        copy = fma ? clCreateKernel(program, "copy", &code) : NULL;
    cl_mem           x = copy ? clCreateBuffer(cl, CL_MEM_READ_WRITE, half, NULL, &code) : NULL;
    cl_mem           y = x ? clCreateBuffer(cl, CL_MEM_READ_WRITE, half, NULL, &code) : NULL;
    bench_peak       peak = {0};
    if (y) {
        const cl_float   a = 0.5f, b = 1.0f;
        const cl_command_queue queue = clg_context_cl_queue(ctx);
        launch multiply = {queue, fma, groups * wg, wg, CL_SUCCESS}, move = {queue, copy, groups * wg, wg, CL_SUCCESS};
        code |= clSetKernelArg(fma, 0, sizeof y, &y) | clSetKernelArg(fma, 1, sizeof a, &a);
        code |= clSetKernelArg(fma, 2, sizeof b, &b) | clSetKernelArg(copy, 0, sizeof x, &x);
        code |= clSetKernelArg(copy, 1, sizeof y, &y) | clSetKernelArg(copy, 2, sizeof each, &each);
        const bench_times fast = bench_time(ctx, 0, 0.15, enqueue, &multiply);
        const bench_times wide = bench_time(ctx, 0, 0.15, enqueue, &move);
        if (multiply.code == CL_SUCCESS)
            peak.flops = 2.0 * CHAINS * ROUNDS * (double)(groups * wg * vec) / fast.best;
        if (move.code == CL_SUCCESS) peak.bytes = 2.0 * (double)half / wide.best;
        code |= multiply.code | move.code;
    }
    if (code != CL_SUCCESS)
        clg_context_fail(ctx, CLG_OPENCL, "the roofline's kernels do not run on %s (%d)", device->name, code);
    if (y) clReleaseMemObject(y);
    if (x) clReleaseMemObject(x);
    if (copy) clReleaseKernel(copy);
    if (fma) clReleaseKernel(fma);
    if (program) clReleaseProgram(program);
    return peak;
}
