/* pointwise.c - the generated kernel of a group of pointwise nodes.
 *
 * All nodes of a group have one shape. Dimensions along which every input advances alike are joined; what remains is rows
 * of n elements. An input that is not broadcast is read at row * n + i; a broadcast one advances by a stride of its own for
 * each outer dimension, and by 1 or 0 within a row. Extents, strides and constants are arguments, so the source depends on
 * the formula and on which inputs are broadcast, never on sizes; equal sources are generated once.
 *
 * Each element's inputs are all read before anything of it is written: results may lie where inputs lay. */
#include "plan/plan.h"
#include <string.h>

enum { MAX_TENSORS = 64 }; /* of a kind: more than fuse.c lets into a group */

typedef struct input {
    const clg_tensor *t;
    uint64_t          stride[CLG_MAX_RANK]; /* per joined dimension */
    bool              dense;
} input;

typedef struct group {
    clg_plan         *p;
    const clg_tensor **nodes;
    int              count, s; /* so many of step s */
    input            in[MAX_TENSORS];
    const clg_tensor *constant[MAX_TENSORS], *out[MAX_TENSORS];
    int              inputs, constants, outs;
    uint64_t         extent[CLG_MAX_RANK];
    int              dims;
    bool             flat; /* short rows on a wide device: one element after another, whatever its row */
    bool             past; /* results go past the caches: nobody would find all of them there */
} group;

/* The index of `t` in a table, entering it when it is new; -1 when the table is full. */
static int enter(const clg_tensor **table, int *count, const clg_tensor *t)
{
    for (int i = 0; i < *count; i++)
        if (table[i] == t) return i;
    if (*count == MAX_TENSORS) return -1;
    table[*count] = t;
    return (*count)++;
}

static bool inside(const group *g, const clg_tensor *t) { return g->p->step_of[t->id] == g->s; }

static bool leaves_group(const group *g, const clg_tensor *t)
{
    const clg__place at = clg__plan_where(g->p, t);
    return at.storage || at.interval >= 0;
}

/* Does a result lie where an input lay, in the lines that are in the caches then? */
static bool in_place(const group *g)
{
    for (int i = 0; i < g->outs; i++)
        for (int k = 0; k < g->inputs; k++) {
            const clg__place out = clg__plan_where(g->p, g->out[i]), in = clg__plan_where(g->p, g->in[k].t);
            if (out.storage == in.storage && out.interval == in.interval) return true;
        }
    return false;
}

static bool collect(group *g)
{
    const clg_tensor *ins[MAX_TENSORS];
    for (int i = 0; i < g->count; i++) {
        const clg_tensor *t = g->nodes[i];
        for (int k = 0; k < t->arity; k++) {
            const clg_tensor *in = t->in[k];
            if (inside(g, in)) continue;
            if ((in->op == &clg__op_full ? enter(g->constant, &g->constants, in) : enter(ins, &g->inputs, in)) < 0) return false;
        }
        if (t->op == &clg__op_full && enter(g->constant, &g->constants, t) < 0) return false;
        if (leaves_group(g, t) && enter(g->out, &g->outs, t) < 0) return false;
    }
    for (int i = 0; i < g->inputs; i++) g->in[i].t = ins[i];
    return true;
}

