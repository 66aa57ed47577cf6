"""Flows of zuko, with early stopping."""

import zuko

from quality.models.torch_training import early_stopping
from quality.models.units import standardized


@standardized
def nsf(x, seed):
    return early_stopping(lambda: spline_flow(x.shape[1]), x, seed)


def spline_flow(dim, flow=zuko.flows.NSF):
    return flow(dim, transforms=3, hidden_features=(64, 64))


@standardized
def maf(x, seed):
    return early_stopping(lambda: zuko.flows.MAF(x.shape[1], transforms=5, hidden_features=(64, 64)), x, seed)


@standardized
def real_nvp(x, seed):
    return early_stopping(lambda: zuko.flows.RealNVP(x.shape[1], transforms=8, hidden_features=(64, 64)), x, seed)


@standardized
def conditional_nsf(x, c, seed):
    shape = x.shape[1], c.shape[1]
    return early_stopping(lambda: zuko.flows.NSF(*shape, transforms=3, hidden_features=(64, 64)), x, seed, c)
