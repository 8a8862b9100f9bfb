/* test_spec.c - layer lists: the parser against good, wrong and senseless texts, and the layers that it leads to. */
#include "fixture.h"
#include "spec.h"
#include <stdlib.h>
#include <string.h>

/* As spec_parse, of a copy without a zero behind it, so that a read past the end is one past an allocation. */
static spec *parse(const char *text, size_t size, spec_error *error)
{
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    *error = (spec_error){"", 0};
    spec *s = spec_parse(copy, size, error);
    char  shown[1024], *compact = malloc(size + 1);
    assert_non_null(compact);
    if (!s) {
        assert_true(*error->text && error->at <= size);
        assert_true(strchr(spec_show(copy, size, error, shown, sizeof shown), '^') || strlen(error->text) > 200);
    }
    spec_compact(copy, size, compact);
    assert_true(strlen(compact) <= size);
    free(compact);
    free(copy);
    return s;
}

static void parses(void **state)
{
    (void)state;
    spec_error error;
    const char *text = "conv2d( 32 ,kernel=3x5,pad=same)relu # ReLU\n\tfc:linear(classes)\r\nleaky_relu(slope=-2.5e-1)linear(10,0)";
    spec       *s = parse(text, strlen(text), &error);
    if (!s) fail_msg("%s", error.text);
    assert_int_equal(s->count, 5);
    const spec_value *v = s->layer[0].value;
    assert_string_equal(s->layer[0].name, "conv2d1");
    assert_true(v[0].whole[0] == 32 && v[1].whole[0] == 3 && v[1].whole[1] == 5 && v[2].whole[0] == 1 && v[3].word);
    assert_true(!v[4].given && v[4].whole[1] == 1 && v[6].whole[0] == 1);
    assert_string_equal(s->layer[2].name, "fc");
    assert_true(s->layer[2].value[0].word);
    assert_true(s->layer[3].value[0].real == -0.25);
    assert_string_equal(s->layer[4].name, "linear2");
    assert_int_equal(s->layer[4].value[1].whole[0], 0);
    free(s);

    char out[128];
    spec_compact("  relu  # a\n\n#b\n linear( 3 )# c", 31, out);
    assert_string_equal(out, "relu linear( 3 )");
}

static void points_at_the_mistake(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t      at;
        const char *says;
    } rows[] = {
        {"conv2d(,3) relu", 7, "conv2d needs channels"},
        {"conv2d", 0, "conv2d needs channels"},
        {"relu conv2d(32) relu", 14, "conv2d needs kernel"},
        {"conv2d(32,)", 10, "conv2d needs kernel"},
        {"max_pool2d(2,)", 13, "no value for stride"},
        {"linear(10) frob", 11, "no layer 'frob'"},
        {"convo(3)", 0, "did you mean conv2d?"},
        {"linear(0)", 7, "from 1 to"},
        {"linear(-3)", 7, "from 1 to"},
        {"linear(99999999999999999999)", 7, "whole number"},
        {"linear(1.5)", 7, "whole number"},
        {"linear(3x4)", 7, "whole number"},
        {"linear(x)", 7, "or classes"},
        {"conv2d(3,same)", 9, "kernel"},
        {"conv2d(3,3x)", 9, "HxW"},
        {"conv2d(3,3x3x3)", 9, "HxW"},
        {"conv2d(8,3,pads=1)", 11, "no argument 'pads'"},
        {"conv2d(8,3,pad=)", 15, "no value for pad"},
        {"conv2d(8,3,kernel=5)", 18, "given twice"},
        {"conv2d(channels=8,3)", 18, "without a name"},
        {"conv2d(8,3,1,0,1,1,1,9)", 21, "too many values"},
        {"relu(1)", 5, "too many values, it is relu()"},
        {"dropout(1)", 8, "from 0 to 0.999"},
        {"dropout(nan)", 8, "rate"},
        {"dropout(0x1p-2)", 8, "rate"},
        {"dropout(1e999)", 8, "rate"},
        {"dropout(.)", 8, "rate"},
        {"linear(10", 9, "text ends"},
        {"linear(", 7, "linear needs features"},
        {"linear(10 20)", 10, "',' or ')'"},
        {"linear(10))", 10, "')' where"},
        {"(3)", 0, "'(' where"},
        {"3", 0, "'3' where"},
        {"linear(10);relu", 10, "';' where"},
        {"linear(\"a\")", 7, "'\"' where"},
        {"", 0, "no layer"},
        {"  # nothing", 0, "no layer"},
        {"a:", 2, "text ends"},
        {"a: relu", 2, "where a layer's kind"},
        {":relu", 0, "':' where"},
        {"a:b:relu", 2, "no layer 'b'"},
        {"a:relu a:tanh", 7, "two layers are called a"},
        {"linear2:relu linear(3) linear(4)", 23, "called linear2"},
        {"relu \xc3\xa4", 5, "'\xc3\xa4' where a layer's name"},
        {"relu\n  frob", 7, "no layer"},
        {"relu r\xc3\xa9seau", 5, "no layer 'r\xc3\xa9seau'"},
        {"relu\xc3\xa9", 0, "no layer 'relu\xc3\xa9'; did you mean relu?"},
        {"linear(3\xc3\xa9)", 8, "'\xc3\xa9' where"},
        {"linear(3) \xc3(", 10, "byte 0xc3"},
        {"r\xc3\xa9:relu", 0, "ASCII"},
        {"Dense(3)", 0, "did you mean linear?"},
        {"Conv2D(3,3)", 0, "did you mean conv2d?"},
        {"MaxPooling2D(2)", 0, "did you mean max_pool2d?"},
        {"BatchNormalization", 0, "did you mean batch_norm?"},
        {"AveragePooling2D(2)", 0, "did you mean avg_pool2d?"},
        {"GlobalAveragePooling2D", 0, "did you mean global_avg_pool2d?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        spec_error error;
        spec      *s = parse(rows[i].text, strlen(rows[i].text), &error);
        if (s || error.at != rows[i].at || !strstr(error.text, rows[i].says))
            fail_msg("\"%s\": \"%s\" at %zu", rows[i].text, s ? "" : error.text, error.at);
    }
    char shown[256];
    assert_string_equal(spec_show("conv2d(,3) relu", 15, &(spec_error){"m", 7}, shown, sizeof shown),
                        "m\n  conv2d(,3) relu\n         ^");
    assert_string_equal(spec_show("relu\n\xc3\xa4 x", 9, &(spec_error){"m", 8}, shown, sizeof shown), "m\n  \xc3\xa4 x\n    ^");
    char long_line[200] = "", *end = long_line; /* is cut between letters, not in them */
    for (int i = 0; i < 80; i++) end += sprintf(end, "%s", i == 40 ? "x(" : "\xc3\xa4");
    spec_show(long_line, (size_t)(end - long_line), &(spec_error){"m", 81}, shown, sizeof shown);
    assert_null(clg_utf8_fault(shown, strlen(shown)));
    assert_string_equal(strrchr(shown, '\n'), "\n                                ^"); /* below the bracket */
}

