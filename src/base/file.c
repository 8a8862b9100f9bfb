/* file.c - a file is written to PATH.<process>-<n>.tmp, synced, and renamed to PATH, and the directory is synced: a reader,
 * even one after a power failure, sees the old file or the new one, and a failure removes the new one. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Creates a file that was not there, beside `path`. */
static int create_beside(const char *path, clg__text *name)
{
    int fd = -1;
    errno = EEXIST;
    for (int n = 0; fd < 0 && errno == EEXIST && n < 100; n++) {
        clg__text_free(name);
        clg__text_append(name, "%s.%ld-%d.tmp", path, (long)getpid(), n);
        if (name->failed) errno = ENOMEM;
        else fd = open(name->data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    return fd;
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
        if (close(fd) != 0 && !code) code = errno;
        if (!code && rename(name.data, path) != 0) code = errno;
        if (code) unlink(name.data);
        else sync_directory(path);
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
