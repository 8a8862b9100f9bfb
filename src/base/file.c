/* file.c - a file is written to PATH.tmp, synced, and renamed to PATH, and the directory is synced: a reader, even one
 * after a power failure, sees the old file or the new one, and a failure removes the new one. What a killed process
 * left at PATH.tmp is written over by the next one. While one writes there, which a lock tells, another writes to
 * PATH.1.tmp, and so on. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Nobody else's, and still the file of that name: who had it may have renamed it meanwhile. */
static bool is_own(const struct stat *file, const char *name)
{
    struct stat named;
    if (lstat(name, &named) != 0) return errno != ENOENT;
    return S_ISREG(file->st_mode) && file->st_nlink == 1 && file->st_uid == geteuid() &&
           file->st_ino == named.st_ino && file->st_dev == named.st_dev;
}

/* An empty file beside `path`, locked; a file system without locks hinders nobody. */
static int create_beside(const char *path, clg__text *name)
{
    for (int n = 0; n < 100; n++) {
        struct stat file;
        clg__text_free(name);
        if (n) clg__text_append(name, "%s.%d.tmp", path, n);
        else clg__text_append(name, "%s.tmp", path);
        if (name->failed) return errno = ENOMEM, -1;
        const int fd = open(name->data, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != ELOOP && errno != EACCES && errno != EISDIR) return -1;
        if (fd < 0) continue;
        const bool taken = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK, known = fstat(fd, &file) == 0;
        if (!taken && (!known || is_own(&file, name->data))) {
            if (known && ftruncate(fd, 0) == 0) return fd;
            unlink(name->data);
        }
        close(fd);
    }
    return errno = EACCES, -1;
}

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size) {
        const ssize_t written = write(fd, bytes, CLG__MIN(size, (size_t)1 << 30));
        if (written < 0 && errno != EINTR) return false;
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    return fsync(fd) == 0;
}

/* Makes the rename last. Not every file system can: then it lasts as that one has it. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    clg__text   name = {0};
    if (slash) clg__text_append(&name, "%.*s", (int)(slash - path) + 1, path);
    const int fd = name.failed ? -1 : open(slash ? name.data : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    clg__text_free(&name);
}

clg_status clg__file_may_replace(clg__root *root, const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) /* renaming would replace a device or a pipe */
        return clg__report(root, CLG_IO, "%s: cannot be written: it is not a regular file", path);
    return CLG_OK;
}

clg_status clg__file_replace(clg__root *root, const char *path, const uint8_t *bytes, size_t size)
{
    const clg_status status = clg__file_may_replace(root, path);
    if (status) return status;
    clg__text name = {0};
    const int fd = create_beside(path, &name);
    int code = fd < 0 ? errno : 0;
    if (fd >= 0) {
        if (!write_all(fd, bytes, size)) code = errno;
        if (!code && rename(name.data, path) != 0) code = errno;
        if (code) unlink(name.data);
        close(fd); /* now: what is locked must not be written to by others before it has its name */
        if (!code) sync_directory(path);
    }
    clg__text_free(&name);
    return code ? clg__report(root, CLG_IO, "%s: cannot be written: %s", path, strerror(code)) : CLG_OK;
}

clg_status clg__file_load(clg__root *root, const char *path, uint8_t **bytes, size_t *size)
{
    *bytes = NULL;
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return clg__report(root, CLG_IO, "%s: not a regular file", path);
    FILE *file = fopen(path, "rb");
    if (!file) return clg__report(root, CLG_IO, "%s: %s", path, strerror(errno));
    clg_status status = CLG_OK;
    if (fstat(fileno(file), &info) != 0) {
        status = clg__report(root, CLG_IO, "%s: %s", path, strerror(errno));
    } else if (!(*bytes = malloc((size_t)info.st_size + 1))) {
        status = clg__report(root, CLG_OUT_OF_MEMORY, "%s: no memory for its %lld bytes", path,
                             (long long)info.st_size);
    } else {
        *size = fread(*bytes, 1, (size_t)info.st_size, file);
        (*bytes)[*size] = 0;
        if (ferror(file)) status = clg__report(root, CLG_IO, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    if (status) free(*bytes), *bytes = NULL;
    return status;
}
