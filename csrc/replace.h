#ifndef NVP_REPLACE_H
#define NVP_REPLACE_H

#include "nvpflow.h"

/* Write a file that takes the place of an old one when it is on the disk; see nvp_flow_save. */
nvp_status nvp_write_file(const char *path, const void *bytes, size_t n);

#endif