static void is_bounded(void **state)
{
    (void)state;
    spec_error error;
    char      *text = malloc(SPEC_MAX_TEXT + 1);
    assert_non_null(text);
    const char fill[] = {'(', 'a', ' ', ',', '#', 0, '9', ':', '\n', (char)0xff};
    for (size_t i = 0; i < sizeof fill; i++) {
        memset(text, fill[i], SPEC_MAX_TEXT + 1);
        assert_null(parse(text, SPEC_MAX_TEXT, &error));
        assert_null(parse(text, SPEC_MAX_TEXT + 1, &error));
        memcpy(text, "linear(", 7);
        assert_null(parse(text, SPEC_MAX_TEXT, &error));
        memcpy(text, "linear(features=", 16);
        assert_null(parse(text, SPEC_MAX_TEXT, &error));
    }
    for (int layers = SPEC_MAX_LAYERS; layers <= SPEC_MAX_LAYERS + 1; layers++) {
        for (int i = 0; i < layers; i++) memcpy(text + 5 * i, "relu ", 5);
        spec *s = parse(text, 5 * (size_t)layers, &error);
        assert_true((s != NULL) == (layers == SPEC_MAX_LAYERS));
        free(s);
    }
    free(text);
}

/* Every prefix, every byte replaced by each of a few, and 20000 changes by chance. */
static void survives_anything(void **state)
{
    (void)state;
    static const char good[] = "a:conv2d(32,3x1,pad=same) relu # c\nmax_pool2d(2) dropout(5e-1) lstm(3,sequence=1) linear(classes)";
    static const char other[] = {' ', '(', ')', ',', '=', ':', '#', '\n', 'x', '0', '-', '.', 0, (char)0x80};
    const size_t size = sizeof good - 1;
    char         text[sizeof good];
    spec_error   error;
    for (size_t n = 0; n <= size; n++) free(parse(good, n, &error));
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < sizeof other; k++) {
            memcpy(text, good, size);
            text[i] = other[k];
            free(parse(text, size, &error));
        }
    for (uint64_t n = 0; n < 20000; n++) {
        memcpy(text, good, size);
        for (uint64_t k = 0; k < 3; k++) text[clg_random_u32(1, 6 * n + 2 * k) % size] = (char)clg_random_u32(1, 6 * n + 2 * k + 1);
        free(parse(text, size, &error));
    }
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static void builds_every_kind(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        clg_shape   x, y;
        size_t      parameters;
    } rows[] = {
        {"linear(7) linear(3,bias=0)", {2, {2, 5}}, {2, {2, 3}}, 3},
        {"conv2d(6,3) c:conv2d(classes,1x3,pad=same,groups=2)", {4, {2, 3, 8, 9}}, {4, {2, 10, 6, 7}}, 4},
        {"conv2d(4,3,stride=2,pad=1,dilation=2,bias=0)", {4, {2, 3, 8, 9}}, {4, {2, 4, 3, 4}}, 1},
        {"max_pool2d(2) avg_pool2d(3,1,pad=1)", {4, {2, 3, 8, 9}}, {4, {2, 3, 4, 4}}, 0},
        {"max_pool2d(2x3,stride=1x2)", {4, {2, 3, 8, 9}}, {4, {2, 3, 7, 4}}, 0},
        {"adaptive_avg_pool2d(3x5) adaptive_max_pool2d(2)", {4, {2, 3, 8, 9}}, {4, {2, 3, 2, 2}}, 0},
        {"global_avg_pool2d", {4, {2, 3, 8, 9}}, {2, {2, 3}}, 0},
        {"global_max_pool2d", {4, {2, 3, 8, 9}}, {2, {2, 3}}, 0},
        {"flatten", {4, {2, 3, 8, 9}}, {2, {2, 216}}, 0},
        {"reshape(8,-1) transpose(1,2)", {4, {2, 3, 8, 9}}, {3, {2, 27, 8}}, 0},
        {"relu leaky_relu elu(2) sigmoid tanh gelu gelu_tanh silu softplus softmax scale(0.5) dropout(0.1)", {2, {2, 5}}, {2, {2, 5}}, 0},
        {"batch_norm", {4, {2, 3, 8, 9}}, {4, {2, 3, 8, 9}}, 4},
        {"batch_norm(1e-3,momentum=0.5) layer_norm", {2, {2, 5}}, {2, {2, 5}}, 6},
        {"rnn(4,sequence=1) lstm(6,1) gru(3)", {3, {2, 7, 5}}, {2, {2, 3}}, 12},
    };
    bool seen[128] = {false};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        spec_error  error;
        spec       *s = parse(rows[i].text, strlen(rows[i].text), &error);
        clg_model  *model = clg_model_create(ctx, NULL);
        clg_graph  *g = clg_graph_create(ctx, &(clg_graph_desc){.training = true});
        clg_tensor *y = s ? spec_build(s, model, clg_input(g, CLG_F32, rows[i].x), 10) : NULL;
        if (!y) fail_msg("%s: %s", rows[i].text, s ? clg_context_error(ctx) : error.text);
        char text[128];
        if (!clg_shape_equal(clg_tensor_shape(y), rows[i].y))
            fail_msg("%s gives %s", rows[i].text, clg_shape_text(clg_tensor_shape(y), text, sizeof text));
        assert_int_equal(clg_model_count(model), rows[i].parameters);
        for (size_t k = 0; k < s->count; k++) seen[s->layer[k].kind - spec_kinds] = true;
        free(s);
        clg_graph_destroy(&g);
        clg_model_destroy(&model);
    }
    for (int k = 0; spec_kinds[k].name; k++)
        if (!seen[k]) fail_msg("no case builds %s", spec_kinds[k].name);
}

