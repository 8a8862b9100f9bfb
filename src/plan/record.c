/* record.c - the operators' side of a plan: what they launch is noted down, with places instead of addresses. */
#include "plan/plan.h"
#include <ctype.h>
#include <string.h>

typedef struct clg__recorder {
    clg_plan *plan;
    int       step;
    clg__place out, forward, other, channel[CLG__MOST_CHANNELS];
    int       workspaces[4]; /* intervals */
    int       workspace_count;
    clg__planned_arg source[2 * CLG__MOST_PRODUCED]; /* what the first input is made of */
    size_t    source_count; /* 0: it is in memory */
} clg__recorder;

int clg__record_workspace(clg__record *r, uint64_t bytes)
{
    clg__recorder *c = r->recorder;
    if (c->workspace_count == (int)CLG__COUNT(c->workspaces)) return -1;
    c->workspaces[c->workspace_count] = clg__plan_interval(c->plan, bytes, c->step, c->step);
    return c->workspace_count++;
}

static bool resolve(const clg__record *r, const clg__arg *arg, clg__planned_arg *out)
{
    const clg__recorder *c = r->recorder;
    switch (arg->kind) {
    case CLG__ARG_SOURCE: /* one that is in memory */
    case CLG__ARG_IN: *out = (clg__planned_arg){CLG__SPAN, clg__plan_where(c->plan, r->node->in[arg->index]), {0}}; return true;
    case CLG__ARG_OUT: *out = (clg__planned_arg){CLG__SPAN, c->out, {0}}; return true;
    case CLG__ARG_FORWARD: *out = (clg__planned_arg){CLG__SPAN, r->forward ? c->forward : c->out, {0}}; return true;
    case CLG__ARG_OTHER: *out = (clg__planned_arg){CLG__SPAN, r->other ? c->other : c->out, {0}}; return true;
    case CLG__ARG_CHANNEL:
        *out = (clg__planned_arg){CLG__SPAN, arg->index < r->channels ? c->channel[arg->index] : c->out, {0}};
        return true;
    case CLG__ARG_WORKSPACE:
        if (arg->index < 0 || arg->index >= c->workspace_count || c->workspaces[arg->index] < 0) return false;
        *out = (clg__planned_arg){CLG__SPAN, {NULL, c->workspaces[arg->index], (int64_t)c->plan->guard}, {0}};
        return true;
    case CLG__ARG_I32: *out = (clg__planned_arg){.kind = CLG__I32, .i32 = arg->i32}; return true;
    case CLG__ARG_U32: *out = (clg__planned_arg){.kind = CLG__U32, .u32 = arg->u32}; return true;
    case CLG__ARG_U64: *out = (clg__planned_arg){.kind = CLG__U64, .u64 = arg->u64}; return true;
    case CLG__ARG_F32: *out = (clg__planned_arg){.kind = CLG__F32, .f32 = arg->f32}; return true;
    case CLG__ARG_NUMBER: break; /* several arguments */
    case CLG__ARG_ROWS: *out = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)r->rows}; return true;
    case CLG__ARG_COLS: *out = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)r->n}; return true;
    }
    return false;
}

/* A NUMBER: where it lies, whether it lies nowhere, and what it is then. */
static clg__planned_arg *put_number(const clg__record *r, int index, clg__planned_arg *to)
{
    const clg_tensor *in = r->node->in[index];
    const bool        constant = in->op == &clg__op_full;
    const clg__place  at = constant ? r->recorder->out : clg__plan_where(r->recorder->plan, in);
    *to++ = (clg__planned_arg){CLG__SPAN, at, {0}};
    *to++ = (clg__planned_arg){.kind = CLG__U32, .u32 = constant};
    *to++ = (clg__planned_arg){.kind = CLG__F32, .f32 = constant ? (float)((const clg__full_attr *)in->attr)->value : 0.0f};
    return to;
}

