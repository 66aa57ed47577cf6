/* Structs of the caller that begin with their size, see nvpflow.h. The library copies them; fields that an older caller
 * does not know are zero in the copy.
 *
 * A new field must make the struct larger: an older library would not notice a field in the padding at the end. */
#ifndef NVP_SIZED_H
#define NVP_SIZED_H

#include "nvpflow.h"
#include <stdbool.h>

/* False: `given` is NULL, smaller than in version 0.1, or has a non-zero field that this library does not know. */
bool nvp_take_data(const nvp_data *given, nvp_data *own);
bool nvp_take_adam_options(const nvp_adam_options *given, nvp_adam_options *own);
bool nvp_take_train_options(const nvp_train_options *given, nvp_train_options *own);

/* Element l of an array. All elements have the size of the first one. */
bool nvp_take_layer_config(const nvp_layer_config *given, size_t l, nvp_layer_config *own);

bool nvp_take_base_config(const nvp_base_config *given, nvp_base_config *own);

/* Fill in the fields that the caller's struct has. */
bool nvp_accepts_result(const nvp_train_result *given);
void nvp_give_result(nvp_train_result *given, const nvp_train_result *own);

/* The common part of the functions above. `least`: bytes of the struct in version 0.1. */
bool nvp_take(void *own, size_t own_size, size_t least, const void *given);

#endif
