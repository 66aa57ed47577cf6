"""Densities of one-dimensional flows: curves, and regions below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow.plot._canvas import BLUE, GREY, RED, bin_edges, histogram, open_frame, panels
from nvpflow.plot._checks import AxesLike, Points, Range
from nvpflow.plot._model import Drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curve", "draw_regions", "evaluate"]


def draw_curve(
    flow: Drawable,
    exact: Callable[[Any], ArrayLike] | None,
    data: Points | None,
    limits: Range,
    resolution: int,
    name: str,
    axes: AxesLike | None,
) -> Figure:
    """Draw the density, the exact density if given, and a histogram of the data. Whole numbers have bars of width 1."""
    is_whole = bool(flow.is_whole[0])
    limits = (np.floor(limits[0]) - 0.5, np.ceil(limits[1]) + 0.5) if is_whole else limits
    points = _grid(limits, resolution)[:, np.newaxis]
    figure, (ax,) = panels(axes, 1, 1, width=7.5, shape=0.5)
    learned, tops, what = _density(flow.log_prob(points)), [], "probability" if is_whole else "density"
    if data is not None:
        edges = np.arange(limits[0], limits[1] + 0.5) if is_whole else bin_edges(limits, len(data))
        tops.append(histogram(ax, data[:, 0], edges, BLUE, filled=True, label=f"{len(data)} data points"))
    ax.plot(points, learned, color=RED, lw=1.6, label=f"learned {what}")
    tops.append(_height(learned))
    if exact is not None:
        values = _density(evaluate(exact, np.round(points) if is_whole else points))
        ax.plot(points, values, color=GREY, lw=1.4, ls="--", label=f"exact {what}")
        tops.append(_height(values))
    ax.set(xlim=limits, ylim=(0, 1.08 * max(tops) or 1), xlabel=name, ylabel=what)
    open_frame(ax)
    ax.legend(frameon=False)
    return figure


def draw_regions(
    ax: Axes, flow: Drawable, data: Points | None, limits: Range, resolution: int, levels: Floats, colours: Floats, name: str
) -> None:
    """Fill the area below the density where its logarithm exceeds each level, highest first. Data are marks below the axis."""
    points = _grid(limits, resolution)
    log_density = np.nan_to_num(flow.log_prob(points[:, np.newaxis]).astype(float), nan=-np.inf)
    density = _density(log_density)
    top = _height(density) or 1.0
    for level, colour in reversed(list(zip(levels, colours))):
        ax.fill_between(points, 0, np.minimum(density, 2 * top), where=log_density > level, color=colour, lw=0)
    ax.plot(points, density, color="black", lw=1)
    if data is not None:
        alpha = np.clip(60 / len(data), 0.05, 1)
        ax.plot(data[:, 0], np.full(len(data), -0.05 * top), "|", color=RED, ms=9, alpha=alpha, rasterized=True)
    ax.set(xlim=limits, ylim=(0 if data is None else -0.1 * top, 1.08 * top), xlabel=name, ylabel="density")
    open_frame(ax)


def evaluate(exact: Callable[[Any], ArrayLike], points: Floats) -> Floats:
    """The exact log-densities of points (n, D)."""
    values = np.asarray(exact(points), dtype=float)
    if values.shape != (len(points),):
        raise ValueError(f"exact must return shape ({len(points)},) for {len(points)} points, got {values.shape}")
    return values


def _grid(limits: Range, resolution: int) -> Floats:
    low, high = limits
    return np.linspace(low, high, resolution)


def _density(log_density: Floats) -> Floats:
    """The density, with NaN, which is not drawn, in place of infinity."""
    with np.errstate(over="ignore"):
        density = np.exp(log_density.astype(float))
    return np.where(density < np.inf, density, np.nan)


def _height(density: Floats) -> float:
    """The height of a panel that shows the density but may cut off narrow spikes."""
    finite = density[np.isfinite(density)]
    return float(min(finite.max(), 2 * np.quantile(finite, 0.99))) if len(finite) else 0.0
