"""Flows of normflows, with early stopping."""

import normflows

from quality.models.torch_training import early_stopping
from quality.models.units import standardized


@standardized
def spline(x, seed):
    return early_stopping(lambda: _spline_coupling(x.shape[1]), x, seed)


def _spline_coupling(dim):
    """The spline flow of its examples: two blocks of 64 units in each network, and LU maps between the layers."""
    layers = []
    for _ in range(5):
        layers.append(normflows.flows.CoupledRationalQuadraticSpline(dim, 2, 64, num_bins=8, tail_bound=5))
        layers.append(normflows.flows.LULinearPermute(dim))
    return normflows.NormalizingFlow(normflows.distributions.base.DiagGaussian(dim, trainable=False), layers)