static clg_status add(clg__record *r, clg__planned *launch, const clg__arg *args, size_t count)
{
    clg_plan *p = r->recorder->plan;
    launch->step = r->recorder->step;
    launch->args = clg__arena_alloc(&p->arena, (3 * count + r->recorder->source_count) * sizeof *launch->args);
    bool ok = launch->args != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        const bool made = args[i].kind == CLG__ARG_SOURCE && r->recorder->source_count;
        for (size_t k = 0; made && k < r->recorder->source_count; k++) launch->args[launch->arg_count++] = r->recorder->source[k];
        if (args[i].kind == CLG__ARG_NUMBER)
            launch->arg_count = (size_t)(put_number(r, args[i].index, launch->args + launch->arg_count) - launch->args);
        else
            ok = made || resolve(r, &args[i], &launch->args[launch->arg_count++]);
    }
    if (ok && clg__plan_add_launch(p, launch)) return CLG_OK;
    return clg__fail(p->object.root, CLG_OUT_OF_MEMORY, "%s: out of host memory for the plan", r->node->op->name);
}

/* Can what the launch prepares be kept? Then its memory is. */
static bool keep_workspaces(const clg__record *r, const clg__launch *launch)
{
    clg_plan *p = r->recorder->plan;
    if (p->steps[r->recorder->step].lasting == CLG__LASTS) return true; /* as all of the step is */
    for (size_t i = 0; i < launch->arg_count; i++)
        if (launch->args[i].kind == CLG__ARG_IN && !clg__plan_lasts(p, r->node->in[launch->args[i].index])) return false;
    for (size_t i = 0; i < launch->arg_count; i++) {
        if (launch->args[i].kind != CLG__ARG_WORKSPACE) continue;
        const int at = r->recorder->workspaces[launch->args[i].index];
        if (at < 0) return false;
        p->intervals[at].first = 0;
        p->intervals[at].last = CLG__MAX(p->intervals[at].last, p->step_count);
    }
    return true;
}

clg_status clg__record_kernel(clg__record *r, const clg__launch *launch)
{
    clg__arena  *arena = &r->recorder->plan->arena;
    clg__planned planned = {.unit = launch->unit, .kernel = launch->kernel,
                            .defines = launch->defines ? clg__arena_printf(arena, "%s", launch->defines) : NULL};
    memcpy(planned.groups, launch->groups, sizeof planned.groups);
    memcpy(planned.local, launch->local, sizeof planned.local);
    planned.kept = launch->prepares && keep_workspaces(r, launch);
    return add(r, &planned, launch->args, launch->arg_count);
}

uint64_t clg__record_groups(const clg__record *r, uint64_t units)
{
    return CLG__MIN(units, (uint64_t)r->profile->groups * r->compute_units);
}

clg_status clg__record_units(clg__record *r, const char *unit, const char *kernel, const char *defines, uint64_t units,
                             const clg__arg *args, size_t arg_count)
{
    if (units == 0) return CLG_OK;
    if (units > UINT32_MAX)
        return clg__fail(r->recorder->plan->object.root, CLG_UNSUPPORTED, "%s: more than 2^32 units of work", r->node->op->name);
    return clg__record_kernel(r, &(clg__launch){.unit = unit, .kernel = kernel, .defines = defines, .args = args,
                                                .arg_count = arg_count, .groups = {clg__record_groups(r, units)}});
}

clg_status clg__record_rows(clg__record *r, const char *unit, const char *kernel, const clg__arg *args, size_t arg_count)
{
    return clg__record_units(r, unit, kernel, NULL, r->rows, args, arg_count);
}

