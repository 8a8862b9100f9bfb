/* bind.c - the last stage: memory is allocated, programs are built, kernels get their arguments.
 *
 * What the plan needs is added up and compared with the device before anything is allocated. */
#include "plan/plan.h"
#include <stdlib.h>

enum { ALIGN = 64 }; /* of intervals, in bytes: a vector of 16 floats */

static bool enough_memory(clg_plan *p)
{
    const clg_device_info *device = clg_context_device(p->ctx);
    const uint64_t         held = clg_context_counters(p->ctx).bytes_allocated;
    uint64_t               fresh = 0;
    p->stats.persistent_bytes = p->stats.planned_bytes = 0;
    for (size_t i = 0; i < p->held_count; i++) {
        const clg__storage *s = p->held[i].storage;
        const uint64_t      bytes = (uint64_t)s->count * clg_dtype_size(s->dtype);
        p->stats.persistent_bytes += bytes;
        if (!s->buffer) fresh += bytes;
    }
    for (int i = 0; i < p->slab_sizes.count; i++) p->stats.planned_bytes += p->slab_sizes.bytes[i];
    const uint64_t need = fresh + p->stats.planned_bytes;
    if (need + held <= device->memory) return true;
    clg__fail(p->object.root, CLG_OUT_OF_MEMORY,
              "the plan needs %.1f MiB of device memory (%.1f MiB for parameters, inputs and outputs, %.1f MiB for "
              "intermediate values), but of the %.1f MiB of %s %.1f MiB are free: use a smaller batch or model",
              (double)need / 0x1p20, (double)fresh / 0x1p20, (double)p->stats.planned_bytes / 0x1p20,
              (double)device->memory / 0x1p20, device->name, (double)(device->memory - CLG__MIN(held, device->memory)) / 0x1p20);
    return false;
}

/* Before anything is recorded, since the sizes of what cannot fit may not even be launched upon. */
bool clg__plan_fits(clg_plan *p) { return enough_memory(p); }

static bool allocate(clg_plan *p)
{
    const clg_device_info *device = clg_context_device(p->ctx);
    uint64_t               largest = 0;
    for (size_t i = 0; i < p->interval_count; i++) largest = CLG__MAX(largest, p->intervals[i].bytes);
    if (!clg__plan_memory(p->intervals, p->interval_count, device->max_allocation, ALIGN, &p->slab_sizes)) {
        clg__fail(p->object.root, CLG_OUT_OF_MEMORY,
                  "an intermediate value needs %.1f MiB, but %s allocates at most %.1f MiB at once: use a smaller batch",
                  (double)largest / 0x1p20, device->name, (double)device->max_allocation / 0x1p20);
        return false;
    }
    if (!enough_memory(p)) return false;
    for (size_t i = 0; i < p->held_count; i++)
        if (clg__storage_ready(p->held[i].storage) != CLG_OK) return false;
    p->slabs = clg__calloc(p->object.root, (size_t)p->slab_sizes.count, sizeof(clg__buffer *));
    if (!p->slabs && p->slab_sizes.count) return false;
    for (int i = 0; i < p->slab_sizes.count; i++) {
        p->slabs[i] = clg__buffer_create(p->ctx, p->slab_sizes.bytes[i], "the intermediate values");
        if (!p->slabs[i]) return false;
    }
    return true;
}

static clg__span address(const clg_plan *p, const clg__place *at)
{
    if (at->storage) return (clg__span){at->storage->buffer, (uint64_t)at->offset};
    const clg__interval *i = &p->intervals[at->interval]; /* every type in planned memory has four bytes */
    return (clg__span){i->slab < 0 ? NULL : p->slabs[i->slab], i->offset / 4 + (uint64_t)at->offset};
}

static bool bind_kernel(clg_plan *p, clg__planned *l, clg__program *generated)
{
    const clg__program_desc unit = {.unit = l->unit, .defines = l->defines};
    clg__value             *values = clg__calloc(p->object.root, l->arg_count, sizeof *values);
    clg__kernel_desc        desc = {.program = l->unit ? clg__program_get(p->ctx, &unit) : generated, .name = l->kernel,
                                    .args = values, .arg_count = l->arg_count};
    for (size_t i = 0; values && i < l->arg_count; i++) {
        const clg__planned_arg *arg = &l->args[i];
        values[i].kind = arg->kind;
        if (arg->kind == CLG__SPAN) values[i].span = address(p, &arg->place);
        else if (arg->kind == CLG__I32) values[i].i32 = arg->i32;
        else if (arg->kind == CLG__U32) values[i].u32 = arg->u32;
        else if (arg->kind == CLG__U64) values[i].u64 = arg->u64;
        else values[i].f32 = arg->f32;
    }
    for (int i = 0; i < 3; i++) {
        desc.groups[i] = (size_t)l->groups[i];
        desc.local[i] = l->local[i];
    }
    if (values && desc.program) l->launch = clg__kernel_create(p->ctx, &desc);
    free(values);
    return l->launch != NULL;
}

static bool bind_gemm(clg_plan *p, clg__planned *l)
{
    clg__span span[6];
    for (int i = 0; i < 6; i++) span[i] = address(p, &l->args[i].place);
    l->call = clg__gemm_create(p->ctx, &l->gemm, l->engine, &(clg__operands){
        .a = span[0], .b = span[1], .c = span[2], .bias = span[3], .other = span[4], .workspace = span[5]});
    return l->call != NULL;
}

static bool bind_launches(clg_plan *p)
{
    clg__program *generated = NULL;
    if (p->source.size) {
        generated = clg__program_get(p->ctx, &(clg__program_desc){.source = p->source.data});
        if (!generated) return false;
    }
    for (size_t i = 0; i < p->launch_count; i++) {
        clg__planned *l = &p->launches[i];
        if (!(l->is_gemm ? bind_gemm(p, l) : bind_kernel(p, l, generated))) return false;
        const size_t launches = l->is_gemm ? clg__gemm_launches(l->call) : 1;
        p->stats.launches += launches;
        if (l->kept) p->stats.kept_launches += launches;
    }
    return true;
}

bool clg__plan_bind(clg_plan *p)
{
    if (!allocate(p)) return false;
    clg__builds_defer(p->ctx);
    const bool bound = bind_launches(p);
    return clg__builds_finish(p->ctx) == CLG_OK && bound;
}
