#ifndef NVP_HEADER_H
#define NVP_HEADER_H

#include "bytes.h"

/* Append the JSON text by which Python makes the flow again: what nvpflow.save writes for a Flow, in ASCII. */
nvp_status nvp_put_header(nvp_bytes *to, const nvp_flow *flow);

#endif
