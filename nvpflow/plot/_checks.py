"""Checks of arguments of the plotting functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Floats, Names
from nvpflow._validation.arguments import shown
from nvpflow._validation.arrays import as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points: TypeAlias = npt.NDArray[Any]  # of any kind of real numbers
Colours: TypeAlias = "str | npt.NDArray[Any]"
Range: TypeAlias = tuple[float, float]
# ((low, high), (low, high)) of two columns, (low, high) of one.
Limits: TypeAlias = tuple[Range, Range] | Range
AxesLike: TypeAlias = "Axes | Sequence[Axes] | npt.NDArray[Any]"


def check_points(name: str, points: ArrayLike, data_dim: int | None = None, finite: bool = False) -> Points:
    """An array of real numbers of shape (n, D); `data_dim` None is any D."""
    points = as_array(name, points)
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


def check_names(names: Sequence[str] | Names | None, data_dim: int) -> list[str]:
    """Names of the columns, by default x1, x2, ..."""
    if names is None:
        return [f"$x_{{{i + 1}}}$" for i in range(data_dim)]
    if isinstance(names, str) or not np.iterable(names) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names must be a sequence of str, got {shown(names)}")
    if len(names) != data_dim:
        raise ValueError(f"names must have {data_dim} entries, one for each column, got {len(names)}")
    # A dollar sign starts mathematics in matplotlib; in a name such as "price ($)" it does not.
    return [name.replace("$", r"\$") for name in names]


def check_limits(limits: object, data_dim: int) -> tuple[Range, ...]:
    """((low, high), ...), one pair for each of one or two columns. For one column, a bare pair is fine."""
    try:
        checked = np.asarray(limits, dtype=float)
    except (TypeError, ValueError):
        checked = np.empty(0)
    if checked.shape == (2,):
        checked = checked[np.newaxis]
    valid = checked.shape == (data_dim, 2) and np.isfinite(checked).all()
    if not valid or not (checked[:, 0] < checked[:, 1]).all():
        expected = "((low, high), (low, high))" if data_dim == 2 else "(low, high)"
        raise ValueError(f"limits must be {expected} with low < high, got {limits!r}")
    return tuple(map(tuple, checked.tolist()))


def check_shares(name: str, shares: object) -> Floats:
    """Sorted distinct numbers in (0, 1)."""
    try:
        checked = np.asarray(shares, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a sequence of real numbers, got {shown(shares)}") from None
    if checked.ndim != 1 or len(checked) == 0 or not ((checked > 0) & (checked < 1)).all():
        raise ValueError(f"{name} must be a sequence of numbers in (0, 1), got {shown(shares)}")
    if len(np.unique(checked)) < len(checked):
        raise ValueError(f"{name} must not hold a number twice, got {shown(shares)}")
    return np.sort(checked)
