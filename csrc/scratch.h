/* Scratch memory that grows as a call needs, and is kept for the next call. */
#ifndef NVP_SCRATCH_H
#define NVP_SCRATCH_H

#include <stddef.h>

typedef struct {
    void *block; /* as allocated */
    size_t capacity;
} nvp_scratch;

/* `size` bytes, aligned for every vector type, with undefined content. NULL: no memory. */
void *nvp_scratch_reserve(nvp_scratch *scratch, size_t size);

void nvp_scratch_free(nvp_scratch *scratch);

#endif
