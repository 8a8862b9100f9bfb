/* augment.c - a row for each change that pictures can be put through. */
#include "augment.h"
#include "spec.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 15 };

/* `count` whole numbers below MOST with `between` after each but the last; where they end, or NULL. */
static const char *numbers(const char *text, int *value, int count, const char *between)
{
    for (int i = 0; i < count; i++) {
        char *end = NULL;
        if (!isdigit((unsigned char)*text)) return NULL;
        const long number = strtol(text, &end, 10);
        if (number >= MOST || (i + 1 < count && *end++ != between[i])) return NULL;
        value[i] = (int)number;
        text = end;
    }
    return text;
}

static const char *read_flip(const char *text, clg_augment_desc *d) { return d->flip = true, text; }

static const char *read_shift(const char *text, clg_augment_desc *d)
{
    return *text == '=' && (text = numbers(text + 1, &d->shift, 1, "")) && d->shift > 0 ? text : NULL;
}

static const char *read_crop(const char *text, clg_augment_desc *d)
{
    text = *text == '=' ? numbers(text + 1, d->crop_hw, 2, "x") : NULL;
    if (!text || d->crop_hw[0] < 1 || d->crop_hw[1] < 1) return NULL;
    return *text == '/' ? numbers(text + 1, &d->pad, 1, "") : text;
}

static const struct {
    const char *name, *form;
    const char *(*read)(const char *text, clg_augment_desc *d); /* what stands behind the name; to its end, or NULL */
} changes[] = {
    {"flip", "flip", read_flip}, {"shift", "shift=2", read_shift}, {"crop", "crop=24x24 or crop=28x28/4", read_crop},
};

enum { CHANGES = sizeof changes / sizeof changes[0] };

static bool wrong(const command *cmd, const char *text, const char *at, const char *message)
{
    spec_error error = {.at = (size_t)(at - text)};
    char       shown[1024];
    snprintf(error.text, sizeof error.text, "%s", message);
    return usage(cmd, "--augment: %s", spec_show(text, strlen(text), &error, shown, sizeof shown)), false;
}

bool augment_parse(const command *cmd, const char *text, clg_augment_desc *desc)
{
    bool given[CHANGES] = {false};
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, "=,");
        char         message[128];
        int          k = 0;
        while (k < CHANGES && (strlen(changes[k].name) != length || strncmp(changes[k].name, at, length))) k++;
        if (k == CHANGES) return wrong(cmd, text, at, "there is no such change; it takes " AUGMENT_HELP);
        if (given[k]) return wrong(cmd, text, at, "this is given twice");
        given[k] = true;
        const char *end = changes[k].read(at + length, desc);
        snprintf(message, sizeof message, "write it as %s, with whole numbers below %d", changes[k].form, MOST);
        if (!end || (*end && *end != ',')) return wrong(cmd, text, at, message);
        if (!*end) return true;
        at = end;
    }
}

int augment_fit(const command *cmd, const clg_augment_desc *d, network *net)
{
    const int64_t *size = net->input.dim + 1;
    char           shape[128];
    clg_shape_text(net->input, shape, sizeof shape);
    if (net->input.rank != 3) return fail(cmd, "--augment changes pictures, and the examples are %s", shape);
    for (int k = 0; k < 2; k++) {
        if (d->shift >= size[k] || d->pad >= size[k])
            return fail(cmd, "--augment moves pictures by up to %d pixels, and they are %s",
                        d->shift >= size[k] ? d->shift : d->pad, shape);
        if (d->crop_hw[k] > size[k])
            return fail(cmd, "--augment: crop=%dx%d is larger than the pictures, which are %s", d->crop_hw[0],
                        d->crop_hw[1], shape);
    }
    if (d->crop_hw[0] && (d->crop_hw[0] < size[0] || d->crop_hw[1] < size[1]))
        net->window = CLG_SHAPE(d->crop_hw[0], d->crop_hw[1]);
    return 0;
}