/* Strides of every input for the group's shape, then dimensions joined wherever all inputs allow it. */
static void join_dimensions(group *g)
{
    const clg_shape shape = g->nodes[0]->shape;
    uint64_t        dense = 1;
    uint64_t        stride[MAX_TENSORS][CLG_MAX_RANK], extent[CLG_MAX_RANK];
    int             dims = 0;
    for (int i = 0; i < g->inputs; i++) {
        const clg_shape in = g->in[i].t->shape;
        uint64_t        step = 1;
        for (int d = shape.rank - 1; d >= 0; d--) {
            const int k = d - (shape.rank - in.rank);
            stride[i][d] = k >= 0 && in.dim[k] != 1 ? step : 0;
            if (k >= 0) step *= (uint64_t)in.dim[k];
        }
    }
    for (int d = 0; d < shape.rank; d++) {
        if (shape.dim[d] == 1) continue;
        bool joins = dims > 0;
        for (int i = 0; i < g->inputs && joins; i++)
            joins = g->in[i].stride[dims - 1] == stride[i][d] * (uint64_t)shape.dim[d];
        if (!joins) extent[dims++] = 1;
        extent[dims - 1] *= (uint64_t)shape.dim[d];
        for (int i = 0; i < g->inputs; i++) g->in[i].stride[dims - 1] = stride[i][d];
    }
    if (dims == 0) {
        extent[dims++] = 1;
        for (int i = 0; i < g->inputs; i++) g->in[i].stride[0] = 1; /* a scalar in a row of one */
    }
    g->dims = dims;
    memcpy(g->extent, extent, sizeof extent);
    for (int i = 0; i < g->inputs; i++) g->in[i].dense = true;
    for (int d = dims - 1; d >= 0; dense *= extent[d--])
        for (int i = 0; i < g->inputs; i++) g->in[i].dense = g->in[i].dense && g->in[i].stride[d] == dense;
}

/* ---- source ------------------------------------------------------------------------------------------------------ */

#define EMIT(...) clg__text_append(body, __VA_ARGS__)

static void constant(clg__text *body, const group *g, const clg_tensor *full)
{
    for (int i = 0; i < g->constants; i++)
        if (g->constant[i] == full) EMIT("(T)k%d", i);
}

static void operand(clg__text *body, const group *g, const clg_tensor *in)
{
    if (inside(g, in)) {
        for (int i = 0; i < g->count; i++)
            if (g->nodes[i] == in) EMIT("t%d", i);
        return;
    }
    constant(body, g, in);
    for (int i = 0; i < g->inputs; i++)
        if (g->in[i].t == in) EMIT("a%d", i);
}

static clg__planned_arg constant_arg(const clg_tensor *full)
{
    return (clg__planned_arg){.kind = CLG__F32, .f32 = (float)((const clg__full_attr *)full->attr)->value};
}

static const char *type_of(clg_dtype dtype) { return dtype == CLG_I32 ? "int" : "float"; }

/* What each node of the group makes of its operands; statements end with `end`. */
static void emit_nodes(clg__text *body, const group *g, const char *end)
{
    for (int i = 0; i < g->count; i++) {
        const clg_tensor *t = g->nodes[i];
        EMIT("%sconst T t%d = ", *end == '\n' ? "            " : "", i);
        if (t->op == &clg__op_full) {
            constant(body, g, t);
        } else {
            EMIT("op_%s(", t->op->name);
            for (int k = 0; k < t->arity; k++) {
                if (k) EMIT(", ");
                operand(body, g, t->in[k]);
            }
            EMIT(")");
        }
        EMIT(";%s", end);
    }
}

/* The statements for one element or one vector of them, at index i of the row. */
static void emit_element(clg__text *body, const group *g, const char *type, bool vector)
{
    const bool  f32 = g->nodes[0]->dtype == CLG_F32;
    const char *put = vector ? (f32 ? g->past ? "VPUT_PAST" : "VPUT" : "VSTORE") : "";
    EMIT("            typedef %s T;\n", type);
    for (int i = 0; i < g->inputs; i++) {
        const bool convert = f32 && g->in[i].t->dtype == CLG_I32;
        if (g->in[i].stride[g->dims - 1])
            EMIT("            const T a%d = %s(p%d + i);\n", i, vector ? (convert ? "VLOAD_I32" : "VLOAD") : "*", i);
        else
            EMIT("            const T a%d = (T)%s%d;\n", i, g->flat ? "*p" : "b", i);
    }
    emit_nodes(body, g, "\n");
    for (int i = 0; i < g->outs; i++)
        for (int k = 0; k < g->count; k++) {
            if (g->nodes[k] != g->out[i]) continue;
            if (vector)
                EMIT("            %s(t%d, q%d + i);\n", put, k, i);
            else
                EMIT("            q%d[i] = t%d;\n", i, k);
        }
}

