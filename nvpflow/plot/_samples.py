"""Data beside samples of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import feature_names
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
from nvpflow.plot._columns import Column, read_tables
from nvpflow.supports import Support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The most columns in a corner plot; more panels would be too small.
MOST_COLUMNS = 16
COLOURS = {"data points": BLUE, "samples": RED}
IN_LEGEND = {"data": "data points", "samples": "samples"}


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
        Names of the columns. Default: those of a frame.
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
    names = feature_names(data) if names is None else names
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
    support: Support = None,
    axes: AxesLike | None = None,
) -> Figure:
    """Data and samples in one figure: a histogram of every column, and points of every pair of columns.

    Points of data and samples are drawn in a random order, so that neither hides the other.

    Parameters
    ----------
    data : array_like or frame, shape (n, D), optional
        Real numbers, finite, and categories; 1 <= D <= 16. Sets the limits, which leave out the outermost half per cent of
        each column.
    samples : array_like or frame, shape (m, D), optional
        Sets the limits if there are no data.
    names : sequence of D str, optional
        Names of the columns. Default: those of a frame.
    bins : int, optional
        The number of bins of the histograms, whose heights are densities. Default: 9 to 60, more for more points.
    support : dict or sequence, optional
        As in `FlowDensity`: the axis of an angle is its turn; a category has bars, the most frequent value first, and in
        the other panels its points are spread around its place. Text, boolean and categorical columns of frames are
        categories by themselves.
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
    clouds, columns, own_names = _clouds(data, samples, support)
    first = next(iter(clouds.values()))
    dim = first.shape[1]
    names = check_names(own_names if names is None else names, dim)
    bins = count_bins(min(map(len, clouds.values()))) if bins is None else check_int("bins", bins, 1)
    figure, axes = panels(axes, dim * dim, dim, width=max(4.0, min(1.6 * dim + 2.2, 20.0)), gap=0.5)
    grid = axes.reshape(dim, dim)
    limits = [column.limits(of_points) for column, of_points in zip(columns, limits_of(first, INSIDE, 0.15))]
    points, colours = _shuffled(clouds)
    rng = np.random.default_rng(0)
    points = np.stack([column.spread(of_points, rng) for column, of_points in zip(columns, points.T)], axis=1)
    for row in range(dim):
        for column in range(dim):
            ax = grid[row, column]
            if column > row:
                ax.set_axis_off()
            elif column == row:
                _margin(ax, columns[row], {name: cloud[:, row] for name, cloud in clouds.items()}, limits[row], bins)
            else:
                scatter(ax, points[:, [column, row]], colours, (limits[column], limits[row]), aspect="auto")
            _tick(ax, names, columns, row, column)
    for name, cloud in clouds.items():
        grid[0, 0].plot([], [], color=COLOURS[name], lw=5, label=f"{len(cloud)} {name}")
    _legend(grid, dim)
    return figure


def _clouds(
    data: ArrayLike | None, samples: ArrayLike | None, support: Support
) -> tuple[dict[str, Points], list[Column], list[str] | None]:
    """{"data points": data, "samples": samples} as numbers, without entries that are None, their columns and names."""
    tables = {name: table for name, table in (("data", data), ("samples", samples)) if table is not None}
    if not tables:
        raise ValueError("data and samples must not both be missing")
    clouds, columns, names = read_tables(tables, support)
    for name, cloud in clouds.items():
        if cloud.shape[1] > MOST_COLUMNS:
            raise ValueError(f"{name} must have at most {MOST_COLUMNS} columns to be drawn, got {cloud.shape[1]}")
    return {IN_LEGEND[name]: cloud for name, cloud in clouds.items()}, columns, names


def _shuffled(clouds: Mapping[str, Points]) -> tuple[Points, npt.NDArray[np.str_]]:
    """The points of all clouds in a random order, and their colours."""
    points = np.concatenate(list(clouds.values()))
    colours = np.repeat([COLOURS[name] for name in clouds], [len(cloud) for cloud in clouds.values()])
    order = np.random.default_rng(0).permutation(len(points))
    return points[order], colours[order]


def _margin(ax: Axes, column: Column, clouds: Mapping[str, Points], limits: Range, bins: int) -> None:
    """Draw distributions of all points, including those outside of the limits."""
    top = column.margin(ax, clouds, limits, bins, COLOURS)
    ax.set(xlim=limits, ylim=(0, 1.08 * top or 1), yticks=[])
    open_frame(ax)
    ax.spines["left"].set_visible(False)


def _tick(ax: Axes, names: Sequence[str], columns: Sequence[Column], row: int, column: int) -> None:
    """Put labels and numbers along the bottom and the left only."""
    bottom, left = row == len(columns) - 1, column == 0 and row > 0
    columns[column].tick(ax.xaxis)
    if column < row:
        columns[row].tick(ax.yaxis)
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
