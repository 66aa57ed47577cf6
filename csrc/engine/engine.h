/* The engine, one translation unit for each precision and instruction set; read it from here.
 *
 * A tile is T samples in structure-of-arrays order: row d holds dimension d of every sample, T numbers that lie in
 * vector lanes side by side. Everything below works on rows of a tile; T is a multiple of the lanes of a vector. The
 * lanes that no sample fills repeat a real one, so that they never raise a NaN of their own, and carry gradients of
 * zero. */
#include "headers.h"

#include "vec.h"
#include "vmath.h"
#include "normals.h"
#include "linear.h"
#include "shallow.h"
#include "one_input.h"
#include "mlp.h"
#include "layer.h"
#include "conditioner.h"
#include "affine_coupling.h"
#include "additive_coupling.h"
#include "spline_coupling.h"
#include "act_norm.h"
#include "permutation.h"
#include "lu_linear.h"
#include "mixture.h"
#include "layers.h"
#include "tiles.h"
#include "pass.h"
#include "optimizer.h"

const nvp_engine NVP_ENGINE = {
    .isa = NVP_ISA,
    .real_size = sizeof(real),
    .lanes = LANES,
    .plan_layer = plan_layer,
    .plan_base = plan_base,
    .initialize = initialize,
    .run = run_pass,
    .open_exchange = open_exchange,
    .mark_decaying = mark_decaying,
    .update = update_parameters,
    .sum_of_squares = sum_of_squares,
};
