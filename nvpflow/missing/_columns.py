"""The part of a flow that acts on each column by itself, and the trained layers that do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._training.margins import is_spline_of_margins
from nvpflow._training.warm_start import are_identity
from nvpflow._typing import Floats
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm, AdditiveCoupling, Bounded, Layer, SplineCoupling
from nvpflow.layers._coupling import Coupling

__all__ = ["Columns", "split_layers"]


def split_layers(flow: Flow) -> tuple[list[Layer], Columns]:
    """The first layers of a flow, up to the last one that mixes columns, and the others. Identities are left out."""
    layers = [layer for layer in flow.layers if not (isinstance(layer, Coupling) and are_identity([layer]))]
    n = len(layers)
    while n and _acts_on_columns(layers[n - 1]):
        n -= 1
    return layers[:n], Columns(layers[n:])


def _acts_on_columns(layer: Layer) -> bool:
    """Whether a layer changes each column without a look at the others. It may read the context."""
    shifts = isinstance(layer, AdditiveCoupling) and not layer.mask.any()
    return shifts or _is_margin(layer) or isinstance(layer, (ActNorm, Bounded))


def _is_margin(layer: Layer) -> bool:
    """Whether a layer is one of `Margins`: splines that are the same for all samples."""
    return is_spline_of_margins(layer) and not layer.net[0].weight.any()


class Columns:
    """Layers that act on each column by itself, in float64."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def split(self) -> tuple[Columns, Columns]:
        """The layers before a last `Bounded`, which are affine, and this layer alone, or no layer."""
        is_bounded = bool(self.layers) and isinstance(self.layers[-1], Bounded)
        cut = len(self.layers) - is_bounded
        return Columns(self.layers[:cut]), Columns(self.layers[cut:])

    def inverse(self, x: Floats, context: Floats | None) -> tuple[Floats, Floats]:
        """Map rows x (n, D), NaN where cells are missing, to y (n, D). Also return log|dy/dx| for each cell."""
        y, slopes = x.astype(np.float64), np.zeros(x.shape)
        for layer in reversed(self.layers):
            if isinstance(layer, ActNorm):
                scale = layer.log_scale.astype(np.float64)
                y, slopes = (y - layer.bias) * np.exp(-scale), slopes - scale
            elif isinstance(layer, Bounded):
                _unbind(layer, y, slopes)
            elif isinstance(layer, SplineCoupling):
                _unbend(layer, y, slopes)
            else:
                y = y + _shift(layer, x, context, inverse=True)
        return y, slopes

    def forward(self, y: Floats, context: Floats | None) -> Floats:
        """Undo `inverse`."""
        x = y
        for layer in self.layers:
            if isinstance(layer, ActNorm):
                x = x * np.exp(layer.log_scale.astype(np.float64)) + layer.bias
            elif isinstance(layer, Bounded):
                x = _exact(layer).forward(x)[0]
            elif isinstance(layer, SplineCoupling):
                x = _exact_spline(layer).forward(x)[0]
            else:
                x = x + _shift(layer, x, context, inverse=False)
        return x


def _exact(layer: Bounded) -> Bounded:
    return Bounded(layer.data_dim, layer.bounds, layer.scales, layer.edges, dtype="float64")


def _unbind(layer: Bounded, y: Floats, slopes: Floats) -> None:
    """Undo a layer for the cells that are not missing, in place."""
    for i, (bounds, scale, edge) in enumerate(zip(layer.bounds, layer.scales, layer.edges)):
        here = ~np.isnan(y[:, i])
        column = Bounded(1, [bounds], [scale], [edge], dtype="float64")
        z, log_det = column.inverse(y[here, i : i + 1])
        y[here, i], slopes[here, i] = z[:, 0], slopes[here, i] + log_det


def _exact_spline(layer: SplineCoupling) -> SplineCoupling:
    exact = SplineCoupling._from_config(layer.config() | {"context_dim": 0}, "float64")
    for (_, bias), (_, own) in zip(exact.net, layer.net):
        bias[:] = own
    exact.net[-1].weight[:] = layer.net[-1].weight
    return exact


def _unbend(layer: SplineCoupling, y: Floats, slopes: Floats) -> None:
    """Undo splines for the cells that are not missing, in place. In the tails they are the identity, with a slope of 1."""
    exact = _exact_spline(layer)
    for i in range(y.shape[1]):
        here = ~np.isnan(y[:, i])
        alone = np.full((int(here.sum()), y.shape[1]), 2 * layer.tail_bound)
        alone[:, i] = y[here, i]
        z, log_det = exact.inverse(alone)
        y[here, i], slopes[here, i] = z[:, i], slopes[here, i] + log_det


def _shift(layer: Layer, x: Floats, context: Floats | None, *, inverse: bool) -> Floats:
    """What a layer whose network sees the context alone adds to the columns."""
    zeros = np.zeros(x.shape, layer.dtype)
    rows = None if context is None else context.astype(layer.dtype)
    moved: Floats = (layer.inverse if inverse else layer.forward)(zeros, rows)[0].astype(np.float64)
    return moved
