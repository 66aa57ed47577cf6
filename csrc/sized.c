#include "sized.h"
#include <string.h>

/* The end of a field. For the last field of version 0.1 that was the size of the struct, without padding. */
#define END(type, field) (offsetof(type, field) + sizeof(((type *)NULL)->field))

static size_t size_of(const void *given) {
    size_t size;
    memcpy(&size, given, sizeof size);
    return size;
}

bool nvp_take(void *own, size_t own_size, size_t least, const void *given) {
    if (!given)
        return false;
    const size_t size = size_of(given);
    if (size < least)
        return false;
    for (size_t i = own_size; i < size; i++)
        if (((const unsigned char *)given)[i] != 0)
            return false;
    memset(own, 0, own_size);
    memcpy(own, given, size < own_size ? size : own_size);
    memcpy(own, &own_size, sizeof own_size);
    return true;
}

bool nvp_take_data(const nvp_data *given, nvp_data *own) {
    return nvp_take(own, sizeof *own, END(nvp_data, weight), given);
}

bool nvp_take_adam_options(const nvp_adam_options *given, nvp_adam_options *own) {
    return nvp_take(own, sizeof *own, END(nvp_adam_options, epsilon), given);
}

bool nvp_take_train_options(const nvp_train_options *given, nvp_train_options *own) {
    return nvp_take(own, sizeof *own, END(nvp_train_options, context), given);
}

bool nvp_take_layer_config(const nvp_layer_config *given, size_t l, nvp_layer_config *own) {
    const size_t size = size_of(given);
    const char *element = (const char *)given + l * size;
    return size_of(element) == size && nvp_take(own, sizeof *own, END(nvp_layer_config, permutation), element);
}

bool nvp_take_base_config(const nvp_base_config *given, nvp_base_config *own) {
    return nvp_take(own, sizeof *own, END(nvp_base_config, n_components), given);
}

bool nvp_accepts_result(const nvp_train_result *given) {
    return size_of(given) >= END(nvp_train_result, validation_nll);
}

void nvp_give_result(nvp_train_result *given, const nvp_train_result *own) {
    const size_t size = size_of(given) < sizeof *own ? size_of(given) : sizeof *own;
    memcpy((char *)given + sizeof size, (const char *)own + sizeof size, size - sizeof size);
}
