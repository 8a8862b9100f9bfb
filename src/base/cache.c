/* cache.c - files that only save time: $XDG_CACHE_HOME/clgrad (else ~/.cache/clgrad), one per thing that was expensive.
 *
 * A file is the data and a trailer. It is named by a hash of everything that the data depend on (the key); the trailer
 * repeats that hash, a second, independent one, and a checksum of the data. Files are written beside their place and
 * renamed into it, so that other processes see all of one or none. Whatever is wrong with a file, it is not there;
 * whatever hinders writing one, nothing is. What was not read for longest goes when all together grow too large. */
#include "base/base.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

typedef struct trailer {
    char           magic[8];
    clg__cache_key key;
    uint64_t       size, checksum;
} trailer;

static const char magic[8] = "clgrad3";

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

/* Is there room for what a compiler writes? `path` ends with XXXXXX. errno, or 0. */
static int try_to_write(char *path)
{
    struct statvfs disk;
    const int      file = mkstemp(path);
    if (file < 0) return errno;
    const bool known = fstatvfs(file, &disk) == 0 && disk.f_blocks && disk.f_frsize; /* not everywhere */
    close(file);
    unlink(path);
    return known && (geteuid() ? disk.f_bavail : disk.f_bfree) < (8 << 20) / disk.f_frsize ? ENOSPC : 0;
}

int clg__directory_fault(const char *path)
{
    clg__text copy = {0}, probe = {0};
    clg__text_append(&copy, "%s", path);
    clg__text_append(&probe, "%s/clgrad-XXXXXX", path);
    errno = 0;
    int code = 0;
    if (!copy.failed && !probe.failed) code = make_directories(copy.data) ? try_to_write(probe.data) : errno;
    clg__text_free(&copy);
    clg__text_free(&probe);
    return code;
}

/* A link that somebody else made leads where somebody else wants. */
static bool is_foreign_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && st.st_uid != geteuid();
}

char *clg__cache_dir(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    clg__text   path = {0};
    if (xdg && xdg[0] == '/') clg__text_append(&path, "%s/clgrad", xdg); /* a relative one is invalid by its standard */
    else if (home && home[0] == '/') clg__text_append(&path, "%s/.cache/clgrad", home);
    if (path.data && make_directories(path.data) && !is_foreign_link(path.data)) return path.data;
    clg__text_free(&path);
    return NULL;
}

void clg__cache_key_add(clg__cache_key *key, const void *data, size_t bytes)
{
    if (key->size == 0) key->hash[1] = UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 2; i++) key->hash[i] = clg__hash(key->hash[i], data, bytes);
    key->size += bytes;
}

static clg__text path_of(const char *dir, const clg__cache_key *key, const char *suffix)
{
    clg__text path = {0};
    clg__text_append(&path, "%s/%016llx.bin%s", dir, (unsigned long long)key->hash[0], suffix);
    return path;
}

