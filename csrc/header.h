#ifndef NVP_HEADER_H
#define NVP_HEADER_H

#include "bytes.h"

/* Append the JSON header from which Python recreates the flow, as nvpflow.save writes it for a Flow, in ASCII. */
nvp_status nvp_put_header(nvp_bytes *to, const nvp_flow *flow);

/* The same for an ensemble, as for a FlowEnsemble. */
nvp_status nvp_put_ensemble_header(nvp_bytes *to, const nvp_ensemble *ensemble);

#endif