clg_status clg__record_gemm(clg__record *r, const clg__gemm *gemm, clg__arg a, clg__arg b, clg__arg c, clg__arg bias)
{
    clg_context           *ctx = r->recorder->plan->ctx;
    const clg__gemm_engine engine = clg__gemm_choose(ctx, gemm);
    const size_t           bytes = clg__gemm_workspace(ctx, gemm, engine);
    clg__planned           planned = {.is_gemm = true, .gemm = *gemm, .engine = engine};
    planned.gemm.epilogue = r->epilogue;
    planned.gemm.other = r->other;
    const clg__arg         workspace = bytes ? CLG__WS(clg__record_workspace(r, bytes)) : c;
    return add(r, &planned, CLG__ARGS(a, b, c, gemm->bias ? bias : c, CLG__OTHER, workspace));
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static clg_status record_pack(clg_plan *p, clg__record *r) /* what could not be computed in its place is copied there */
{
    const clg__pack_attr *attr = r->node->attr;
    for (int k = 0; k < r->node->arity; k++) {
        const clg__place from = clg__plan_where(p, r->node->in[k]);
        if (from.storage == attr->storage && from.offset == attr->offset[k]) continue;
        r->recorder->out = (clg__place){attr->storage, -1, attr->offset[k]};
        const uint64_t   count = (uint64_t)r->node->in[k]->count, chunk = r->profile->chunk;
        const clg_status status = clg__record_units(r, "copy", "copy", NULL, (count + chunk - 1) / chunk,
                                                    CLG__ARGS(CLG__IN(k), CLG__OUT, CLG__ULONG(count), CLG__UINT(chunk)));
        if (status != CLG_OK) return status;
    }
    return CLG_OK;
}

static bool in_a_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The expression with operands in place of a and b; NULL: out of memory. */
static const char *applied(clg__arena *arena, const char *expr, const char *const operand[2])
{
    clg__text text = {0};
    for (const char *c = expr; *c; c++)
        if ((*c != 'a' && *c != 'b') || (c > expr && in_a_name(c[-1])) || in_a_name(c[1])) clg__text_append(&text, "%c", *c);
        else clg__text_append(&text, operand[*c - 'a'][1] ? "(%s)" : "%s", operand[*c - 'a']);
    const char *kept = text.failed ? NULL : clg__arena_printf(arena, "%s", text.data);
    clg__text_free(&text);
    return kept;
}

/* What the nodes behind the operator make of its value; false: out of memory. */
static bool find_epilogue(clg_plan *p, const clg__step *step, clg__record *r)
{
    static const char *const channel_names[CLG__MOST_CHANNELS] = {"c", "d"};
    clg__recorder           *recorder = r->recorder;
    for (int i = step->op + 1; i < step->count; i++) {
        const clg_tensor *t = step->nodes[i];
        const char       *operand[2] = {"a", "a"};
        for (int k = 0; k < t->arity; k++) {
            if (p->step_of[clg__base_of(t->in[k])->id] == recorder->step) {
                if (r->epilogue) operand[k] = r->epilogue;
            } else if (clg_shape_equal(t->in[k]->shape, t->shape)) {
                operand[k] = "b";
                r->other = true;
                recorder->other = clg__plan_where(p, t->in[k]);
            } else {
                operand[k] = channel_names[r->channels];
                recorder->channel[r->channels++] = clg__plan_where(p, t->in[k]);
            }
        }
        if (!(t->op->flags & CLG__VIEW) && !(r->epilogue = applied(&p->arena, t->op->expr, operand))) return false;
    }
    return true;
}

bool clg__plan_record(clg_plan *p)
{
    const clg_device_info *device = clg_context_device(p->ctx);
    for (int s = 0; s < p->step_count; s++) {
        const clg__step  *step = &p->steps[s];
        const clg_tensor *t = step->nodes[CLG__MAX(step->op, 0)], *out = step->nodes[step->count - 1];
        clg_status        status = CLG_OK;
        if (out->count == 0) continue;
        const clg_profile *profile = NULL;
        for (int i = step->count - 1; i >= 0; i--)
            if (!(profile = clg__profile_for(p->ctx, step->nodes[i]->op->name))) return false;
        if (step->op < 0) {
            status = clg__plan_pointwise(p, s);
        } else {
            const clg_tensor *x = t->arity ? t->in[0] : t;
            const uint64_t    n = x->shape.rank ? (uint64_t)x->shape.dim[x->shape.rank - 1] : 1;
            clg__recorder     recorder = {.plan = p, .step = s, .out = clg__plan_where(p, out)};
            clg__record       r = {.node = t, .profile = profile, .compute_units = device->compute_units,
                                   .local_memory = device->local_memory, .forward = step->forward != NULL,
                                   .rows = n ? (uint64_t)x->count / n : 0, .n = n, .recorder = &recorder};
            if (step->forward) recorder.forward = clg__plan_where(p, step->forward);
            r.producer = step->op > 0 && !r.forward ? clg__plan_producer(p, s, recorder.source, &recorder.source_count) : "";
            if (!r.producer || !find_epilogue(p, step, &r))
                status = clg__fail(p->object.root, CLG_OUT_OF_MEMORY, "%s: out of host memory for the plan", t->op->name);
            else if (r.rows > UINT32_MAX || r.n > UINT32_MAX)
                status = clg__fail(p->object.root, CLG_UNSUPPORTED, "%s: an extent is beyond 2^32", t->op->name);
            else
                status = t->op == &clg__op_pack ? record_pack(p, &r) : t->op->record(&r);
        }
        if (status != CLG_OK) return false;
    }
    return true;
}
