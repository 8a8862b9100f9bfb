/* cache.c - built programs on disk: $XDG_CACHE_HOME/clgrad (else ~/.cache/clgrad), one file per program.
 *
 * A file is a header and the driver's binary. It is named by a hash of everything that the binary depends on (the
 * material: source, options, device, driver and platform version); the header repeats that hash, a second, independent
 * one, and a checksum of the binary. Files are written beside their place and renamed into it, so that other processes
 * see all of one or none. Whatever is wrong with a file, it is not there; whatever hinders writing one, nothing is. */
#include "device/cl_types.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct header {
    char     magic[8];
    uint64_t material[2], material_size;
    uint64_t binary_size, checksum;
} header;

static const char magic[8] = "clgrad1";

enum { MAX_BINARY = 1 << 28 };

/* ---- places ------------------------------------------------------------------------------------------------------ */

static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made) return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

char *clg__cache_dir(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    clg__text   path = {0};
    if (xdg && xdg[0] == '/') clg__text_append(&path, "%s/clgrad", xdg); /* a relative one is invalid by its standard */
    else if (home && home[0] == '/') clg__text_append(&path, "%s/.cache/clgrad", home);
    if (path.data && make_directories(path.data)) return path.data;
    clg__text_free(&path);
    return NULL;
}

/* A header for the material, binary_size and checksum still 0. */
static header header_of(const clg_context *ctx, const char *source, const char *options)
{
    const clg_device_info *info = ctx->info;
    const char *const material[] = {source, options, info->name, info->driver, info->version,
                                    ctx->list->platforms[info->platform].version};
    header h = {.material = {0, UINT64_C(0x9e3779b97f4a7c15)}};
    memcpy(h.magic, magic, sizeof magic);
    for (size_t i = 0; i < CLG__COUNT(material); i++) {
        const size_t size = strlen(material[i]) + 1; /* with its end, so that pieces cannot run together */
        for (int j = 0; j < 2; j++) h.material[j] = clg__hash(h.material[j], material[i], size);
        h.material_size += size;
    }
    return h;
}

static clg__text path_of(const clg_context *ctx, const header *h, const char *suffix)
{
    clg__text path = {0};
    clg__text_append(&path, "%s/%016llx.bin%s", ctx->cache_dir, (unsigned long long)h->material[0], suffix);
    return path;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The binary that belongs to `expected`, to be freed, or NULL; expected->binary_size becomes its size. */
static unsigned char *read_binary(FILE *file, header *expected)
{
    struct stat st;
    if (fstat(fileno(file), &st) != 0 || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return NULL; /* code that someone else could have put there is not run */
    header h;
    if (fread(&h, sizeof h, 1, file) != 1 || memcmp(h.magic, expected->magic, sizeof h.magic) != 0 ||
        memcmp(h.material, expected->material, sizeof h.material) != 0 ||
        h.material_size != expected->material_size || h.binary_size == 0 || h.binary_size > MAX_BINARY)
        return NULL;
    unsigned char *binary = malloc((size_t)h.binary_size);
    if (!binary) return NULL;
    if (fread(binary, 1, (size_t)h.binary_size, file) != h.binary_size || fgetc(file) != EOF ||
        clg__hash(0, binary, (size_t)h.binary_size) != h.checksum) {
        free(binary);
        return NULL;
    }
    expected->binary_size = h.binary_size;
    return binary;
}

static cl_program build_binary(clg_context *ctx, const unsigned char *binary, size_t size, const char *options)
{
    cl_int     status = CL_SUCCESS, code = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &size, &binary, &status, &code);
    if (!program) return NULL;
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(program, 1, &ctx->device, options, NULL, NULL) == CL_SUCCESS)
        return program;
    clReleaseProgram(program);
    return NULL;
}

cl_program clg__cache_load(clg_context *ctx, const char *source, const char *options)
{
    if (!ctx->cache_dir) return NULL;
    header     h = header_of(ctx, source, options);
    clg__text  path = path_of(ctx, &h, "");
    FILE      *file = path.data ? fopen(path.data, "rb") : NULL;
    cl_program program = NULL;
    clg__text_free(&path);
    if (!file) return NULL;
    unsigned char *binary = read_binary(file, &h);
    fclose(file);
    if (binary) program = build_binary(ctx, binary, (size_t)h.binary_size, options);
    free(binary);
    return program;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool write_file(FILE *file, const header *h, const unsigned char *binary)
{
    const bool written = fwrite(h, sizeof *h, 1, file) == 1 &&
                         fwrite(binary, 1, (size_t)h->binary_size, file) == h->binary_size;
    return fclose(file) == 0 && written;
}

void clg__cache_store(clg_context *ctx, const char *source, const char *options, cl_program program)
{
    if (!ctx->cache_dir) return;
    size_t size = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || size == 0 ||
        size > MAX_BINARY)
        return;
    header         h = header_of(ctx, source, options);
    unsigned char *binary = malloc(size);
    clg__text      path = path_of(ctx, &h, ""), temporary = path_of(ctx, &h, ".XXXXXX");
    if (binary && path.data && temporary.data &&
        clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) == CL_SUCCESS) {
        h.binary_size = size;
        h.checksum = clg__hash(0, binary, size);
        const int fd = mkstemp(temporary.data); /* mode 0600 */
        FILE     *file = fd < 0 ? NULL : fdopen(fd, "wb");
        if (fd >= 0 && !file) close(fd);
        if (fd >= 0 && (!file || !write_file(file, &h, binary) || rename(temporary.data, path.data) != 0))
            unlink(temporary.data);
    }
    clg__text_free(&path);
    clg__text_free(&temporary);
    free(binary);
}