/* Four words at a time: data sets are large, and a bit that flipped is all that is to be found. */
static uint64_t checksum(const unsigned char *data, size_t size)
{
    uint64_t lane[4] = {size, 1, 2, 3}, word[4];
    size_t   at = 0;
    for (; size - at >= sizeof word; at += sizeof word) {
        memcpy(word, data + at, sizeof word);
        for (int i = 0; i < 4; i++) lane[i] = ((lane[i] ^ word[i]) * UINT64_C(0x9e3779b97f4a7c15)) ^ lane[i] >> 29;
    }
    return clg__hash(clg__hash(0, lane, sizeof lane), data + at, size - at);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool read_all(int file, void *data, size_t size)
{
    unsigned char *to = data;
    while (size > 0) {
        const ssize_t got = read(file, to, size);
        if (got <= 0 && !(got < 0 && errno == EINTR)) return false;
        if (got > 0) to += got, size -= (size_t)got;
    }
    return true;
}

bool clg__cache_parse(const uint8_t *bytes, size_t size, const clg__cache_key *key, size_t *data_size)
{
    trailer t;
    if (size < sizeof t) return false;
    *data_size = size - sizeof t;
    memcpy(&t, bytes + *data_size, sizeof t);
    return memcmp(t.magic, magic, sizeof magic) == 0 && memcmp(&t.key, key, sizeof *key) == 0 && t.size == *data_size &&
           t.checksum == checksum(bytes, *data_size);
}

static unsigned char *read_file(int file, const clg__cache_key *key, size_t *size)
{
    struct stat st;
    if (fstat(file, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return NULL; /* code that someone else could have put there is not run */
    unsigned char *data = malloc((size_t)st.st_size + 1);
    if (data && read_all(file, data, (size_t)st.st_size) && clg__cache_parse(data, (size_t)st.st_size, key, size))
        return data;
    free(data);
    *size = 0;
    return NULL;
}

unsigned char *clg__cache_read(const char *dir, const clg__cache_key *key, size_t *size)
{
    if (!dir) return NULL;
    clg__text path = path_of(dir, key, "");
    const int file = path.data ? open(path.data, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    clg__text_free(&path);
    if (file < 0) return NULL;
    unsigned char *data = read_file(file, key, size);
    if (data) futimens(file, NULL); /* in use: not among the first to go */
    close(file);
    return data;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool write_file(FILE *file, const trailer *t, const void *data)
{
    const bool written = fwrite(data, 1, (size_t)t->size, file) == t->size && fwrite(t, sizeof *t, 1, file) == 1;
    return fclose(file) == 0 && written;
}

void clg__cache_write(const char *dir, const clg__cache_key *key, const void *data, size_t size)
{
    if (!dir) return;
    trailer t = {.key = *key, .size = size, .checksum = checksum(data, size)};
    memcpy(t.magic, magic, sizeof magic);
    clg__text path = path_of(dir, key, ""), temporary = path_of(dir, key, ".XXXXXX");
    if (path.data && temporary.data) {
        const int fd = mkstemp(temporary.data); /* mode 0600 */
        FILE     *file = fd < 0 ? NULL : fdopen(fd, "wb");
        if (fd >= 0 && !file) close(fd);
        if (fd >= 0 && (!file || !write_file(file, &t, data) || rename(temporary.data, path.data) != 0))
            unlink(temporary.data);
    }
    clg__text_free(&path);
    clg__text_free(&temporary);
    clg__cache_trim(dir, CLG__CACHE_BYTES);
}

/* ---- the limit --------------------------------------------------------------------------------------------------- */

typedef struct entry {
    char            name[64];
    struct timespec used;
    uint64_t        size;
} entry;

static int older_first(const void *a, const void *b)
{
    const struct timespec x = ((const entry *)a)->used, y = ((const entry *)b)->used;
    if (x.tv_sec != y.tv_sec) return x.tv_sec < y.tv_sec ? -1 : 1;
    return (x.tv_nsec > y.tv_nsec) - (x.tv_nsec < y.tv_nsec);
}

/* The files of this cache in `dir`, and what they take; temporary ones that a killed process left are removed. */
static entry *list(DIR *dir, size_t *count, uint64_t *bytes)
{
    entry *entries = NULL;
    size_t capacity = 0;
    for (const struct dirent *d; (d = readdir(dir));) {
        const size_t length = strlen(d->d_name);
        struct stat  st;
        if (length < 20 || length >= sizeof entries->name || strncmp(d->d_name + 16, ".bin", 4) != 0 ||
            strspn(d->d_name, "0123456789abcdef") != 16 ||
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (length > 20) {
            if (st.st_mtime < time(NULL) - 3600) unlinkat(dirfd(dir), d->d_name, 0);
            continue;
        }
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            entry *more = realloc(entries, capacity * sizeof *more);
            if (!more) break;
            entries = more;
        }
        entry *e = &entries[(*count)++];
        memcpy(e->name, d->d_name, length + 1);
        e->used = st.st_mtim;
        *bytes += e->size = (uint64_t)st.st_size;
    }
    return entries;
}

void clg__cache_trim(const char *path, uint64_t most)
{
    DIR     *dir = opendir(path);
    size_t   count = 0;
    uint64_t bytes = 0;
    if (!dir) return;
    entry *entries = list(dir, &count, &bytes);
    if (bytes > most) qsort(entries, count, sizeof *entries, older_first);
    for (size_t i = 0; bytes > most && i < count; i++)
        if (unlinkat(dirfd(dir), entries[i].name, 0) == 0) bytes -= entries[i].size;
    free(entries);
    closedir(dir);
}

bool clg__cache_is_empty(const char *path)
{
    DIR     *dir = opendir(path);
    size_t   count = 0;
    uint64_t bytes = 0;
    if (!dir) return true;
    free(list(dir, &count, &bytes));
    closedir(dir);
    return count == 0;
}
