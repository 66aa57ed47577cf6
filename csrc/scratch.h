/* Scratch memory that grows to what a call needs and is kept for the next one. */
#ifndef NVP_SCRATCH_H
#define NVP_SCRATCH_H

#include <stddef.h>

typedef struct {
    void *block; /* as allocated */
    size_t capacity;
} nvp_scratch;

/* `size` bytes at an address that every vector type accepts; NULL when there is no memory. The content is undefined. */
void *nvp_scratch_reserve(nvp_scratch *scratch, size_t size);

void nvp_scratch_free(nvp_scratch *scratch);

#endif
