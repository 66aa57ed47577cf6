"""Checks of what figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow.estimator import RealNVP
from nvpflow.flow import Flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Model: TypeAlias = Flow | RealNVP
Limits: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
AxesLike: TypeAlias = "Axes | Sequence[Axes] | npt.NDArray[Any]"


class Drawable:
    """The density of a flow, given the context of a conditional one: what figures are made of."""

    def __init__(self, flow, context):
        self.flow, self.context = flow, context
        self.base, self.layers, self.data_dim, self.dtype = flow.base, flow.layers, flow.data_dim, flow.dtype

    def _rows(self, n):
        """The context of n points."""
        return None if self.context is None else np.broadcast_to(self.context, (n, self.flow.context_dim))

    def log_prob(self, x):
        return self.flow.log_prob(x, self._rows(len(x)))

    def sample_and_log_prob(self, n):
        return self.flow.sample_and_log_prob(n, random_state=0, context=self._rows(n))

    def trace(self, z):
        return self.flow.trace(z, context=self._rows(len(z)))

    def inverse(self, x):
        return self.flow.inverse(x, self._rows(len(x)))


def check_model(model, context=None, data_dim=2, n=1):
    """A Flow or a fitted RealNVP, with `data_dim` dimensions, unless that is None, and a context for one of n points or all."""
    if not isinstance(model, (Flow, RealNVP)):
        raise TypeError(f"model must be a Flow or a RealNVP, got {type(model).__name__}")
    flow = model._fitted_flow() if isinstance(model, RealNVP) else model
    if data_dim is not None and flow.data_dim != data_dim:
        raise ValueError(f"model must have {data_dim} dimensions to be drawn, got {flow.data_dim}")
    return Drawable(flow, _check_context(context, flow.context_dim, n))


def _check_context(context, n_columns, n):
    if n_columns == 0:
        if context is not None:
            raise ValueError(f"context must be None for a model without one, got {context!r}")
        return None
    expected = f"({n_columns},) or (1, {n_columns})" + (f" or ({n}, {n_columns})" if n > 1 else "")
    if context is None:
        raise ValueError(f"context must be given for a conditional model, with shape {expected}")
    context = check_points("context", np.atleast_2d(context), finite=True)
    if context.shape not in ((1, n_columns), (n, n_columns)):
        raise ValueError(f"context must have shape {expected}, got {context.shape}")
    return context


def check_points(name, points, data_dim=None, finite=False):
    """An array of real numbers of shape (n, D); `data_dim` None is any D."""
    points = np.asarray(points)
    if points.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {points.dtype}")
    columns = "D" if data_dim is None else data_dim
    fits = points.ndim == 2 and points.shape[1] >= 1 and data_dim in (None, points.shape[1])
    if not fits or len(points) == 0:
        hint = ": reshape(-1, 1) makes one column" if points.ndim == 1 and data_dim is None else ""
        raise ValueError(f"{name} must have shape (n, {columns}) with n >= 1, got {points.shape}{hint}")
    if finite and not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return points


def check_names(names: Sequence[str] | None, data_dim):
    """Names of the columns, by default x1, x2, ..."""
    if names is None:
        return [f"$x_{{{i + 1}}}$" for i in range(data_dim)]
    if isinstance(names, str) or not np.iterable(names) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of str, got {names!r}")
    if len(names) != data_dim:
        raise ValueError(f"names must have {data_dim} entries, one for each column, got {len(names)}")
    # A dollar sign starts mathematics in matplotlib; a column "price ($)" means none.
    return [name.replace("$", r"\$") for name in names]


def check_limits(limits):
    try:
        checked = np.asarray(limits, dtype=float)
    except (TypeError, ValueError):
        checked = np.empty(0)
    valid = checked.shape == (2, 2) and np.isfinite(checked).all()
    if not valid or not (checked[:, 0] < checked[:, 1]).all():
        raise ValueError(f"limits must be ((low, high), (low, high)) with low < high, got {limits!r}")
    return tuple(map(tuple, checked.tolist()))


def check_shares(name, shares):
    """Numbers in (0, 1), ascending, without duplicates."""
    try:
        checked = np.asarray(shares, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a sequence of real numbers, got {shares!r}") from None
    if checked.ndim != 1 or len(checked) == 0 or not ((checked > 0) & (checked < 1)).all():
        raise ValueError(f"{name} must be a sequence of numbers in (0, 1), got {shares!r}")
    if len(np.unique(checked)) < len(checked):
        raise ValueError(f"{name} must not hold a number twice, got {shares!r}")
    return np.sort(checked)