/* Pointers to the row: its number in `row`, the first element in `from`. */
static void emit_pointers(clg__text *body, const group *g, const char *type, const char *from)
{
    const int outer = g->dims - 1;
    bool      any = false;
    for (int i = 0; i < g->inputs; i++) any |= !g->in[i].dense;
    if (any && outer > 0) {
        EMIT("        uint r = row;\n");
        for (int d = outer - 1; d > 0; d--) EMIT("        const uint i%d = r %% e%d; r /= e%d;\n", d, d, d);
        EMIT("        const uint i0 = r;\n");
    }
    for (int i = 0; i < g->inputs; i++) {
        EMIT("        global const %s *p%d = x%d", type_of(g->in[i].t->dtype), i, i);
        if (g->in[i].dense) EMIT(" + (ulong)row * n");
        for (int d = 0; d < outer && !g->in[i].dense; d++) EMIT(" + (ulong)i%d * s%d_%d", d, i, d);
        EMIT("%s%s;\n", g->in[i].stride[outer] ? " + " : "", g->in[i].stride[outer] ? from : "");
    }
    for (int i = 0; i < g->outs; i++) EMIT("        global %s *q%d = y%d + (ulong)row * n + %s;\n", type, i, i, from);
}

static void emit_kernel(clg__text *body, const group *g)
{
    const char *type = type_of(g->nodes[0]->dtype);
    for (int i = 0; i < g->inputs; i++) EMIT("TENSOR_OF(%s, x%d), ", type_of(g->in[i].t->dtype), i);
    for (int i = 0; i < g->outs; i++) EMIT("TENSOR_OF(%s, y%d), ", type, i);
    for (int i = 0; i < g->constants; i++) EMIT("const float k%d, ", i);
    for (int d = 1; d < g->dims - 1; d++) EMIT("const uint e%d, ", d);
    for (int i = 0; i < g->inputs; i++)
        for (int d = 0; d < g->dims - 1 && !g->in[i].dense; d++) EMIT("const uint s%d_%d, ", i, d);
    EMIT("const uint rows, const uint n CLAIMS)\n{\n");
    for (int i = 0; i < g->inputs; i++) EMIT("    x%d += x%d_at;\n", i, i);
    for (int i = 0; i < g->outs; i++) EMIT("    y%d += y%d_at;\n", i, i);
    if (g->flat) {
        EMIT("    const ulong total = (ulong)rows * n;\n"
             "    EACH_UNIT(u, (uint)((total + CHUNK - 1) / CHUNK))\n"
             "    for (ulong at = (ulong)u * CHUNK + get_local_id(0); at < min(total, ((ulong)u + 1) * CHUNK); at += WG) {\n"
             "        const uint row = (uint)(at / n), i = (uint)(at %% n);\n");
        emit_pointers(body, g, type, "0");
        EMIT("        {\n");
        emit_element(body, g, type, false);
        EMIT("        }\n    }\n}\n");
        return;
    }
    EMIT("    const uint chunks = (n + CHUNK - 1) / CHUNK;\n"
         "    EACH_UNIT(u, rows * chunks) {\n"
         "        const uint row = u / chunks, from = u %% chunks * CHUNK, count = min((uint)CHUNK, n - from);\n");
    emit_pointers(body, g, type, "from");
    for (int i = 0; i < g->inputs; i++)
        if (!g->in[i].stride[g->dims - 1]) EMIT("        const %s b%d = *p%d;\n", type, i, i);
    EMIT("        EACH_VEC(i, count) {\n");
    emit_element(body, g, g->nodes[0]->dtype == CLG_I32 ? "ivec" : "vec", true);
    EMIT("        }\n        EACH_TAIL(i, count) {\n");
    emit_element(body, g, type, false);
    EMIT("        }\n    }\n}\n");
}

