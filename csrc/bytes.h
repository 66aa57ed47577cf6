/* A buffer for writing files: little-endian integers and checksums. */
#ifndef NVP_BYTES_H
#define NVP_BYTES_H

#include "nvpflow.h"

/* Grows as data are appended. After a failed allocation, `status` is an error and the content no longer changes. */
typedef struct {
    unsigned char *bytes;
    size_t n, capacity;
    nvp_status status;
} nvp_bytes;

void nvp_put(nvp_bytes *to, const void *bytes, size_t n);
void nvp_put_text(nvp_bytes *to, const char *text);
void nvp_put_integer(nvp_bytes *to, uint64_t value, size_t n_bytes);

/* CRC-32 of ISO 3309. */
uint32_t nvp_crc32(const unsigned char *bytes, size_t n);

#endif
