"""Parts of all figures: panels, limits, colours and points."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow.plot._checks import AxesLike, Colours, Points, Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

    from nvpflow._typing import Floats

BLUE, RED, GREY = "#2166ac", "#a01a58", "#8a8a8a"
# The share of points inside a panel: with all of them, a few far points would make the rest small.
INSIDE = 0.995
# Height over width of panels.
FLATTEST, TALLEST = 0.3, 1.8


def panels(
    axes: AxesLike | None, count: int, columns: int, width: float, shape: float = 1.0, beside: float = 0.0, gap: float = 0.65
) -> tuple[Figure, npt.NDArray[Any]]:
    """The figure and `count` axes: the given ones, or new ones.

    New axes are arranged in `columns` columns. The figure is `width` inches wide, of which `beside` inches are for parts to
    the right of the panels. A panel is `shape` times as high as wide, plus `gap` inches for its title and labels.
    """
    if axes is not None:
        return _check_axes(axes, count)
    rows = -(-count // columns)
    height = ((width - beside) / columns - 0.5) * shape
    figure = _figure_class()(figsize=(width, rows * (height + gap)), dpi=150, layout="compressed")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def shape_of(limits: Sequence[Range]) -> float:
    """Height over width of a panel with these limits: equal units on both axes, within the bounds for panels."""
    return float(np.clip(_ratio(limits), FLATTEST, TALLEST))


def aspect_of(limits: Sequence[Range]) -> str:
    """Units of equal length, unless the ranges differ so much that the panel would be a thin strip."""
    return "equal" if FLATTEST <= _ratio(limits) <= TALLEST else "auto"


def _ratio(limits: Sequence[Range]) -> float:
    (left, right), (bottom, top) = limits
    return (top - bottom) / (right - left)


def limits_of(points: Points, share: float = 1.0, margin: float = 0.12) -> tuple[Range, ...]:
    """For each axis, the range of this share of the finite points, widened by a relative margin."""
    finite = points[np.isfinite(points).all(axis=1)].astype(float)
    if len(finite) == 0:
        return ((-1.0, 1.0),) * int(points.shape[1])
    low, high = np.quantile(finite, [(1 - share) / 2, (1 + share) / 2], axis=0)
    room = margin * np.maximum(high - low, 1e-6 * np.maximum(1e-30, np.abs(high)))
    return tuple((float(a), float(b)) for a, b in zip(low - room, high + room))


def square_limits(points: Points) -> tuple[Range, ...]:
    """As `limits_of`, with ranges of equal length."""
    limits = np.array(limits_of(points, INSIDE))
    middle, half = limits.mean(axis=1), np.diff(limits).max() / 2
    return tuple((float(m - half), float(m + half)) for m in middle)


def inside(points: Points, limits: Sequence[Range]) -> npt.NDArray[np.bool_]:
    """Whether each point lies in a panel with these limits."""
    low, high = np.transpose(limits)
    within: npt.NDArray[np.bool_] = ((points >= low) & (points <= high)).all(axis=1)
    return within


def scatter(ax: Axes, points: Points, colours: Colours, limits: Sequence[Range], aspect: str | None = None) -> PathCollection:
    """Draw points; the more there are, the smaller."""
    size = np.clip(14000 / max(1, len(points)), 1.5, 9)
    dots = ax.scatter(points[:, 0], points[:, 1], s=size, c=colours, linewidths=0, rasterized=True)
    ax.set(xlim=limits[0], ylim=limits[1], aspect=aspect or aspect_of(limits))
    return dots


def scatter_over(ax: Axes, points: Points, limits: Sequence[Range]) -> None:
    """Draw smaller points over a picture of a density."""
    dots = scatter(ax, points, RED, limits)
    dots.set(sizes=0.4 * dots.get_sizes(), alpha=0.7)


def count_bins(n: int) -> int:
    """The number of bins for a histogram of n points: it grows with n, but slowly enough to hide random noise."""
    return int(np.clip(2 * n**0.4, 9, 60))


def bin_edges(limits: Range, n: int) -> Floats:
    """Edges of the bins of a histogram of n points."""
    low, high = limits
    return np.linspace(low, high, count_bins(n) + 1)


def histogram(ax: Axes, column: Points, edges: Floats, colour: str, filled: bool = False, **options: Any) -> float:
    """Draw the density of a column in bins, and return the highest. Points outside of the bins count in the total."""
    inner = column[(column >= edges[0]) & (column <= edges[-1])]
    heights = np.histogram(inner, edges)[0] / (len(column) * np.diff(edges))
    ax.stairs(heights, edges, fill=filled, color=colour, alpha=0.35 if filled else 1, lw=1.4, **options)
    return float(heights.max())


def label(ax: Axes, names: Sequence[str]) -> None:
    """Name the two axes of a panel."""
    ax.set(xlabel=names[0], ylabel=names[1])


def open_frame(ax: Axes) -> None:
    """Remove the lines at the top and at the right."""
    ax.spines[["top", "right"]].set_visible(False)


def _check_axes(axes: AxesLike, count: int) -> tuple[Figure, npt.NDArray[Any]]:
    from matplotlib.axes import Axes

    flat = np.asarray(axes, dtype=object).ravel()
    for ax in flat:
        if not isinstance(ax, Axes):
            raise TypeError(f"axes must be matplotlib Axes, got {type(ax).__name__}")
    if len(flat) != count:
        raise ValueError(f"axes must be {count} matplotlib Axes for this figure, got {len(flat)}")
    return flat[0].figure, flat


@functools.cache
def _figure_class() -> type[Figure]:
    """A Figure that notebooks display without pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = f"figures need matplotlib: pip install nvpflow[plot] ({error})"
        raise ImportError(message) from error

    class NotebookFigure(Figure):
        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            """The image, shown at half of its size in pixels: sharp on high-resolution screens."""
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            width, height = (self.get_size_inches() * self.dpi / 2).astype(int).tolist()
            return buffer.getvalue(), {"width": width, "height": height}

    return NotebookFigure
