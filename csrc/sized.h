/* Structs of the caller that begin with their size, as nvpflow.h explains. The library reads them into its own copies,
 * in which the fields that an older caller does not know are zero.
 *
 * A new field must make the struct larger. In padding at the end, an older library would not notice it. */
#ifndef NVP_SIZED_H
#define NVP_SIZED_H

#include "nvpflow.h"
#include <stdbool.h>

/* False: `given` is NULL, smaller than in version 0.1, or has a non-zero field that this library does not know. */
bool nvp_take_data(const nvp_data *given, nvp_data *own);
bool nvp_take_adam_options(const nvp_adam_options *given, nvp_adam_options *own);
bool nvp_take_train_options(const nvp_train_options *given, nvp_train_options *own);

/* Element l of an array whose elements have the size of the first one. */
bool nvp_take_layer_config(const nvp_layer_config *given, size_t l, nvp_layer_config *own);

bool nvp_take_base_config(const nvp_base_config *given, nvp_base_config *own);

/* Fill in the fields that the caller's struct has. */
bool nvp_accepts_result(const nvp_train_result *given);
void nvp_give_result(nvp_train_result *given, const nvp_train_result *own);

/* What the functions above share. `least`: the bytes of the struct in version 0.1. */
bool nvp_take(void *own, size_t own_size, size_t least, const void *given);

#endif
