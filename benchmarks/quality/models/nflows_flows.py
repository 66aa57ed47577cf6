"""Flows of nflows, with early stopping."""

from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.flows.realnvp import SimpleRealNVP
from nflows.nn.nets import ResidualNet
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

from quality.models.torch_training import early_stopping
from quality.models.units import standardized


@standardized
def affine(x, seed):
    return early_stopping(lambda: SimpleRealNVP(x.shape[1], 64, num_layers=8, num_blocks_per_layer=2), x, seed)


@standardized
def spline(x, seed):
    return early_stopping(lambda: _spline_coupling(x.shape[1]), x, seed)


def _spline_coupling(dim):
    def network(n_in, n_out):
        return ResidualNet(n_in, n_out, hidden_features=64, num_blocks=2)

    layers = [
        PiecewiseRationalQuadraticCouplingTransform(
            [(d + layer) % 2 for d in range(dim)], network, num_bins=8, tails="linear", tail_bound=5.0
        )
        for layer in range(5)
    ]
    return Flow(CompositeTransform(layers), StandardNormal([dim]))
