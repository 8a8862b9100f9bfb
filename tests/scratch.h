/* scratch.h - a directory for the files of a test, removed with all that is in it. */
#ifndef CLG_TEST_SCRATCH_H
#define CLG_TEST_SCRATCH_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_dir[64];

static inline int scratch_create(void **state)
{
    (void)state;
    strcpy(scratch_dir, "/tmp/clgrad-test-XXXXXX");
    return mkdtemp(scratch_dir) ? 0 : -1;
}

/* The path of `name` in the directory; valid until the eighth call after this one. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name);
    return path;
}

static inline void scratch_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(scratch_path(name), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) abort();
}

/* The whole file, to be freed. */
static inline uint8_t *scratch_read(const char *name, size_t *size)
{
    FILE *file = fopen(scratch_path(name), "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) abort();
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size) abort();
    fclose(file);
    return bytes;
}

/* How many files the directory has; with `clear`, also removes them. */
static inline int scratch_files(bool clear)
{
    int count = 0;
    DIR *dir = opendir(scratch_dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        count++;
        if (clear && unlink(scratch_path(e->d_name)) != 0) rmdir(scratch_path(e->d_name));
    }
    if (dir) closedir(dir);
    return count;
}

static inline int scratch_remove(void **state)
{
    (void)state;
    scratch_files(true);
    return rmdir(scratch_dir);
}

#endif