/* The number of the generated kernel with this body, appended to the plan's source when it is new; -1: out of memory. */
static int find_body(clg_plan *p, clg__text *body)
{
    for (size_t i = 0; i < p->body_count; i++)
        if (strcmp(p->bodies[i].data, body->data) == 0) return (int)i;
    clg__text *bodies = clg__plan_grow(p, p->bodies, &p->body_capacity, p->body_count, sizeof *bodies);
    if (!bodies) return -1;
    p->bodies = bodies;
    clg__text_append(&p->source, "\nKERNEL pointwise_%zu(%s", p->body_count, body->data);
    p->bodies[p->body_count] = *body;
    *body = (clg__text){0};
    return (int)p->body_count++;
}

/* One macro an operator: its expression in terms of T, a, b, c, ... */
static void define_operators(clg__text *body, const group *g)
{
    static const char *const parameters = "a, b, c, d, e, f, g, h"; /* three characters each */
    char                     head[64];
    for (int i = 0; i < g->count; i++) {
        const clg__op *op = g->nodes[i]->op;
        if (op == &clg__op_full) continue;
        snprintf(head, sizeof head, "#define op_%s(", op->name);
        if (!strstr(body->data ? body->data : "", head)) EMIT("%s%.*s) (%s)\n", head, 3 * op->arity - 2, parameters, op->expr);
    }
}

/* ---- producers: macros of cl/prelude.cl -------------------------------------------------------------------------- */

