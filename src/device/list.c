/* list.c - platforms and devices, and which of them a selector means.
 *
 * A list is public information followed by what only clgrad needs; all its memory lies in one arena. Nothing here is an
 * error: no loader's platform, a platform without devices, a driver that does not answer a question (then the answer is
 * empty or zero). */
#include "device/cl_types.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct list {
    clg_device_list pub;
    clg__arena      arena;
    cl_platform_id *platform_ids;
    cl_device_id   *device_ids;
} list;

/* ---- asking the driver ------------------------------------------------------------------------------------------- */

static char *trimmed(char *text)
{
    if (!text) return NULL;
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) text[--size] = '\0';
    while (isspace((unsigned char)*text)) text++;
    return text;
}

static char *platform_string(clg__arena *arena, cl_platform_id id, cl_platform_info what)
{
    size_t size = 0;
    if (clGetPlatformInfo(id, what, 0, NULL, &size) != CL_SUCCESS) size = 0;
    char *text = clg__arena_alloc(arena, size + 1);
    if (text && size > 0 && clGetPlatformInfo(id, what, size, text, NULL) != CL_SUCCESS) text[0] = '\0';
    return trimmed(text);
}

static char *device_string(clg__arena *arena, cl_device_id id, cl_device_info what)
{
    size_t size = 0;
    if (clGetDeviceInfo(id, what, 0, NULL, &size) != CL_SUCCESS) size = 0;
    char *text = clg__arena_alloc(arena, size + 1);
    if (text && size > 0 && clGetDeviceInfo(id, what, size, text, NULL) != CL_SUCCESS) text[0] = '\0';
    return trimmed(text);
}

#define NUMBER(type)                                                                    \
    static type number_##type(cl_device_id id, cl_device_info what)                     \
    {                                                                                   \
        type value = 0;                                                                 \
        if (clGetDeviceInfo(id, what, sizeof value, &value, NULL) != CL_SUCCESS) return 0; \
        return value;                                                                   \
    }
NUMBER(cl_uint)
NUMBER(cl_ulong)
NUMBER(cl_bool)
NUMBER(size_t)
NUMBER(cl_device_type)
#undef NUMBER

static clg_device_type type_of(cl_device_id id)
{
    const cl_device_type type = number_cl_device_type(id, CL_DEVICE_TYPE);
    if (type & CL_DEVICE_TYPE_GPU)
        return number_cl_bool(id, CL_DEVICE_HOST_UNIFIED_MEMORY) ? CLG_DEVICE_IGPU : CLG_DEVICE_GPU;
    if (type & CL_DEVICE_TYPE_ACCELERATOR) return CLG_DEVICE_ACCELERATOR;
    return type & CL_DEVICE_TYPE_CPU ? CLG_DEVICE_CPU : CLG_DEVICE_OTHER;
}

static bool compiles_c12(const char *c_version) /* "OpenCL C <major>.<minor> ..." */
{
    int major = 0, minor = 0;
    return sscanf(c_version, "OpenCL C %d.%d", &major, &minor) == 2 && (major > 1 || (major == 1 && minor >= 2));
}

