/* One column of several normal distributions, given the columns before it. */
#ifndef NVP_NORMAL_COLUMN_H
#define NVP_NORMAL_COLUMN_H

#include <stddef.h>

/* n distributions, a multiple of the lanes of the widest vector; what fills up has a share of 0. The whitened values of
 * x are rests + slopes (x - centres). */
typedef struct {
    size_t n;
    double *rests, *slopes, *centres;
    double *logs, *shares; /* the largest share is 1 */
} nvp_normal_column;

/* Sums of the shares times Phi(u), Phi(-u) and slopes exp(-u^2 / 2), for the whitened values u of a number. */
typedef struct {
    double below, above, density;
} nvp_normal_sums;

enum { NVP_MOST_LANES = 8 }; /* of doubles */

#endif
