/* memory.c - the memory planner: intervals in time become addresses.
 *
 * Greedy by size (Pisarchyk & Lee 2020): the largest interval first; each goes to the lowest gap, over all slabs, between
 * those intervals already placed that are alive at the same time. Nothing here knows of a device. */
#include "plan/plan.h"
#include <stdlib.h>

typedef struct order {
    const clg__interval *interval;
    size_t               index;
} order;

static int larger_first(const void *a, const void *b)
{
    const order *x = a, *y = b;
    if (x->interval->bytes != y->interval->bytes) return x->interval->bytes < y->interval->bytes ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int lower_first(const void *a, const void *b)
{
    const clg__interval *x = *(clg__interval *const *)a, *y = *(clg__interval *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The lowest offset in a slab at which `bytes` fit between `busy`, which is sorted by offset. */
static uint64_t lowest_gap(clg__interval *const *busy, size_t count, uint64_t bytes, uint64_t align)
{
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (busy[i]->offset >= at && busy[i]->offset - at >= bytes) break;
        const uint64_t end = busy[i]->offset + busy[i]->bytes;
        if (end > at) at = (end + align - 1) / align * align;
    }
    return at;
}

static bool place(clg__interval *self, clg__interval *all, size_t count, uint64_t max_slab, uint64_t align,
                  clg__slabs *slabs, clg__interval **busy)
{
    for (int slab = 0; slab <= slabs->count; slab++) {
        size_t n = 0;
        for (size_t i = 0; i < count; i++)
            if (all[i].slab == slab && all[i].first <= self->last && self->first <= all[i].last) busy[n++] = &all[i];
        qsort(busy, n, sizeof(clg__interval *), lower_first);
        const uint64_t at = lowest_gap(busy, n, self->bytes, align);
        if (at > max_slab || self->bytes > max_slab - at) continue;
        if (slab == slabs->count) {
            uint64_t *bytes = realloc(slabs->bytes, ((size_t)slab + 1) * sizeof *bytes);
            if (!bytes) return false;
            slabs->bytes = bytes;
            slabs->bytes[slabs->count++] = 0;
        }
        self->slab = slab;
        self->offset = at;
        slabs->bytes[slab] = CLG__MAX(slabs->bytes[slab], at + self->bytes);
        return true;
    }
    return false;
}

bool clg__plan_memory(clg__interval *intervals, size_t count, uint64_t max_slab, uint64_t align, clg__slabs *slabs)
{
    order          *sorted = calloc(count + 1, sizeof *sorted);
    clg__interval **busy = calloc(count + 1, sizeof *busy);
    bool            ok = sorted && busy;
    for (size_t i = 0; ok && i < count; i++) {
        intervals[i].slab = -1;
        sorted[i] = (order){&intervals[i], i};
    }
    if (ok) qsort(sorted, count, sizeof *sorted, larger_first);
    for (size_t i = 0; ok && i < count; i++) {
        clg__interval *self = &intervals[sorted[i].index];
        if (self->bytes == 0) break; /* the rest are empty too */
        ok = self->bytes <= max_slab && place(self, intervals, count, max_slab, align, slabs, busy);
    }
    free(sorted);
    free(busy);
    return ok;
}