static bool describe(list *l, clg_device_info *info, cl_device_id id)
{
    info->name = device_string(&l->arena, id, CL_DEVICE_NAME);
    info->vendor = device_string(&l->arena, id, CL_DEVICE_VENDOR);
    info->driver = device_string(&l->arena, id, CL_DRIVER_VERSION);
    info->version = device_string(&l->arena, id, CL_DEVICE_VERSION);
    info->c_version = device_string(&l->arena, id, CL_DEVICE_OPENCL_C_VERSION);
    info->extensions = device_string(&l->arena, id, CL_DEVICE_EXTENSIONS);
    if (!info->name || !info->vendor || !info->driver || !info->version || !info->c_version || !info->extensions)
        return false;
    info->type = type_of(id);
    info->available = number_cl_bool(id, CL_DEVICE_AVAILABLE) && number_cl_bool(id, CL_DEVICE_COMPILER_AVAILABLE) &&
                      compiles_c12(info->c_version);
    info->memory = number_cl_ulong(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation = number_cl_ulong(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory = number_cl_ulong(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->compute_units = number_cl_uint(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->clock_mhz = number_cl_uint(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->vector_width = number_cl_uint(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    info->max_work_group = number_size_t(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    clg__profile_of(&info->profile, clg__profile_base(info), info);
    info->gemm_engine = clg__list_engine(&info->profile);
    if (getenv("CLGRAD_PROFILE"))
        clg__profile_apply(info, getenv("CLGRAD_PROFILE"), NULL, 0); /* a context reports errors */
    return true;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static size_t count_devices(cl_platform_id id)
{
    cl_uint count = 0;
    return clGetDeviceIDs(id, CL_DEVICE_TYPE_ALL, 0, NULL, &count) == CL_SUCCESS ? count : 0;
}

static const clg_device_info *best(const clg_device_list *l, clg_device_type first, clg_device_type last)
{
    const clg_device_info *found = NULL;
    for (size_t i = 0; i < l->device_count; i++) {
        const clg_device_info *info = &l->devices[i];
        if (!info->available || info->type < first || info->type > last) continue;
        if (!found || info->type < found->type) found = info;
    }
    return found;
}

static bool fill(list *l)
{
    cl_uint platform_count = 0;
    if (!clg__may_use_opencl()) return true;
    clg__driver_begins();
    if (clGetPlatformIDs(0, NULL, &platform_count) != CL_SUCCESS) platform_count = 0;
    l->platform_ids = clg__arena_alloc(&l->arena, platform_count * sizeof *l->platform_ids);
    l->pub.platforms = clg__arena_alloc(&l->arena, platform_count * sizeof *l->pub.platforms);
    if (!l->platform_ids || !l->pub.platforms) return false;
    if (platform_count > 0 && clGetPlatformIDs(platform_count, l->platform_ids, NULL) != CL_SUCCESS) platform_count = 0;

    size_t most = 0;
    for (cl_uint p = 0; p < platform_count; p++) most += count_devices(l->platform_ids[p]);
    l->device_ids = clg__arena_alloc(&l->arena, most * sizeof *l->device_ids);
    l->pub.devices = clg__arena_alloc(&l->arena, most * sizeof *l->pub.devices);
    if (!l->device_ids || !l->pub.devices) return false;

    for (cl_uint p = 0; p < platform_count; p++, l->pub.platform_count++) {
        const cl_platform_id id = l->platform_ids[p];
        clg_platform_info   *platform = &l->pub.platforms[p];
        platform->name = platform_string(&l->arena, id, CL_PLATFORM_NAME);
        platform->vendor = platform_string(&l->arena, id, CL_PLATFORM_VENDOR);
        platform->version = platform_string(&l->arena, id, CL_PLATFORM_VERSION);
        if (!platform->name || !platform->vendor || !platform->version) return false;

        const size_t at = l->pub.device_count;
        const cl_uint count = (cl_uint)CLG__MIN(count_devices(id), most - at);
        if (count == 0 || clGetDeviceIDs(id, CL_DEVICE_TYPE_ALL, count, l->device_ids + at, NULL) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < count; d++, l->pub.device_count++) {
            clg_device_info *info = &l->pub.devices[at + d];
            info->platform = (int)p;
            info->device = (int)d;
            if (!describe(l, info, l->device_ids[at + d])) return false;
        }
    }
    const clg_device_info *chosen = best(&l->pub, CLG_DEVICE_GPU, CLG_DEVICE_OTHER);
    if (chosen) l->pub.devices[chosen - l->pub.devices].is_default = true;
    return true;
}

clg_device_list *clg_device_list_create(void)
{
    list *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    clg_device_list *pub = &l->pub;
    if (!fill(l)) clg_device_list_destroy(&pub);
    return pub;
}

void clg_device_list_destroy(clg_device_list **pub)
{
    if (!pub || !*pub) return;
    list *l = (list *)*pub;
    clg__arena_free(&l->arena);
    free(l);
    *pub = NULL;
}

cl_device_id clg__list_device_id(const clg_device_list *pub, const clg_device_info *info)
{
    return ((const list *)pub)->device_ids[info - pub->devices];
}

cl_platform_id clg__list_platform_id(const clg_device_list *pub, const clg_device_info *info)
{
    return ((const list *)pub)->platform_ids[info->platform];
}

clg_device_info *clg__list_info(clg_device_list *pub, const clg_device_info *info)
{
    return &pub->devices[info - pub->devices];
}

const char *clg__list_engine(const clg_profile *profile)
{
#ifdef CLG_CLBLAST
    if (profile->clblast) return "clblast";
#else
    (void)profile;
#endif
    return "built-in";
}

const char *clg_device_type_name(clg_device_type type)
{
    static const char *const names[] = {
        [CLG_DEVICE_GPU] = "GPU", [CLG_DEVICE_IGPU] = "integrated GPU", [CLG_DEVICE_ACCELERATOR] = "accelerator",
        [CLG_DEVICE_CPU] = "CPU", [CLG_DEVICE_OTHER] = "other device",
    };
    return (size_t)type < CLG__COUNT(names) ? names[type] : "unknown device";
}

/* ---- selection --------------------------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) a++, b++;
    return *a == *b;
}

static bool contains(const char *text, const char *part)
{
    const size_t size = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < size && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == size) return true;
    }
    return size == 0;
}

static bool parse_pair(const char *text, int *platform, int *device)
{
    int used = 0;
    return isdigit((unsigned char)*text) && sscanf(text, "%4d:%4d%n", platform, device, &used) == 2 &&
           text[used] == '\0' && *device >= 0;
}

static bool matches(const clg_device_list *l, const clg_device_info *info, const char *selector)
{
    int platform, device;
    if (parse_pair(selector, &platform, &device)) return info->platform == platform && info->device == device;
    return contains(info->name, selector) || contains(l->platforms[info->platform].name, selector);
}

/* Writes what fits, always terminated. */
typedef struct message {
    char  *text;
    size_t size, used;
} message;

static void say(message *m, const char *format, ...) CLG_PRINTF(2, 3);

static void say(message *m, const char *format, ...)
{
    if (m->used >= m->size) return;
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(m->text + m->used, m->size - m->used, format, args);
    va_end(args);
    if (length > 0) m->used += (size_t)length;
}

static void say_install(message *m)
{
    say(m, "; install one: a CPU works with pocl (apt install pocl-opencl-icd), a GPU with its vendor's driver (on "
           "Debian intel-opencl-icd, mesa-opencl-icd or nvidia-opencl-icd)");
    static const char *const variables[] = {"OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH"};
    for (size_t i = 0; i < CLG__COUNT(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value) say(m, "; mind that %s is set to \"%s\", which tells the loader where to look", variables[i], value);
    }
}

static void say_device(message *m, const clg_device_list *l, const clg_device_info *info)
{
    say(m, "\n  %d:%d  %s, %s (%s)%s", info->platform, info->device, info->name, clg_device_type_name(info->type),
        l->platforms[info->platform].name, info->available ? "" : ", not usable");
}

static void say_candidates(message *m, const clg_device_list *l, const char *selector)
{
    for (size_t i = 0; i < l->device_count; i++)
        if (!selector || matches(l, &l->devices[i], selector)) say_device(m, l, &l->devices[i]);
}

const clg_device_info *clg_device_list_select(const clg_device_list *l, const char *selector, char *error,
                                              size_t error_size)
{
    message m = {.text = error, .size = error ? error_size : 0};
    if (m.size > 0) error[0] = '\0';
    if (!l || l->platform_count == 0) {
        say(&m, "no OpenCL platform found");
        say_install(&m);
        return NULL;
    }
    if (l->device_count == 0) {
        char fault[1024] = "";
        for (size_t i = 0; i < l->platform_count && !*fault; i++)
            clg__driver_fault(l, (int)i, fault, sizeof fault);
        if (*fault) {
            say(&m, "no OpenCL device: %s", fault);
            return NULL;
        }
        say(&m, "no OpenCL device: none of the platforms has one (");
        for (size_t i = 0; i < l->platform_count; i++) say(&m, "%s%s", i ? ", " : "", l->platforms[i].name);
        say(&m, ")");
        say_install(&m);
        return NULL;
    }

    const clg_device_info *found = NULL;
    const bool any = !selector || !*selector, gpu = !any && same(selector, "gpu"), cpu = !any && same(selector, "cpu");
    if (any || gpu || cpu) {
        found = any   ? best(l, CLG_DEVICE_GPU, CLG_DEVICE_OTHER)
                : gpu ? best(l, CLG_DEVICE_GPU, CLG_DEVICE_IGPU)
                      : best(l, CLG_DEVICE_CPU, CLG_DEVICE_CPU);
        if (found) return found;
        say(&m, "no usable %s; the devices are:", gpu ? "GPU" : cpu ? "CPU" : "OpenCL device");
        say_candidates(&m, l, NULL);
        return NULL;
    }

    size_t count = 0;
    for (size_t i = 0; i < l->device_count; i++) {
        if (!matches(l, &l->devices[i], selector)) continue;
        found = &l->devices[i];
        count++;
    }
    if (count == 1 && found->available) return found;
    if (count == 1)
        say(&m, "device \"%s\" cannot be used: it is busy, or has no compiler for OpenCL C 1.2; the devices are:",
            selector);
    else if (count == 0) say(&m, "no device \"%s\"; the devices are:", selector);
    else say(&m, "\"%s\" matches several devices; choose one of:", selector);
    say_candidates(&m, l, count > 1 ? selector : NULL);
    return NULL;
}
