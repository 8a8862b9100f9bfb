/* test_select.c - which devices there are, which one a selector means, and the profile it gets. */
#include "device/cl_types.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- selection --------------------------------------------------------------------------------------------------- */

static clg_platform_info platforms[] = {{.name = (char[]){"Ace Computing"}}, {.name = (char[]){"Portable CL"}}};

#define DEVICE(p, d, kind, called) \
    {.platform = p, .device = d, .type = CLG_DEVICE_##kind, .available = true, .name = (char[]){called}}

static clg_device_info many[] = {
    DEVICE(0, 0, CPU, "Ryzen"), DEVICE(0, 1, IGPU, "Radeon Graphics"), DEVICE(0, 2, GPU, "Radeon RX"),
    DEVICE(1, 0, GPU, "GeForce"), DEVICE(1, 1, ACCELERATOR, "Tensor Thing"), DEVICE(1, 2, CPU, "pthread-znver4"),
};

static const clg_device_list all = {platforms, 2, many, CLG__COUNT(many)};

static void selectors_find_the_device(void **state)
{
    (void)state;
    static const struct {
        const char *selector;
        int         index; /* or -1 */
    } rows[] = {
        {NULL, 2}, {"", 2}, {"gpu", 2}, {"GPU", 2}, {"cpu", 0}, {"0:1", 1}, {"1:2", 5}, {"geforce", 3}, {"RYZEN", 0},
        {"znver", 5}, {"radeon rx", 2}, {"thing", 4}, {"radeon", -1}, {"Portable", -1}, {"2:0", -1}, {"0:3", -1},
        {"0:", -1}, {"0:1x", -1}, {"-1:0", -1}, {"nothing like it", -1}, {"99999999999:0", -1},
    };
    for (size_t i = 0; i < CLG__COUNT(rows); i++) {
        char error[1024] = "";
        const clg_device_info *found = clg_device_list_select(&all, rows[i].selector, error, sizeof error);
        assert_ptr_equal(found, rows[i].index < 0 ? NULL : &many[rows[i].index]);
        assert_int_equal(error[0] != '\0', rows[i].index < 0);
    }
}

static void errors_list_the_candidates(void **state)
{
    (void)state;
    char error[1024];
    assert_null(clg_device_list_select(&all, "radeon", error, sizeof error));
    assert_non_null(strstr(error, "0:1  Radeon Graphics, integrated GPU (Ace Computing)"));
    assert_non_null(strstr(error, "0:2  Radeon RX, GPU (Ace Computing)"));
    assert_null(strstr(error, "GeForce"));
    assert_null(clg_device_list_select(&all, "voodoo", error, sizeof error));
    assert_non_null(strstr(error, "\"voodoo\""));
    for (size_t i = 0; i < CLG__COUNT(many); i++) assert_non_null(strstr(error, many[i].name));
    for (size_t size = 1; size < 100; size++) { /* cut, terminated, nothing beyond */
        memset(error, '#', sizeof error);
        clg_device_list_select(&all, "voodoo", error, size);
        assert_int_equal(strlen(error), size - 1);
        assert_int_equal(error[size], '#');
    }
    assert_null(clg_device_list_select(&all, "voodoo", NULL, 0));
}

static void defaults_take_the_best_that_is_usable(void **state)
{
    (void)state;
    clg_device_info devices[CLG__COUNT(many)];
    static const int order[] = {2, 3, 1, 4, 0, 5};
    memcpy(devices, many, sizeof many);
    const clg_device_list list = {platforms, 2, devices, CLG__COUNT(devices)};
    char error[1024];
    for (size_t i = 0; i < CLG__COUNT(order); i++) {
        assert_ptr_equal(clg_device_list_select(&list, NULL, error, sizeof error), &devices[order[i]]);
        devices[order[i]].available = false;
    }
    assert_null(clg_device_list_select(&list, NULL, error, sizeof error));
    assert_non_null(strstr(error, "not usable"));
    assert_null(clg_device_list_select(&list, "geforce", error, sizeof error));
    assert_non_null(strstr(error, "cannot be used"));
}

static void without_devices_it_says_what_to_install(void **state)
{
    (void)state;
    char error[1024];
    setenv("OCL_ICD_VENDORS", "/some/where", 1);
    assert_null(clg_device_list_select(&(clg_device_list){0}, NULL, error, sizeof error));
    assert_non_null(strstr(error, "no OpenCL platform"));
    assert_non_null(strstr(error, "apt install pocl-opencl-icd"));
    assert_non_null(strstr(error, "OCL_ICD_VENDORS is set to \"/some/where\""));
    unsetenv("OCL_ICD_VENDORS");
    assert_null(clg_device_list_select(&(clg_device_list){platforms, 2, many, 0}, "gpu", error, sizeof error));
    assert_non_null(strstr(error, "Ace Computing, Portable CL"));
    assert_non_null(strstr(error, "apt install pocl-opencl-icd"));
    assert_null(strstr(error, "OCL_ICD_VENDORS"));
}

static void this_machine_is_listed(void **state)
{
    (void)state;
    clg_device_list *list = clg_device_list_create();
    assert_non_null(list);
    size_t defaults = 0;
    for (size_t i = 0; i < list->device_count; i++) {
        const clg_device_info *d = &list->devices[i];
        char        selector[32], error[1024], text[256];
        clg_profile again = d->profile;
        snprintf(selector, sizeof selector, "%d:%d", d->platform, d->device);
        if (d->available) assert_ptr_equal(clg_device_list_select(list, selector, error, sizeof error), d);
        assert_true((size_t)d->platform < list->platform_count);
        assert_true(strlen(d->name) > 0 && d->memory > 0 && d->max_work_group >= d->profile.wg);
        assert_int_equal(clg_profile_parse(&again, clg_profile_text(&d->profile, text, sizeof text), NULL, 0), CLG_OK);
        assert_memory_equal(&again, &d->profile, sizeof again);
        defaults += d->is_default;
        if (d->is_default) assert_ptr_equal(clg_device_list_select(list, NULL, error, sizeof error), d);
    }
    assert_int_equal(defaults, 1); /* these tests need a device */
    clg_device_list_destroy(&list);
    assert_null(list);
    clg_device_list_destroy(&list);
    clg_device_list_destroy(NULL);
}

/* ---- profiles ---------------------------------------------------------------------------------------------------- */

static const clg_device_info avx512 = {.vector_width = 16, .max_work_group = 4096};

static void profiles_suit_the_device(void **state)
{
    (void)state;
    clg_profile p;
    clg__profile_of(&p, "cpu", &avx512);
    assert_int_equal(p.wg, 1);
    assert_int_equal(p.vec, 16);
    clg__profile_of(&p, "cpu", &(clg_device_info){.vector_width = 8, .max_work_group = 4096});
    assert_int_equal(p.vec, 8);
    assert_true(p.tile_m * p.tile_n + p.tile_n + 1 <= 16); /* the registers of AVX2 */
    clg__profile_of(&p, "cpu", &(clg_device_info){.vector_width = 1, .max_work_group = 4096});
    assert_int_equal(p.vec, 4);
    clg__profile_of(&p, "gpu", &avx512);
    assert_int_equal(p.wg, 256);
    clg__profile_of(&p, "gpu", &(clg_device_info){.max_work_group = 100});
    assert_int_equal(p.wg, 64);
    assert_string_equal(clg__profile_base(&(clg_device_info){.type = CLG_DEVICE_CPU, .vector_width = 4}), "cpu");
    assert_string_equal(clg__profile_base(&(clg_device_info){.type = CLG_DEVICE_CPU, .vector_width = 1}), "gpu");
    assert_string_equal(clg__profile_base(&(clg_device_info){.type = CLG_DEVICE_GPU, .vector_width = 4}), "gpu");
}

static void profiles_are_parsed(void **state)
{
    (void)state;
    char        error[256], text[256];
    clg_profile p, q;
    clg__profile_of(&p, "cpu", &avx512);
    q = p;
    assert_int_equal(clg_profile_parse(&q, "cpu", error, sizeof error), CLG_OK); /* its own base: as it was */
    assert_memory_equal(&p, &q, sizeof p);
    assert_int_equal(clg_profile_parse(&q, "", error, sizeof error), CLG_OK);
    assert_int_equal(clg_profile_parse(&q, NULL, error, sizeof error), CLG_OK);
    assert_memory_equal(&p, &q, sizeof p);
    assert_int_equal(clg_profile_parse(&q, "gpu,wg=128,vec=2,clblast=0", error, sizeof error), CLG_OK);
    assert_string_equal(q.base, "gpu");
    assert_int_equal(q.wg, 128);
    assert_int_equal(q.vec, 2);
    assert_int_equal(q.clblast, 0);
    assert_int_equal(q.tile_m, 64);
    assert_int_equal(clg_profile_parse(&q, "groups=3", error, sizeof error), CLG_OK);
    assert_int_equal(q.groups, 3);
    assert_int_equal(q.wg, 128);
    memset(&p, 0, sizeof p);
    assert_int_equal(clg_profile_parse(&p, clg_profile_text(&q, text, sizeof text), error, sizeof error), CLG_OK);
    assert_memory_equal(&p, &q, sizeof p);
}

static void bad_profiles_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"wg=3", "power of two"},  {"wg=0", "1 to 256"},      {"wg=512", "1 to 256"},    {"vec=32", "1 to 16"},
        {"vec=", "vec"},           {"vec", "unknown key"},    {"wgs=1", "unknown key"},  {"=1", "unknown key"},
        {"wg=1,", "unknown key"},  {",", "unknown key"},      {"wg=-1", "1 to 256"},     {"wg=1 ", "1 to 256"},
        {"wg=0x10", "1 to 256"},   {"tpu", "unknown key"},    {"wg=1,gpu", "unknown key"}, {"clblast=2", "0 to 1"},
        {"wg=4294967297", "1 to 256"}, {"gpu,tile_m=8", "16 to 128 on gpu"}, {"cpu,tile_m=64", "1 to 16 on cpu"},
        {"gpu, wg=1", "unknown key"},
    };
    for (size_t i = 0; i < CLG__COUNT(rows); i++) {
        char        error[512] = "";
        clg_profile p, before;
        clg__profile_of(&before, "cpu", &avx512);
        p = before;
        assert_int_equal(clg_profile_parse(&p, rows[i].text, error, sizeof error), CLG_INVALID_ARGUMENT);
        assert_non_null(strstr(error, rows[i].says));
        assert_memory_equal(&p, &before, sizeof p);
    }
    clg_profile none = {.base = ""};
    assert_int_equal(clg_profile_parse(&none, "wg=1", NULL, 0), CLG_INVALID_ARGUMENT);
    assert_int_equal(clg_profile_parse(NULL, "wg=1", NULL, 0), CLG_INVALID_ARGUMENT);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selectors_find_the_device),
        cmocka_unit_test(errors_list_the_candidates),
        cmocka_unit_test(defaults_take_the_best_that_is_usable),
        cmocka_unit_test(without_devices_it_says_what_to_install),
        cmocka_unit_test(this_machine_is_listed),
        cmocka_unit_test(profiles_suit_the_device),
        cmocka_unit_test(profiles_are_parsed),
        cmocka_unit_test(bad_profiles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
