#ifndef NVP_HEADER_H
#define NVP_HEADER_H

#include "bytes.h"

/* Append the JSON header from which Python recreates the flow, as nvpflow.save writes it for a Flow, in ASCII. */
nvp_status nvp_put_header(nvp_bytes *to, const nvp_flow *flow);

#endif
