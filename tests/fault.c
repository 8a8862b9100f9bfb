/* fault.c - the calls that can be made to fail. A row of the tables is a call with its parameters and how it fails; the
 * build takes the names from here (tests/meson.build), and tests/test_layers.py knows when one is missing.
 *
 * What releases something does so in any case and then says that it failed, and what waits has waited: so no driver is
 * blamed for what no driver does. unlink does not fail: it is what tidies up. */
#define _GNU_SOURCE
#include "fault.h"
#include <CL/cl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <zlib.h>

static long           calls, first;
static bool           later;
static const char    *failed, *only;
static fault_holdings held;

void fault_at(long k, bool and_later)
{
    first = k;
    later = and_later;
    if (k == 0) return;
    calls = 0;
    failed = NULL;
}

const char    *fault_name(void) { return failed; }
fault_holdings fault_held(void) { return held; }
void           fault_only(const char *names) { only = names; }

static bool fault(const char *name)
{
    const char *at = only ? strstr(only, name) : name;
    if (!at) return false;
    calls++;
    const bool fails = first > 0 && (calls == first || (later && calls > first));
    if (fails && !failed) failed = name;
    if (fails) errno = EIO;
    return fails;
}

/* A call of the linker's two names: what the library calls, and what is behind it. */
#define WRAP(name, type, params)  \
    type __real_##name params;    \
    type __wrap_##name params;    \
    type __wrap_##name params

/* ---- OpenCL -------------------------------------------------------------------------------------------------------- */

