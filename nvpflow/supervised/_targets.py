"""The distribution of targets given a context: means, quantiles and distribution functions of a fitted conditional density."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.density import FlowDensity
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm, AdditiveCoupling
from nvpflow.missing._columns import split_layers
from nvpflow.supervised._components import Components
from nvpflow.supports._near_bounds import onto_bounds

__all__ = ["Targets"]

CHUNK = 256  # rows at a time
MOST_WHOLE, TINY = 2.0**53, 1e-300
# For the quantiles of an ensemble: steps at most, and the error of a level at which they end, in shares of the level or of
# what is above it. A step costs a pass through all members. RESOLUTION: of float32, beyond which nothing can be told.
STEPS, TOLERANCE, RESOLUTION = 45, 1e-6, 2.0**-25
N_DRAWS = 1000  # for means of several targets


class Targets:
    """The conditional distributions p(y | x) of a fitted density.

    With one target, a flow is a monotone map of a mixture of normal distributions given x. So its quantiles are the images of
    those of the mixture, and the distribution function is that of the mixture at the latent point.

    Parameters
    ----------
    density : FlowDensity
        Fitted with a context.
    context : ndarray, shape (n, C)
        As `flow_` reads it.
    """

    def __init__(self, density: FlowDensity, context: Floats) -> None:
        self.density, self.context = density, context
        flow = density._fitted_flow()
        self.flows = list(flow.flows) if isinstance(flow, FlowEnsemble) else [flow]
        self.weights = np.asarray(flow.weights, np.float64) if isinstance(flow, FlowEnsemble) else np.ones(1)

    def means(self, seed: int) -> Floats:
        """The means (n, T). Those of several targets under trained layers are the means of N_DRAWS draws."""
        if self.density.n_features_in_ > 1 and any(split_layers(flow)[0] for flow in self.flows):
            return self._drawn_means(seed)
        parts = [sum(w * self._means_of(flow, rows) for w, flow in zip(self.weights, self.flows)) for rows in self._chunks()]
        return np.concatenate(parts) if parts else np.empty((0, self.density.n_features_in_))

    def _means_of(self, flow: Flow, rows: Floats) -> Any:
        """The means of a member, in the units of the data."""
        components = Components.of(flow, rows)
        if _is_linear(flow) and self.density._known_supports() is None:
            return self._to_own(_forward(flow, components.expectation(), rows))
        return np.stack([self._mean_of_column(flow, components, rows, j) for j in range(flow.data_dim)], axis=1)

    def _mean_of_column(self, flow: Flow, components: Components, rows: Floats, j: int) -> Floats:
        """The means (n,) of a target, which the flow maps by itself."""
        z, at = components.column(j).grid()
        mass = np.diff(at, axis=1)
        supports = self.density._known_supports()
        if supports is not None and supports.is_whole[j]:
            ends, origin = self._images(flow, z, rows, j)[..., j], self.density._origin()
            y = _mean_floors(ends if origin is None else ends + origin[j], *supports.kinds[j].cells)
        else:
            images = self._images(flow, (z[:, 1:] + z[:, :-1]) / 2, rows, j)
            y = self._to_own(images.reshape(-1, flow.data_dim)).reshape(images.shape)[..., j]
        found: Floats = np.sum(mass * y, axis=1) / mass.sum(axis=1)
        return found

    @staticmethod
    def _images(flow: Flow, z: Floats, rows: Floats, j: int) -> Floats:
        """The images (n, Q, T) of points whose coordinate j is z (n, Q), and the others 0."""
        points = np.zeros((*z.shape, flow.data_dim))
        points[..., j] = z
        images = _forward(flow, points.reshape(-1, flow.data_dim), np.repeat(rows, z.shape[1], axis=0))
        return images.reshape(points.shape)

    def _drawn_means(self, seed: int) -> Floats:
        flow, rng, parts = self.density._fitted_flow(), np.random.default_rng(seed), []
        for rows in self._chunks():
            y = flow.sample(N_DRAWS, rng, context=rows, per_context=True)
            parts.append(self._to_own(y).astype(np.float64).mean(axis=1))
        return np.concatenate(parts) if parts else np.empty((0, self.density.n_features_in_))

    def quantiles(self, levels: Floats) -> Floats:
        """The quantiles (n, Q) of one target at levels (Q,) in (0, 1)."""
        parts = [self._quantiles_of(rows, levels) for rows in self._chunks()]
        return np.concatenate(parts) if parts else np.empty((0, len(levels)))

    def _quantiles_of(self, rows: Floats, levels: Floats) -> Floats:
        bases = [Components.of(flow, rows) for flow in self.flows]
        of_members = [_flow_quantiles(flow, base, rows, levels) for flow, base in zip(self.flows, bases)]
        y = of_members[0]
        if len(self.flows) > 1:  # the quantile of an average is between those of its members
            ends = np.min(of_members, axis=0), np.max(of_members, axis=0)
            y = _crossings(lambda y: self._cdf_of(y, rows, bases) - levels, *ends, levels)
        found: Floats = self._to_own(y.reshape(-1, 1)).reshape(y.shape).astype(np.float64)
        supports = self.density._known_supports()
        if supports is None or not supports.on_bounds[0]:
            return found
        return onto_bounds(found, supports.kinds[0], supports.edges[0])

    def _cdf_of(self, y: Floats, rows: Floats, bases: list[Components]) -> Floats:
        """The distribution functions at y (n, Q), in the units of the flows."""
        members = zip(self.weights, self.flows, bases)
        total: Floats = np.sum([weight * _flow_cdf(flow, base, y, rows) for weight, flow, base in members], axis=0)
        return total

    def cdf(self, y: Floats) -> Floats:
        """The distribution functions (n,) of one target at y (n, 1) as the flow reads it."""
        parts, start = [], 0
        for rows in self._chunks():
            bases = [Components.of(flow, rows) for flow in self.flows]
            parts.append(self._cdf_of(y[start : start + len(rows)].astype(np.float64), rows, bases)[:, 0])
            start += len(rows)
        return np.concatenate(parts) if parts else np.empty(0)

    def _chunks(self) -> Iterator[Floats]:
        return (self.context[start : start + CHUNK] for start in range(0, len(self.context), CHUNK))

    def _to_own(self, y: Floats) -> Floats:
        return self.density._to_own_units(y).astype(np.float64)


def _is_linear(flow: Flow) -> bool:
    """Whether the flow maps a mixture by shifts and scales alone, so that the mean of its image is that of the mean."""
    mixing, columns = split_layers(flow)
    return not mixing and all(isinstance(layer, (ActNorm, AdditiveCoupling)) for layer in columns.layers)


def _forward(flow: Flow, z: Floats, rows: Floats) -> Floats:
    return flow.forward(z.astype(flow.dtype), rows)[0].astype(np.float64)


def _mean_floors(ends: Floats, low: float, high: float) -> Floats:
    """The means (n, N - 1) of the whole numbers below numbers that are uniform between the `ends` (n, N) of cells.

    At one number of each cell they would jump where that passes a whole one.
    """
    ends = np.clip(ends, max(low, -MOST_WHOLE), min(high, MOST_WHOLE))
    a, b = np.minimum(ends[:, 1:], ends[:, :-1]), np.maximum(ends[:, 1:], ends[:, :-1])
    first = np.floor(a)
    steps = np.floor(b - first)
    area = 0.5 * steps * (steps - 1) + steps * (b - first - steps)  # below the steps from a, or `first`, to b
    found: Floats = first + area / np.maximum(b - a, TINY)
    return np.minimum(found, high - 1)


def _rises(flow: Flow, rows: Floats) -> bool:
    """Whether the map of one column grows with the latent point: it does for all contexts or for none."""
    ends = _forward(flow, np.array([[-1.0], [1.0]]), np.repeat(rows[:1], 2, axis=0))
    return bool(ends[1, 0] >= ends[0, 0])


def _flow_quantiles(flow: Flow, base: Components, rows: Floats, levels: Floats) -> Floats:
    """The quantiles (n, Q) of one flow, in its units."""
    z = base.ppf(levels if _rises(flow, rows) else 1 - levels)
    return _forward(flow, z.reshape(-1, 1), np.repeat(rows, len(levels), axis=0)).reshape(z.shape)


def _flow_cdf(flow: Flow, base: Components, y: Floats, rows: Floats) -> Floats:
    """The distribution function of one flow at y (n, Q)."""
    column = y.reshape(-1, 1).astype(flow.dtype)
    z = flow.inverse(column, np.repeat(rows, y.shape[1], axis=0))[0].astype(np.float64).reshape(y.shape)
    found = base.cdf(z)
    return found if _rises(flow, rows) else 1 - found


def _crossings(excess: Callable[[Floats], Floats], low: Floats, high: Floats, levels: Floats) -> Floats:
    """Where functions (n, Q) that rise from a negative number at `low` to a positive one at `high` are 0.

    By secants, where an end that stays counts for less each time, and halves in every third step: Dowell and Jarratt (1971),
    "A modified regula falsi method for computing the root of an equation". Each is found by itself, whatever others are.
    """
    below, above = np.minimum(excess(low), 0), np.maximum(excess(high), 0)
    most, last = TOLERANCE * np.minimum(levels, 1 - levels), np.zeros(low.shape)
    y = np.where(-below <= most, low, high)
    is_open = (-below > most) & (above > most)
    for step in range(1, STEPS + 1):
        if not is_open.any():
            break
        share = below / np.where(is_open, below - above, 1)
        y = np.where(is_open, low + (0.5 if step % 3 == 0 else share) * (high - low), y)
        value = np.where(is_open, excess(y), 0)
        is_below = value < 0
        above = np.where(is_below, np.where(last < 0, above / 2, above), value)
        below = np.where(is_below, value, np.where(last > 0, below / 2, below))
        low, high = np.where(is_open & is_below, y, low), np.where(is_open & ~is_below, y, high)
        last = np.sign(value)
        is_open &= (np.abs(value) > most) & (high - low > RESOLUTION * np.maximum(np.abs(low), np.abs(high)))
    return y
