"""The context of an estimator. Training standardises it; a fitted flow reads it in its own units.

Only the first map of a network, W c + v, reads the context. On a standardised context (c - mean) / scale it is the map
(W / scale) c + (v - (W / scale) mean) of c. So a network trained on a standardised context is rewritten to read the context
in its own units. Where the difference would cancel in the precision of the flow, `flow_` reads c - origin.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nvpflow._training.origin import name_columns, origin_of, warn_of_coarse
from nvpflow._training.statistics import location_and_scale, moments
from nvpflow._typing import FloatDType, Floats, Names
from nvpflow._warnings import warn_user
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.layers._coupling import Coupling

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow.density import FlowDensity
    from nvpflow.flow import Flow

__all__ = ["ContextScaler", "clip_context", "read_standardized"]

# The context is clipped to the range of training, widened by this share of its width on either side, because networks
# extrapolate linearly. y = sin(c) + 0.42 N(0, 1), fitted for c in [0, 5], had a deviation of 0.7 at c = 10 and of 1e-6 at
# 100. At the ends of the range, over 16 fits to 300 and 4000 samples, it was from 0.21 to 0.79; with 0.25 from 0.09 to 0.94.
WIDENED = 0.1
# A column with outliers is clipped to the range of the values within this many spreads of its median.
FARTHEST = 30.0


class ContextScaler:
    """Units, range and origin of the columns of a context.

    Parameters
    ----------
    data : Data
        Its context and weights determine the units.
    standardize : bool
    dtype : numpy.dtype
        Of the flow.
    context : ndarray, shape (n, C), optional
        All known contexts, which determine the range. Default: the context of the data.
    n_indicators : int, default 0
        The number of the last columns that are 0 or 1, the indicators of categories. They stay as they are.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (C,)
        Mean and standard deviation; median and spread for a column with outliers; 0 and 1 without `standardize`. A constant
        column keeps its unit, and is 0 in training.
    range : ndarray of float64, shape (2, C)
        The context is clipped to it.
    origin : ndarray of float64, shape (C,)
        The fitted flow reads the context less this.
    """

    mean: Floats
    scale: Floats
    range: Floats
    origin: Floats

    def __init__(
        self,
        data: Data,
        standardize: bool,
        dtype: FloatDType,
        context: Floats | None = None,
        n_indicators: int = 0,
    ) -> None:
        known = data.context
        n_columns = 0 if known is None else known.shape[1]
        self.dtype, self._measured = dtype, np.arange(n_columns) < n_columns - n_indicators
        self.mean, self.scale, self.origin = np.zeros(n_columns), np.ones(n_columns), np.zeros(n_columns)
        self.range = np.tile([[np.inf], [-np.inf]], n_columns)
        if known is None:
            return
        if standardize:
            limits = self._set_units(known, data.weight)
        else:
            limits, (mean, deviation) = _no_limits(n_columns), moments(known, data.weight)
            deviation = np.where(self._measured, deviation, 1.0)
            warn_of_coarse("context", mean, np.where(deviation > 0, deviation, np.inf), dtype)
        self._cover(known if context is None else context, limits)
        outlying = np.isfinite(limits[0])
        if outlying.any():
            warn_user(
                f"column(s) {name_columns(outlying)} of context have outliers, which are clipped to "
                f"{_intervals(self.range, outlying)}"
            )

    def _set_units(self, context: Floats, weight: Floats | None) -> Floats:
        """Set mean, scale and origin. Return limits (2, C), beyond which lie outliers."""
        limits = _no_limits(len(self.mean))
        location, scale, outlying = location_and_scale(context, weight)
        constant = (context.min(axis=0) == context.max(axis=0)) | (scale < 1e4 * np.finfo(self.dtype).tiny)
        constant |= ~self._measured
        outlying &= ~constant
        limits[:, outlying] = (location + FARTHEST * scale * np.array([[-1], [1]]))[:, outlying]
        self.mean = np.where(self._measured, np.where(constant, context[0], location), 0.0)
        self.scale = np.where(constant, 1.0, scale)
        self.origin = origin_of(self.mean, self.scale, self.dtype)
        warn_of_coarse("context", self.mean, np.where(constant, np.inf, self.scale), self.dtype)
        return limits

    def _cover(self, context: Floats, limits: Floats) -> None:
        known = (context >= limits[0]) & (context <= limits[1])
        low = np.min(context, axis=0, initial=np.inf, where=known).astype(np.float64)
        high = np.max(context, axis=0, initial=-np.inf, where=known).astype(np.float64)
        low, high = np.where(self._measured, low, 0.0), np.where(self._measured, high, 1.0)
        wider = WIDENED * (high - low) * self._measured
        self.range = np.array([np.minimum(self.range[0], low - wider), np.maximum(self.range[1], high + wider)])

    def continue_from(self, model: FlowDensity) -> None:
        """Take the origin of a fitted model, and extend the range by that of the model. The units stay."""
        n_columns = len(self.mean)
        self.origin = getattr(model, "context_origin_", np.zeros(n_columns))
        limits = getattr(model, "context_range_", None)
        if limits is not None:
            self.range = np.array([np.minimum(self.range[0], limits[0]), np.maximum(self.range[1], limits[1])])

    def covering(self, context: Floats | None) -> ContextScaler:
        """A scaler with the same units whose range also covers this context."""
        if context is None:
            return self
        other = copy.copy(self)
        other._cover(context, _no_limits(len(self.mean)))
        return other

    def transform(self, data: Data) -> Data:
        """Clip and standardise the context of Data, in the dtype of the flow."""
        if data.context is None:
            return data
        context = (np.clip(data.context, *self.range) - self.mean) / self.scale
        return data._replace(context=context.astype(self.dtype))

    def fitted_attributes(self) -> dict[str, Floats]:
        """The attributes that an estimator keeps: to convert contexts for its flow, and for warm starts in other units."""
        if len(self.mean) == 0:
            return {}
        units = np.array([self.mean, self.scale])
        return {"context_range_": self.range, "context_origin_": self.origin, "_context_units": units}

    def to_own_units(self, flow: Flow) -> None:
        """Rewrite networks that read the standardised context to read the context less the origin."""
        for columns, bias in _context_maps(flow):
            columns /= self.scale
            bias -= columns @ (self.mean - self.origin)
        if isinstance(flow.base, ConditionalMixtureBase):
            flow.base._map_context(self.scale, self.mean - self.origin)

    def to_standardized(self, flow: Flow) -> None:
        """Undo `to_own_units`."""
        read_standardized(flow, self.mean - self.origin, self.scale)


def read_standardized(flow: Flow, mean: Floats, scale: Floats) -> None:
    """Rewrite networks that read a context to read (context - mean) / scale."""
    for columns, bias in _context_maps(flow):
        bias += columns @ mean
        columns *= scale
    if isinstance(flow.base, ConditionalMixtureBase):
        flow.base._map_context(1 / scale, -mean / scale)


def _no_limits(n_columns: int) -> Floats:
    return np.tile([[-np.inf], [np.inf]], n_columns)


def _context_maps(flow: Flow) -> Iterator[tuple[Floats, Floats]]:
    """For each network views of the weights that read the context, (outputs, C), and of the bias, (outputs,)."""
    for layer in flow.layers:
        if isinstance(layer, Coupling) and layer.context_dim:
            for first, *_ in layer._networks():
                yield first.weight[:, -layer.context_dim :], first.bias


def clip_context(context: Floats, limits: Floats, names: Names | None = None) -> Floats:
    """Clip the context (n, C) to limits (2, C). Warn if it exceeds them by more than a rounding to float32."""
    low, high = limits + np.array([[-1], [1]]) * np.finfo(np.float32).eps * np.abs(limits)
    outside = (context < low) | (context > high)
    columns, n = outside.any(axis=0), outside.any(axis=1).sum()
    if n:
        warn_user(
            f"column(s) {name_columns(columns, names)} of context leave the range of training in {n} of {len(context)} rows "
            f"and are clipped to {_intervals(limits, columns)}"
        )
    return np.clip(context, *limits)


def _intervals(limits: Floats, columns: npt.NDArray[np.bool_], at_most: int = 3) -> str:
    """Describe the intervals of the columns where a mask is true."""
    low, high = limits[:, columns]
    shown = ", ".join(f"[{a:.6g}, {b:.6g}]" for a, b in zip(low[:at_most], high[:at_most]))
    return shown + ", ..." * (len(low) > at_most)
