/* Structs of the caller that begin with their size. The library computes with its own copies of them, which have all
 * fields that it knows: of an older caller, the later ones are zero.
 *
 * Whoever appends a field makes the struct larger: it must not go into padding at the end, where an older library would
 * not see it. */
#ifndef NVP_SIZED_H
#define NVP_SIZED_H

#include "nvpflow.h"
#include <stdbool.h>

/* False: there is none, it is smaller than in version 0.1, or it has a field that is not known here and not zero. */
bool nvp_take_data(const nvp_data *given, nvp_data *own);
bool nvp_take_adam_options(const nvp_adam_options *given, nvp_adam_options *own);
bool nvp_take_train_options(const nvp_train_options *given, nvp_train_options *own);

/* Number l of an array, whose elements lie as far apart as the first one is large, and must be of its size. */
bool nvp_take_layer_config(const nvp_layer_config *given, size_t l, nvp_layer_config *own);

bool nvp_take_base_config(const nvp_base_config *given, nvp_base_config *own);

/* Fill in what the caller's struct has room for. */
bool nvp_accepts_result(const nvp_train_result *given);
void nvp_give_result(nvp_train_result *given, const nvp_train_result *own);

/* The common part: `least` bytes are those of version 0.1. */
bool nvp_take(void *own, size_t own_size, size_t least, const void *given);

#endif
