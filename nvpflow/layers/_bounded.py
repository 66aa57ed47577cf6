"""Element-wise maps from the real line to intervals and half-lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from nvpflow._typing import ArrayLike, DTypeLike, FloatDType, Floats
from nvpflow._validation.arguments import check_bounds, check_dtype, check_int, shown
from nvpflow._validation.arrays import as_array
from nvpflow.layers._layer import Layer, StateView

__all__ = ["Bounded"]

# A pair (low, high), with None or an infinity for an open end, or None for a column without bounds.
Interval: TypeAlias = "tuple[float | None, float | None] | Sequence[float | None] | None"


class Bounded(Layer):
    """Element-wise map from the real line to the support of each column: an interval, a half-line, or all reals.

    With the distribution function Phi of N(0, 1), e(z) = -log Phi(-z) and S(z) = log(1 + exp(z)) it maps::

        x = low + (high - low) Phi(z)        between two bounds,
        x = low + scale e(z)                 above a bound, for scale > 0,
        x = low + exp(z)                     above a bound, for scale = 0,
        x = low + s S(z)                     above a bound, for scale = -s < 0,
        x = low + s (S(z) - S(z - w))        between two bounds, for scale = -s < 0, where w = (high - low) / s,
        x = high - d(-z)                     below a bound, where d is scale e, exp or s S as above,
        x = z                                without bounds,

    and log|det dx/dz| is the sum of log dx/dz. So normal columns become uniform, exponential and log-normal ones. With a
    negative scale the map is a line, but for a few s next to a bound: columns whose ties are linear keep them. It is the last
    layer of a flow of bounded columns. The parameters of a flow do not change it.

    Samples outside have no density: `inverse` takes them to an infinite z, and their log-density is -inf. `forward` stays
    inside, and moves a value that rounds to a bound to the nearest number inside.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    bounds : sequence of D pairs (low, high)
        low < high; None or an infinity is an open end, and None instead of a pair is a column without bounds.
    scales : array_like, shape (D,), optional
        Of half-lines, and negative ones of intervals. Default: zeros.
    edges : array_like, shape (D,), optional
        > 0, and at most half of high - low. A value that equals a bound has the density of the point at this distance from
        it. Default: the resolution of `dtype` times high - low, or times 1 on a half-line.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    bounds : tuple of D pairs
        With None for open ends.
    low, high : ndarray of float64, shape (D,)
        The bounds, infinite where there is none.
    scales, edges : tuple of D floats

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    Notes
    -----
    The gradient at a sample outside is NaN, and on a bound it is that at the distance `edges` from it.

    References
    ----------
    Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution".

    Examples
    --------
    >>> import nvpflow
    >>> layer = nvpflow.Bounded(2, [(0, 10), (0, None)], dtype="float64")
    >>> layer.forward([[0.0, 0.0]])[0]
    array([[5., 1.]])
    """

    _kind = "bounded"
    _arguments = ("bounds", "scales", "edges")

    def __init__(
        self,
        data_dim: int,
        bounds: Sequence[Interval],
        scales: ArrayLike | None = None,
        edges: ArrayLike | None = None,
        *,
        dtype: DTypeLike = "float32",
    ) -> None:
        self._check_unused()
        data_dim, checked = check_int("data_dim", data_dim, 1), check_dtype(dtype)
        if isinstance(bounds, str) or not isinstance(bounds, (Sequence, np.ndarray)) or len(bounds) != data_dim:
            raise ValueError(f"bounds must be {data_dim} pairs (low, high), got {shown(bounds)}")
        pairs = [(None, None) if pair is None else pair for pair in bounds]
        limits = np.array([check_bounds(f"bounds[{i}]", pair, checked) for i, pair in enumerate(pairs)])
        self._bounds = tuple((_or_none(low), _or_none(high)) for low, high in limits)
        self._scales = _check_scales(np.zeros(data_dim) if scales is None else scales, limits, checked)
        self._edges = _check_edges(_default_edges(limits, checked) if edges is None else edges, limits, checked)
        self._create(data_dim, checked)

    @property
    def bounds(self) -> tuple[tuple[float | None, float | None], ...]:
        """tuple of D pairs, with None for open ends."""
        return self._bounds

    @property
    def low(self) -> Floats:
        """ndarray of float64, shape (D,): -inf where there is no lower bound."""
        return np.array([-np.inf if low is None else low for low, _ in self._bounds])

    @property
    def high(self) -> Floats:
        """ndarray of float64, shape (D,): inf where there is no upper bound."""
        return np.array([np.inf if high is None else high for _, high in self._bounds])

    @property
    def scales(self) -> tuple[float, ...]:
        """tuple of D floats: those of half-lines, and negative ones of intervals."""
        return self._scales

    @property
    def edges(self) -> tuple[float, ...]:
        """tuple of D floats: where a value on a bound is taken to be, as the distance from it."""
        return self._edges

    def _state_views(self) -> dict[str, StateView]:
        return {}


def _or_none(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None


def _default_edges(limits: Floats, dtype: FloatDType) -> Floats:
    width = limits[:, 1] - limits[:, 0]
    edges: Floats = np.finfo(dtype).eps * np.where(np.isfinite(width), width, 1.0)
    return edges


def _check_numbers(name: str, values: Any, n: int) -> tuple[float, ...]:
    array = as_array(name, values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name} must be finite, got {array[bad[0]]:g} for column {bad[0]}")
    return tuple(array.astype(np.float64).tolist())


def _check_scales(scales: Any, limits: Floats, dtype: FloatDType) -> tuple[float, ...]:
    checked = _check_numbers("scales", scales, len(limits))
    tiny, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    for i, (scale, width) in enumerate(zip(checked, (limits[:, 1] - limits[:, 0]).tolist())):
        most = min(largest, width / tiny)
        least = max(tiny, width / largest) if np.isfinite(width) else tiny
        if scale < 0 and not least <= -scale <= most:
            raise ValueError(f"a negative scale must be from {-most:.3g} to {-least:.3g} in column {i}, got {scale:g}")
    return checked


def _check_edges(edges: Any, limits: Floats, dtype: FloatDType) -> tuple[float, ...]:
    checked = _check_numbers("edges", edges, len(limits))
    most = np.minimum((limits[:, 1] - limits[:, 0]) / 2, np.finfo(dtype).max)
    for i, (edge, largest) in enumerate(zip(checked, most)):
        if not np.finfo(dtype).tiny <= edge <= largest:
            raise ValueError(f"edges must be from {np.finfo(dtype).tiny:.3g} to {largest:.6g} in column {i}, got {edge:g}")
    return checked