const char *clg__plan_producer(clg_plan *p, int s, clg__planned_arg *args, size_t *count)
{
    const clg__step *step = &p->steps[s];
    group            g = {.p = p, .nodes = step->nodes, .count = step->op, .s = s};
    clg__text        text = {0}, *body = &text;
    *count = 0;
    if (!collect(&g)) return NULL;
    define_operators(body, &g);
    EMIT("#define SOURCE ");
    for (int i = 0; i < g.inputs; i++) EMIT("%sTENSOR_OF(const %s, x%d)", i ? ", " : "", type_of(g.in[i].t->dtype), i);
    for (int i = 0; i < g.constants; i++) EMIT("%sconst float k%d", i + g.inputs ? ", " : "", i);
    EMIT("\n#define SOURCE_ARGS ");
    for (int i = 0; i < g.inputs; i++) EMIT(g.in[i].t->count == 1 ? "x%d[x%d_at], " : "x%d + x%d_at, ", i, i);
    for (int i = 0; i < g.constants; i++) EMIT("k%d, ", i);
    EMIT("\n#define PRODUCE(name, type, LOAD, LOAD_I32) static inline type name(");
    for (int i = 0; i < g.inputs; i++)
        EMIT(g.in[i].t->count == 1 ? "const float b%d, " : g.in[i].t->dtype == CLG_I32 ? "global const int *p%d, " : "global const float *p%d, ", i);
    for (int i = 0; i < g.constants; i++) EMIT("const float k%d, ", i);
    EMIT("const ulong i) { typedef type T; ");
    for (int i = 0; i < g.inputs; i++)
        EMIT(g.in[i].t->count == 1 ? "const T a%d = (T)b%d; " : g.in[i].t->dtype == CLG_I32 ? "const T a%d = LOAD_I32(p%d + i); "
                                                                                            : "const T a%d = LOAD(p%d + i); ", i, i);
    emit_nodes(body, &g, " ");
    EMIT("return t%d; }\n", g.count - 1);
    for (int i = 0; i < g.inputs; i++) args[(*count)++] = (clg__planned_arg){CLG__SPAN, clg__plan_where(p, g.in[i].t), {0}};
    for (int i = 0; i < g.constants; i++) args[(*count)++] = constant_arg(g.constant[i]);
    const char *kept = text.failed ? NULL : clg__arena_printf(&p->arena, "%s", text.data);
    clg__text_free(&text);
    return kept;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

clg_status clg__plan_pointwise(clg_plan *p, int s)
{
    const clg__step  *step = &p->steps[s];
    const clg_tensor *first = step->nodes[0];
    clg__root        *root = p->object.root;
    group             g = {.p = p, .nodes = step->nodes, .count = step->count, .s = s};
    if (first->dtype == CLG_U8)
        return clg__fail(root, CLG_UNSUPPORTED, "%s: u8 tensors can only be written and taken from", first->op->name);
    if (!collect(&g)) return clg__fail(root, CLG_UNSUPPORTED, "a group of pointwise operators has too many inputs");
    if (g.outs == 1 && step->count == 1 && first->op == &clg__op_assign) { /* computed in its place already */
        const clg__place from = clg__plan_where(p, first->in[0]), to = clg__plan_where(p, first);
        if (from.storage == to.storage && from.offset == to.offset && from.storage) return CLG_OK;
    }
    join_dimensions(&g);
    const clg_profile *profile = &clg_context_device(p->ctx)->profile;
    uint64_t           rows = 1;
    const uint64_t     n = g.extent[g.dims - 1];
    for (int d = 0; d < g.dims - 1; d++) rows *= g.extent[d];
    g.flat = profile->wg > 1 && g.dims > 1 && n < (uint64_t)profile->wg * profile->vec;
    const uint64_t units = g.flat ? (rows * n + profile->chunk - 1) / profile->chunk
                                  : rows * ((n + profile->chunk - 1) / profile->chunk);
    if (rows > UINT32_MAX || n > UINT32_MAX || units > UINT32_MAX)
        return clg__fail(root, CLG_UNSUPPORTED, "%s: an extent is beyond 2^32", first->op->name);

    g.past = clg__past_caches(profile, rows * n) && !in_place(&g);
    if (p->source.size == 0) clg__text_append(&p->source, "#define CHUNK %u\n", profile->chunk);
    define_operators(&p->source, &g);
    clg__text body = {0};
    emit_kernel(&body, &g);
    const bool whole = !body.failed && !p->source.failed;
    const int  index = whole ? find_body(p, &body) : -1;
    clg__text_free(&body);

    const size_t most = (size_t)(g.inputs + g.outs + g.constants + (g.inputs + 1) * CLG_MAX_RANK + 2);
    clg__planned launch = {.step = s, .kernel = clg__arena_printf(&p->arena, "pointwise_%d", index),
                           .args = clg__arena_alloc(&p->arena, most * sizeof *launch.args),
                           .groups = {CLG__MIN(units, (uint64_t)profile->groups * clg_context_device(p->ctx)->compute_units)}};
    if (index < 0 || !launch.kernel || !launch.args)
        return clg__fail(root, CLG_OUT_OF_MEMORY, "out of host memory for a generated kernel");
#define ARG launch.args[launch.arg_count++]
    for (int i = 0; i < g.inputs; i++) ARG = (clg__planned_arg){CLG__SPAN, clg__plan_where(p, g.in[i].t), {0}};
    for (int i = 0; i < g.outs; i++) ARG = (clg__planned_arg){CLG__SPAN, clg__plan_where(p, g.out[i]), {0}};
    for (int i = 0; i < g.constants; i++) ARG = constant_arg(g.constant[i]);
    for (int d = 1; d < g.dims - 1; d++) ARG = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)g.extent[d]};
    for (int i = 0; i < g.inputs; i++)
        for (int d = 0; d < g.dims - 1 && !g.in[i].dense; d++)
            ARG = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)g.in[i].stride[d]};
    ARG = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)rows};
    ARG = (clg__planned_arg){.kind = CLG__U32, .u32 = (uint32_t)n};
#undef ARG
    return clg__plan_add_launch(p, &launch) ? CLG_OK : CLG_OUT_OF_MEMORY;
}