static void refuses_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        clg_shape   x;
        const char *says;
    } rows[] = {
        {"conv2d(3,3)", {2, {2, 5}}, "conv2d1"}, {"conv2d(3,4,pad=same)", {4, {2, 3, 8, 9}}, "odd kernel"},
        {"conv2d(3,30)", {4, {2, 3, 8, 9}}, "conv2d"}, {"conv2d(4,3,groups=2)", {4, {2, 3, 8, 9}}, "groups"},
        {"max_pool2d(30)", {4, {2, 3, 8, 9}}, "max_pool2d"}, {"reshape(7,-1)", {4, {2, 3, 8, 9}}, "reshape"},
        {"transpose(1,5)", {3, {2, 3, 4}}, "transpose"}, {"batch_norm", {3, {2, 3, 4}}, "batch_norm1"},
        {"lstm(3)", {2, {2, 3}}, "lstm"}, {"global_max_pool2d", {2, {2, 3}}, "pool"}, {"flatten linear(3)", {4, {2, 0, 8, 9}}, "linear"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        spec_error  error;
        spec       *s = parse(rows[i].text, strlen(rows[i].text), &error);
        clg_model  *model = clg_model_create(ctx, NULL);
        clg_graph  *g = new_graph();
        assert_non_null(s);
        assert_null(spec_build(s, model, clg_input(g, CLG_F32, rows[i].x), 10));
        if (!strstr(clg_context_error(ctx), rows[i].says)) fail_msg("%s: %s", rows[i].text, clg_context_error(ctx));
        clg_context_clear_error(ctx);
        free(s);
        clg_graph_destroy(&g);
        clg_model_destroy(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses), cmocka_unit_test(points_at_the_mistake), cmocka_unit_test(is_bounded),
        cmocka_unit_test(survives_anything), cmocka_unit_test(builds_every_kind), cmocka_unit_test(refuses_shapes),
    };
    return cmocka_run_group_tests(tests, open_context, close_context);
}
