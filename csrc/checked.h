/* Arithmetic on sizes that detects overflow. */
#ifndef NVP_CHECKED_H
#define NVP_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool nvp_multiply(size_t a, size_t b, size_t *product) {
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}

static inline bool nvp_add(size_t a, size_t b, size_t *sum) {
    if (a > SIZE_MAX - b)
        return false;
    *sum = a + b;
    return true;
}

/* *total += a * b */
static inline bool nvp_add_product(size_t a, size_t b, size_t *total) {
    size_t product;
    return nvp_multiply(a, b, &product) && nvp_add(*total, product, total);
}

#endif
