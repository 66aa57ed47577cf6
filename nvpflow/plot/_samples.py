"""Data beside samples of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike
from nvpflow._validation.arguments import check_int
from nvpflow.plot._canvas import (
    BLUE,
    INSIDE,
    RED,
    bin_edges,
    count_bins,
    histogram,
    inside,
    label,
    limits_of,
    open_frame,
    panels,
    scatter,
    shape_of,
)
from nvpflow.plot._checks import AxesLike, Points, Range, check_names, check_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The most columns in a corner plot; more panels would be too small.
MOST_COLUMNS = 16
COLOURS = {"data points": BLUE, "samples": RED}


def samples(
    data: ArrayLike, samples: ArrayLike, *, names: Sequence[str] | None = None, axes: AxesLike | None = None
) -> Figure:
    """Data beside samples, on the same axes: points in the plane, or histograms of one column.

    Parameters
    ----------
    data : array_like of real numbers, shape (n, 2) or (n, 1)
        Finite. Sets the limits of both panels.
    samples : array_like of real numbers, shape (m, 2) or (m, 1)
        If some are outside of the panel, its title says how many.
    names : sequence of str, optional
        Names of the columns.
    axes : 2 matplotlib Axes, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        If an array has another type or shape, or `axes` are not two Axes.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.samples(X, model.sample(200))
    """
    data = check_points("data", data, finite=True)
    if data.shape[1] > 2:
        raise ValueError(f"data must have shape (n, 2) or (n, 1), got {data.shape}")
    samples = check_points("samples", samples, data.shape[1])
    names = check_names(names, data.shape[1])
    limits = limits_of(data)
    outside = len(samples) - int(inside(samples, limits).sum())
    draw, shape = (_draw_points, shape_of(limits)) if len(limits) == 2 else (_draw_histograms, 0.7)
    figure, axes = panels(axes, 2, 2, width=9.0, shape=shape)
    draw(axes, (data, samples), limits, names)
    axes[0].set_title(f"{len(data)} data points")
    note = f", {outside} of them outside" if outside else ""
    axes[1].set_title(f"{len(samples)} samples{note}")
    return figure


def _draw_points(axes: npt.NDArray[Any], clouds: Sequence[Points], limits: Sequence[Range], names: Sequence[str]) -> None:
    for ax, cloud, colour in zip(axes, clouds, COLOURS.values()):
        scatter(ax, cloud, colour, limits)
        label(ax, names)


def _draw_histograms(axes: npt.NDArray[Any], clouds: Sequence[Points], limits: Sequence[Range], names: Sequence[str]) -> None:
    """Draw histograms of one column, with the same bins and the same height."""
    edges = bin_edges(limits[0], min(map(len, clouds)))
    drawn = zip(axes, clouds, COLOURS.values())
    top = max(histogram(ax, cloud[:, 0], edges, colour, filled=True) for ax, cloud, colour in drawn)
    for ax in axes:
        ax.set(xlim=limits[0], ylim=(0, 1.08 * top), xlabel=names[0], ylabel="density")
        open_frame(ax)


def corner(
    data: ArrayLike | None = None,
    samples: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    bins: int | None = None,
    axes: AxesLike | None = None,
) -> Figure:
    """Data and samples in one figure: a histogram of every column, and points of every pair of columns.

    Points of data and samples are drawn in a random order, so that neither hides the other.

    Parameters
    ----------
    data : array_like of real numbers, shape (n, D), optional
        Finite, 1 <= D <= 16. Sets the limits, which leave out the outermost half per cent of each column.
    samples : array_like of real numbers, shape (m, D), optional
        Sets the limits if there are no data.
    names : sequence of D str, optional
        Names of the columns.
    bins : int, optional
        The number of bins of the histograms, whose heights are densities. Default: 9 to 60, more for more points.
    axes : array_like of matplotlib Axes, shape (D, D), optional
        Axes to draw on; those above the diagonal become empty. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        If an argument is invalid, if there are neither data nor samples, or if they differ in their number of columns.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.corner(X, model.sample(200), names=["width", "height"])
    """
    clouds = _clouds(data, samples)
    first = next(iter(clouds.values()))
    dim = first.shape[1]
    names = check_names(names, dim)
    bins = count_bins(min(map(len, clouds.values()))) if bins is None else check_int("bins", bins, 1)
    figure, axes = panels(axes, dim * dim, dim, width=max(4.0, min(1.6 * dim + 2.2, 20.0)), gap=0.5)
    grid = axes.reshape(dim, dim)
    limits = limits_of(first, INSIDE, 0.15)
    points, colours = _shuffled(clouds)
    for row in range(dim):
        for column in range(dim):
            ax = grid[row, column]
            if column > row:
                ax.set_axis_off()
            elif column == row:
                _histograms(ax, {name: cloud[:, row] for name, cloud in clouds.items()}, limits[row], bins)
            else:
                scatter(ax, points[:, [column, row]], colours, (limits[column], limits[row]), aspect="auto")
            _tick(ax, names, row, column, dim)
    for name, cloud in clouds.items():
        grid[0, 0].plot([], [], color=COLOURS[name], lw=5, label=f"{len(cloud)} {name}")
    _legend(grid, dim)
    return figure


def _clouds(data: ArrayLike | None, samples: ArrayLike | None) -> dict[str, Points]:
    """{"data points": data, "samples": samples}, without entries that are None."""
    clouds = {}
    if data is not None:
        clouds["data points"] = check_points("data", data, finite=True)
    if samples is not None:
        clouds["samples"] = check_points("samples", samples, None if data is None else clouds["data points"].shape[1])
    if not clouds:
        raise ValueError("data and samples must not both be missing")
    for name, cloud in clouds.items():
        if cloud.shape[1] > MOST_COLUMNS:
            raise ValueError(f"{name} must have at most {MOST_COLUMNS} columns to be drawn, got {cloud.shape[1]}")
    return clouds


def _shuffled(clouds: Mapping[str, Points]) -> tuple[Points, npt.NDArray[np.str_]]:
    """The points of all clouds in a random order, and their colours."""
    points = np.concatenate(list(clouds.values()))
    colours = np.repeat([COLOURS[name] for name in clouds], [len(cloud) for cloud in clouds.values()])
    order = np.random.default_rng(0).permutation(len(points))
    return points[order], colours[order]


def _histograms(ax: Axes, columns: Mapping[str, Points], limits: Range, bins: int) -> None:
    """Draw densities of all points, including those outside of the limits."""
    edges = np.linspace(limits[0], limits[1], bins + 1)
    top = 0.0
    for name, column in columns.items():
        top = max(top, histogram(ax, column, edges, COLOURS[name], filled=name == "data points"))
    ax.set(xlim=limits, ylim=(0, 1.08 * top or 1), yticks=[])
    open_frame(ax)
    ax.spines["left"].set_visible(False)


def _tick(ax: Axes, names: Sequence[str], row: int, column: int, dim: int) -> None:
    """Put labels and numbers along the bottom and the left only."""
    from matplotlib.ticker import MaxNLocator

    bottom, left = row == dim - 1, column == 0 and row > 0
    ax.xaxis.set_major_locator(MaxNLocator(3))
    if column < row:
        ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.tick_params(labelbottom=bottom, labelleft=left, labelsize="small")
    if bottom:
        ax.set_xlabel(names[column])
    if left:
        ax.set_ylabel(names[row])


def _legend(grid: npt.NDArray[Any], dim: int) -> None:
    """Put the legend into the empty corner, or above the only panel."""
    if dim == 1:
        grid[0, 0].legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    else:
        grid[0, 0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.05, 1)).set_in_layout(False)
