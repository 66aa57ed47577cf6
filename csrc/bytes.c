#include "bytes.h"
#include "checked.h"
#include <stdlib.h>
#include <string.h>

static bool make_room(nvp_bytes *to, size_t n) {
    size_t needed;
    if (to->status != NVP_OK || !nvp_add(to->n, n, &needed))
        return false;
    if (needed <= to->capacity)
        return true;
    const size_t doubled = to->capacity > SIZE_MAX / 2 ? SIZE_MAX : 2 * to->capacity;
    const size_t capacity = needed > doubled ? needed : doubled;
    unsigned char *larger = realloc(to->bytes, capacity);
    if (!larger)
        return false;
    to->bytes = larger, to->capacity = capacity;
    return true;
}

void nvp_put(nvp_bytes *to, const void *bytes, size_t n) {
    if (n == 0)
        return;
    if (!make_room(to, n)) {
        to->status = NVP_ERROR_MEMORY;
        return;
    }
    memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
}

void nvp_put_text(nvp_bytes *to, const char *text) { nvp_put(to, text, strlen(text)); }

void nvp_put_integer(nvp_bytes *to, uint64_t value, size_t n_bytes) {
    unsigned char bytes[8];
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    nvp_put(to, bytes, n_bytes);
}

/* Four bits at a time. */
uint32_t nvp_crc32(const unsigned char *bytes, size_t n) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}
