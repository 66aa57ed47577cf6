#include "scratch.h"
#include <stdint.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 }; /* of the widest vector */

void *nvp_scratch_reserve(nvp_scratch *scratch, size_t size) {
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    if (size + ALIGNMENT > scratch->capacity) {
        void *block = malloc(size + ALIGNMENT);
        if (!block)
            return NULL;
        free(scratch->block);
        scratch->block = block;
        scratch->capacity = size + ALIGNMENT;
    }
    const size_t misaligned = (uintptr_t)scratch->block % ALIGNMENT;
    return (char *)scratch->block + (ALIGNMENT - misaligned);
}

void nvp_scratch_free(nvp_scratch *scratch) { free(scratch->block); }
