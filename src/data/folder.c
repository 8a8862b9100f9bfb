/* folder.c - a data set from pictures in folders: DIR/<class>/<anything>.png, .jpg or .jpeg.
 *
 * Classes and, within one, files are sorted by name, so that the order is the same on every machine. Names that begin
 * with a dot and files with other endings are left out. */
#include "base/base.h"
#include <clgrad/data.h>
#include <clgrad/image.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct list { /* of texts, each to be freed */
    char **text;
    size_t count;
} list;

static void list_free(list *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->text[i]);
    free(l->text);
    *l = (list){0};
}

static bool list_add(list *l, const char *text)
{
    if ((l->count & (l->count - 1)) == 0) { /* full at powers of two */
        char **grown = realloc(l->text, (l->count ? 2 * l->count : 1) * sizeof *grown);
        if (!grown) return false;
        l->text = grown;
    }
    return (l->text[l->count] = strdup(text)) && ++l->count;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_picture(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

/* The folders in `dir`, or the pictures, sorted. */
static clg_status names_in(clg__root *root, const char *dir, bool folders, list *names)
{
    DIR *open = opendir(dir);
    if (!open) return clg__fail(root, CLG_IO, "%s: %s", dir, strerror(errno));
    clg_status status = CLG_OK;
    for (struct dirent *e; !status && (e = readdir(open));) {
        if (e->d_name[0] == '.') continue;
        clg__text   path = {0};
        struct stat info;
        clg__text_append(&path, "%s/%s", dir, e->d_name);
        const bool found = !path.failed && stat(path.data, &info) == 0;
        const unsigned char *fault = folders ? clg_utf8_fault(e->d_name, strlen(e->d_name)) : NULL;
        if (path.failed ||
            (found && (folders ? S_ISDIR(info.st_mode) : S_ISREG(info.st_mode) && is_picture(e->d_name)) &&
             !list_add(names, folders ? e->d_name : path.data)))
            status = clg__fail(root, CLG_OUT_OF_MEMORY, "%s: no memory for its names", dir);
        else if (fault && found && S_ISDIR(info.st_mode)) /* it is to be a class, in models and in JSON */
            status = clg__fail(root, CLG_FORMAT, "%s: the byte 0x%02x in this name is not UTF-8: rename the folder",
                               path.data, *fault);
        clg__text_free(&path);
    }
    closedir(open);
    if (names->count) qsort(names->text, names->count, sizeof *names->text, by_text);
    return status;
}

typedef struct pictures {
    list     files;
    int32_t *labels; /* [files.count] */
} pictures;

static clg_status find_pictures(clg__root *root, const char *dir, const char *const *names, size_t count,
                                const list *found, pictures *p)
{
    for (size_t f = 0; f < found->count; f++) {
        size_t label = 0;
        while (label < count && strcmp(names[label], found->text[f])) label++;
        if (label == count)
            return clg__fail(root, CLG_FORMAT, "%s/%s: \"%s\" is not one of the classes", dir, found->text[f],
                             found->text[f]);
        clg__text path = {0};
        list      files = {0};
        clg__text_append(&path, "%s/%s", dir, found->text[f]);
        clg_status status = path.failed ? clg__fail(root, CLG_OUT_OF_MEMORY, "%s: no memory", dir)
                                        : names_in(root, path.data, false, &files);
        if (!status && !files.count)
            status = clg__fail(root, CLG_FORMAT, "%s: no picture in it: no .png, .jpg or .jpeg", path.data);
        clg__text_free(&path);
        const size_t  before = p->files.count;
        int32_t      *labels = status ? NULL : realloc(p->labels, (before + files.count) * sizeof *labels);
        if (labels) p->labels = labels;
        for (size_t i = 0; labels && i < files.count; i++) {
            labels[before + i] = (int32_t)label;
            if (!list_add(&p->files, files.text[i])) labels = NULL;
        }
        list_free(&files);
        if (status) return status;
        if (!labels) return clg__fail(root, CLG_OUT_OF_MEMORY, "%s: no memory for its names", dir);
    }
    return CLG_OK;
}

/* Without given extents those of the first picture, which all have; colour when one is in colour. */
static clg_status find_shape(clg_context *ctx, const pictures *p, clg_shape *shape)
{
    clg__root *root = (clg__root *)ctx;
    const bool sized = shape->rank == 3 && shape->dim[1] && shape->dim[2];
    if (sized && shape->dim[0]) return CLG_OK;
    *shape = sized ? *shape : (clg_shape){.rank = 3};
    for (size_t i = 0; i < p->files.count; i++) {
        clg_shape        one;
        const clg_status status = clg_image_shape(ctx, p->files.text[i], &one);
        char             has[128], wants[128];
        if (status) return clg__fail(root, status, "%.1500s", clg_context_error(ctx));
        shape->dim[0] = CLG__MAX(shape->dim[0], one.dim[0]);
        if (sized) continue;
        if (i == 0) shape->dim[1] = one.dim[1], shape->dim[2] = one.dim[2];
        if (one.dim[1] != shape->dim[1] || one.dim[2] != shape->dim[2])
            return clg__fail(root, CLG_INVALID_SHAPE, "%.800s: %s, and %.800s is %s: height and width must be the same",
                             p->files.text[i], clg_shape_text(one, has, sizeof has), p->files.text[0],
                             clg_shape_text(*shape, wants, sizeof wants));
    }
    return CLG_OK;
}

static clg_dataset *read_pictures(clg_context *ctx, const char *dir, const pictures *p, clg_shape shape,
                                  clg_dataset_desc *d)
{
    clg__root   *root = (clg__root *)ctx;
    const size_t one = (size_t)clg_shape_count(shape);
    uint8_t     *bytes = calloc(p->files.count, one);
    clg_dataset *data = NULL;
    char         text[128];
    if (!bytes)
        clg__fail(root, CLG_OUT_OF_MEMORY, "%s: no memory for %zu pictures of %s", dir, p->files.count,
                  clg_shape_text(shape, text, sizeof text));
    for (size_t i = 0; bytes && i < p->files.count && !clg_context_failed(ctx); i++) {
        const clg_status status = clg_image_read(ctx, p->files.text[i], shape, bytes + i * one);
        if (status) clg__fail(root, status, "%.1500s", clg_context_error(ctx));
    }
    d->dtype = CLG_U8;
    d->shape = (clg_shape){.rank = 4, .dim = {(int64_t)p->files.count, shape.dim[0], shape.dim[1], shape.dim[2]}};
    d->examples = bytes;
    d->labels = p->labels;
    if (bytes && !clg_context_failed(ctx)) data = clg_dataset_create_from(ctx, d);
    free(bytes);
    return data;
}

clg_dataset *clg_dataset_open_folder(clg_context *ctx, const char *dir, const clg_folder_desc *desc)
{
    if (clg_context_failed(ctx)) return NULL;
    clg__root            *root = (clg__root *)ctx;
    const clg_folder_desc d = desc ? *desc : (clg_folder_desc){0};
    if (!dir) return clg__fail(root, CLG_INVALID_ARGUMENT, "data set: no directory given"), NULL;
    list         found = {0};
    pictures     p = {0};
    clg_shape    shape = d.shape;
    clg_dataset *data = NULL;
    if (!names_in(root, dir, true, &found)) {
        clg_dataset_desc made = {.names = d.names ? d.names : (const char *const *)found.text,
                                 .classes = d.names ? d.classes : (int64_t)found.count};
        if (!found.count)
            clg__fail(root, CLG_FORMAT, "%s: no folder in it: pictures go into a folder for each class", dir);
        else if (!find_pictures(root, dir, made.names, (size_t)made.classes, &found, &p) &&
                 !find_shape(ctx, &p, &shape))
            data = read_pictures(ctx, dir, &p, shape, &made);
    }
    list_free(&found);
    list_free(&p.files);
    free(p.labels);
    return data;
}
