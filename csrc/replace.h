#ifndef NVP_REPLACE_H
#define NVP_REPLACE_H

#include "nvpflow.h"

/* Write a file that atomically replaces an old one, as nvp_flow_save documents. */
nvp_status nvp_write_file(const char *path, const void *bytes, size_t n);

#endif
