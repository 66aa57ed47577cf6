/* A fitted estimator: its flows, and how they see the columns. Immutable. */
#ifndef NVP_MODEL_H
#define NVP_MODEL_H

#include "ensemble.h"

typedef enum { NVP_COLUMN_REAL, NVP_COLUMN_WHOLE, NVP_COLUMN_ANGLE, NVP_N_COLUMN_KINDS } nvp_column_kind;

/* The values that a column has: numbers from low to high, or angles in [low, high). */
typedef struct {
    nvp_column_kind kind;
    double low, high;
} nvp_column;

struct nvp_model {
    nvp_ensemble *ensemble;
    void *params;
    nvp_column *columns;    /* (D) */
    double *origin;         /* (D): what the flows see samples less of */
    double *context_origin; /* (C) */
    double *context_range;  /* (2, C): the least and the largest values, to which a context is clipped */
    size_t n_angles, n_whole;
    double *cell_points, *cell_log_weights; /* of nvp_cell_points, for the columns of whole numbers */
};

#endif