/* Creates an object, or says why not in *code. */
#define CL_CREATE(name, type, params, args)                 \
    WRAP(name, type, params)                                \
    {                                                       \
        type object = NULL;                                 \
        if (!fault(#name)) object = __real_##name args;     \
        else if (code) *code = CL_OUT_OF_RESOURCES;         \
        held.opencl += object != NULL;                      \
        return object;                                      \
    }

/* Does something, and gives an event if one is asked for. */
#define CL_DO(name, params, args, event)                                                 \
    WRAP(name, cl_int, params)                                                           \
    {                                                                                    \
        const cl_int result = fault(#name) ? CL_OUT_OF_RESOURCES : __real_##name args;   \
        cl_event    *given = event;                                                      \
        held.opencl += given && result == CL_SUCCESS;                                    \
        return result;                                                                   \
    }

/* Does it and may then say that it did not: a release, with its effect on what is held, and a wait. */
#define CL_DONE(name, params, args, holds)                   \
    WRAP(name, cl_int, params)                               \
    {                                                        \
        const cl_int result = __real_##name args;            \
        held.opencl += holds;                                \
        return fault(#name) ? CL_OUT_OF_RESOURCES : result;  \
    }

CL_CREATE(clCreateContext, cl_context, (const cl_context_properties *p, cl_uint n, const cl_device_id *d,
          void (CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *code), (p, n, d, notify, user, code))
CL_CREATE(clCreateCommandQueue, cl_command_queue, (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *code), (c, d, p, code))
CL_CREATE(clCreateBuffer, cl_mem, (cl_context c, cl_mem_flags f, size_t size, void *host, cl_int *code), (c, f, size, host, code))
CL_CREATE(clCreateSubBuffer, cl_mem, (cl_mem m, cl_mem_flags f, cl_buffer_create_type t, const void *info, cl_int *code), (m, f, t, info, code))
CL_CREATE(clCreateProgramWithSource, cl_program, (cl_context c, cl_uint n, const char **s, const size_t *l, cl_int *code), (c, n, s, l, code))
CL_CREATE(clCreateProgramWithBinary, cl_program, (cl_context c, cl_uint n, const cl_device_id *d, const size_t *l, const unsigned char **b,
          cl_int *status, cl_int *code), (c, n, d, l, b, status, code))
CL_CREATE(clCreateKernel, cl_kernel, (cl_program p, const char *name, cl_int *code), (p, name, code))

CL_DONE(clReleaseContext, (cl_context o), (o), -1)
CL_DONE(clReleaseCommandQueue, (cl_command_queue o), (o), -1)
CL_DONE(clReleaseMemObject, (cl_mem o), (o), -1)
CL_DONE(clReleaseProgram, (cl_program o), (o), -1)
CL_DONE(clReleaseKernel, (cl_kernel o), (o), -1)
CL_DONE(clReleaseEvent, (cl_event o), (o), -1)
CL_DONE(clFinish, (cl_command_queue q), (q), 0)
CL_DONE(clFlush, (cl_command_queue q), (q), 0)
CL_DONE(clWaitForEvents, (cl_uint n, const cl_event *e), (n, e), 0)

/* Retaining is holding once more. */
#define CL_RETAIN(name, type)                                                               \
    WRAP(name, cl_int, (type object))                                                       \
    {                                                                                       \
        const cl_int result = fault(#name) ? CL_OUT_OF_RESOURCES : __real_##name(object);   \
        held.opencl += result == CL_SUCCESS;                                                \
        return result;                                                                      \
    }
CL_RETAIN(clRetainProgram, cl_program)
CL_RETAIN(clRetainMemObject, cl_mem)
CL_RETAIN(clRetainEvent, cl_event)

#define QUERY(name, object, what)                                                                              \
    CL_DO(name, (object o, what w, size_t size, void *value, size_t *used), (o, w, size, value, used), NULL)
QUERY(clGetPlatformInfo, cl_platform_id, cl_platform_info)
QUERY(clGetDeviceInfo, cl_device_id, cl_device_info)
QUERY(clGetProgramInfo, cl_program, cl_program_info)
QUERY(clGetKernelInfo, cl_kernel, cl_kernel_info)
QUERY(clGetEventProfilingInfo, cl_event, cl_profiling_info)
CL_DO(clGetPlatformIDs, (cl_uint n, cl_platform_id *p, cl_uint *found), (n, p, found), NULL)
CL_DO(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *d, cl_uint *found), (p, t, n, d, found), NULL)
CL_DO(clGetProgramBuildInfo, (cl_program p, cl_device_id d, cl_program_build_info w, size_t size, void *value, size_t *used),
      (p, d, w, size, value, used), NULL)
CL_DO(clGetKernelWorkGroupInfo, (cl_kernel k, cl_device_id d, cl_kernel_work_group_info w, size_t size, void *value, size_t *used),
      (k, d, w, size, value, used), NULL)
CL_DO(clGetKernelArgInfo, (cl_kernel k, cl_uint i, cl_kernel_arg_info w, size_t size, void *value, size_t *used),
      (k, i, w, size, value, used), NULL)
CL_DO(clBuildProgram, (cl_program p, cl_uint n, const cl_device_id *d, const char *options, void (CL_CALLBACK *notify)(cl_program, void *),
      void *user), (p, n, d, options, notify, user), NULL)
CL_DO(clSetMemObjectDestructorCallback, (cl_mem m, void (CL_CALLBACK *notify)(cl_mem, void *), void *user), (m, notify, user), NULL)
CL_DO(clSetKernelArg, (cl_kernel k, cl_uint i, size_t size, const void *value), (k, i, size, value), NULL)

CL_DO(clEnqueueWriteBuffer, (cl_command_queue q, cl_mem m, cl_bool wait, size_t at, size_t size, const void *from, cl_uint n,
      const cl_event *after, cl_event *event), (q, m, wait, at, size, from, n, after, event), event)
CL_DO(clEnqueueReadBuffer, (cl_command_queue q, cl_mem m, cl_bool wait, size_t at, size_t size, void *to, cl_uint n,
      const cl_event *after, cl_event *event), (q, m, wait, at, size, to, n, after, event), event)
CL_DO(clEnqueueNDRangeKernel, (cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global, const size_t *local,
      cl_uint n, const cl_event *after, cl_event *event), (q, k, dims, offset, global, local, n, after, event), event)
CL_DO(clEnqueueUnmapMemObject, (cl_command_queue q, cl_mem m, void *p, cl_uint n, const cl_event *after, cl_event *event),
      (q, m, p, n, after, event), event)
CL_DO(clEnqueueMarkerWithWaitList, (cl_command_queue q, cl_uint n, const cl_event *after, cl_event *event), (q, n, after, event), event)
CL_DO(clEnqueueBarrierWithWaitList, (cl_command_queue q, cl_uint n, const cl_event *after, cl_event *event), (q, n, after, event), event)

WRAP(clEnqueueMapBuffer, void *, (cl_command_queue q, cl_mem m, cl_bool wait, cl_map_flags f, size_t at, size_t size, cl_uint n,
                                  const cl_event *after, cl_event *event, cl_int *code))
{
    if (!fault("clEnqueueMapBuffer")) {
        void *p = __real_clEnqueueMapBuffer(q, m, wait, f, at, size, n, after, event, code);
        held.opencl += p && event;
        return p;
    }
    if (code) *code = CL_OUT_OF_RESOURCES;
    return NULL;
}

/* ---- memory, files, processes -------------------------------------------------------------------------------------- */

/* Returns `bad` where it fails; a result that is not bad adds to what is held. */
#define C_CALL(name, type, params, args, bad, what)                    \
    WRAP(name, type, params)                                           \
    {                                                                  \
        const type result = fault(#name) ? bad : __real_##name args;   \
        what += result != bad;                                         \
        return result;                                                 \
    }
#define C_DO(name, type, params, args, bad)                            \
    WRAP(name, type, params) { return fault(#name) ? bad : __real_##name args; }
#define C_DONE(name, type, params, args, bad, what)                    \
    WRAP(name, type, params)                                           \
    {                                                                  \
        const type result = __real_##name args;                        \
        what--;                                                        \
        return fault(#name) ? bad : result;                            \
    }
typedef void *pointer;

C_CALL(malloc, pointer, (size_t size), (size), NULL, held.memory)
C_CALL(aligned_alloc, pointer, (size_t alignment, size_t size), (alignment, size), NULL, held.memory)
C_CALL(calloc, pointer, (size_t count, size_t size), (count, size), NULL, held.memory)
typedef char *string;
C_CALL(strdup, string, (const char *s), (s), NULL, held.memory)
WRAP(realloc, void *, (void *old, size_t size))
{
    void *p = fault("realloc") ? NULL : __real_realloc(old, size);
    held.memory += p && !old;
    return p;
}
WRAP(free, void, (void *p))
{
    held.memory -= p != NULL;
    __real_free(p);
}

typedef FILE *stream;
typedef DIR  *folder;
C_CALL(fopen64, stream, (const char *path, const char *mode), (path, mode), NULL, held.files)
C_DO(fdopen, stream, (int fd, const char *mode), (fd, mode), NULL) /* takes over what is held */
C_DONE(fclose, int, (FILE *f), (f), EOF, held.files)
C_DO(fread, size_t, (void *to, size_t size, size_t n, FILE *f), (to, size, n, f), 0)
C_DO(fwrite, size_t, (const void *from, size_t size, size_t n, FILE *f), (from, size, n, f), 0)
C_DO(fputs, int, (const char *s, FILE *f), (s, f), EOF)
C_CALL(opendir, folder, (const char *path), (path), NULL, held.files)
C_DONE(closedir, int, (DIR *d), (d), -1, held.files)
typedef struct dirent *entry;
C_DO(readdir64, entry, (DIR *d), (d), NULL)
C_CALL(mkstemp64, int, (char *path), (path), -1, held.files)
C_DONE(close, int, (int fd), (fd), -1, held.files)
C_DO(read, ssize_t, (int fd, void *to, size_t size), (fd, to, size), -1)
C_DO(write, ssize_t, (int fd, const void *from, size_t size), (fd, from, size), -1)
C_DO(fsync, int, (int fd), (fd), -1)
C_DO(flock, int, (int fd, int how), (fd, how), -1)
C_DO(ftruncate64, int, (int fd, off_t size), (fd, size), -1)
C_DO(lstat64, int, (const char *path, struct stat *s), (path, s), -1)
C_DO(stat64, int, (const char *path, struct stat *s), (path, s), -1)
C_DO(fstat64, int, (int fd, struct stat *s), (fd, s), -1)
C_DO(fstatat64, int, (int dir, const char *path, struct stat *s, int flags), (dir, path, s, flags), -1)
C_DO(futimens, int, (int fd, const struct timespec t[2]), (fd, t), -1)
C_DO(rename, int, (const char *from, const char *to), (from, to), -1)
C_DO(mkdir, int, (const char *path, mode_t mode), (path, mode), -1)
C_DO(access, int, (const char *path, int mode), (path, mode), -1)
C_DO(inflateInit2_, int, (z_streamp z, int bits, const char *version, int size), (z, bits, version, size), Z_MEM_ERROR)
C_DO(inflate, int, (z_streamp z, int flush), (z, flush), Z_MEM_ERROR)

WRAP(open64, int, (const char *path, int flags, ...))
{
    va_list more;
    va_start(more, flags);
    const int fd = fault("open64") ? -1 : __real_open64(path, flags, flags & O_CREAT ? va_arg(more, mode_t) : 0);
    va_end(more);
    held.files += fd >= 0;
    return fd;
}

WRAP(socketpair, int, (int domain, int type, int protocol, int pair[2]))
{
    const int result = fault("socketpair") ? -1 : __real_socketpair(domain, type, protocol, pair);
    if (result == 0) held.files += 2;
    return result;
}
C_DO(send, ssize_t, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags), -1)
C_DO(recv, ssize_t, (int fd, void *to, size_t size, int flags), (fd, to, size, flags), -1)
C_DO(poll, int, (struct pollfd *fds, nfds_t count, int patience), (fds, count, patience), -1)
C_DO(posix_spawn_file_actions_init, int, (posix_spawn_file_actions_t *a), (a), EIO)
C_DO(posix_spawn_file_actions_adddup2, int, (posix_spawn_file_actions_t *a, int from, int to), (a, from, to), EIO)
C_DO(posix_spawn_file_actions_addopen, int, (posix_spawn_file_actions_t *a, int fd, const char *path, int flags, mode_t mode),
     (a, fd, path, flags, mode), EIO)
C_DO(posix_spawn, int, (pid_t *pid, const char *path, const posix_spawn_file_actions_t *a, const posix_spawnattr_t *attr,
     char *const argv[], char *const envp[]), (pid, path, a, attr, argv, envp), EIO)
