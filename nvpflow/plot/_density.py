"""Densities of flows in one or two dimensions, and their highest-density regions. `_curves` draws one dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_int
from nvpflow.plot._canvas import GREY, INSIDE, aspect_of, label, limits_of, panels, scatter_over, shape_of
from nvpflow.plot._checks import (
    AxesLike,
    Limits,
    Points,
    Range,
    check_limits,
    check_names,
    check_points,
    check_shares,
)
from nvpflow.plot._curves import draw_curve, draw_regions, evaluate
from nvpflow.plot._model import Drawable, Model, check_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Nats from the top of the colour scale of `density` to its bottom.
DEPTH = 10.0
# The number of samples that determine the levels of `contours`: the mass inside a contour is accurate to about 0.3 %.
N_LEVEL = 20_000
TIES = 1e-4  # nats between levels that are the same because probabilities of whole numbers are


def density(
    model: Model,
    exact: Callable[[Any], ArrayLike] | None = None,
    *,
    data: ArrayLike | None = None,
    limits: Limits | None = None,
    resolution: int = 400,
    names: Sequence[str] | None = None,
    context: ArrayLike | None = None,
    axes: AxesLike | None = None,
) -> Figure:
    """The learned density: an image of the log-density in two dimensions, a curve of the density in one.

    If the exact log-density is given, its image stands beside the learned one, on the same colour scale. Logarithms show small
    densities between the modes and at the edges. The scale covers 10 nats; lower values have the darkest colour, and NaN
    is grey. In one dimension, the panel also shows the exact density and a histogram of the data. Whole numbers have their
    probability, on an interval of length 1 around each.

    Parameters
    ----------
    model : Flow, FlowEnsemble, fitted FlowDensity or fitted FlowOutlierDetector
        Of one or two dimensions.
    exact : callable, optional
        A function of points, shape (n, D), that returns their log-densities in nats, shape (n,), such as
        `nvpflow.datasets.moons_log_density`.
    data : array_like of real numbers, shape (n, D), optional
        Finite. Drawn as points over the image, or as a histogram below the curve.
    limits : ((low, high), (low, high)), or (low, high) for one dimension, optional
        Limits of the first and the second axis. Default: a range that shows the samples of the model and the data.
    resolution : int, default 400
        The number of pixels along the first axis.
    names : sequence of str, optional
        Names of the columns. Default: those of the frame that the model was fitted to.
    context : array_like of real numbers, shape (C,) or (1, C), optional
        For a conditional model: the context whose density is drawn.
    axes : matplotlib Axes, or 2 of them with `exact` in two dimensions, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted or has more than two dimensions, or an argument is invalid.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.density(model)  # figure.savefig("density.png") writes it
    """
    flow = check_model(model, context)
    if exact is not None and not callable(exact):
        raise TypeError(f"exact must be callable, got {exact!r}")
    dim = flow.data_dim
    data = None if data is None else check_points("data", data, dim, finite=True)
    names, limits = check_names(_names_of(model) if names is None else names, dim), _limits(flow, limits, data)
    resolution = check_int("resolution", resolution, 2)
    if dim == 1:
        return draw_curve(flow, exact, data, limits[0], resolution, names[0], axes)
    return _draw_images(flow, exact, data, limits, resolution, names, axes)


def _names_of(model: object) -> list[str] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _draw_images(
    flow: Drawable,
    exact: Callable[[Any], ArrayLike] | None,
    data: Points | None,
    limits: Sequence[Range],
    resolution: int,
    names: Sequence[str],
    axes: AxesLike | None,
) -> Figure:
    points, shape = _pixels(limits, resolution)
    images = {"learned log-density": flow.log_prob(points)}
    if exact is not None:
        images["exact log-density"] = evaluate(exact, np.where(flow.is_whole, np.round(points), points))
    top = _top(images.values())
    count = len(images)
    figure, axes = panels(axes, count, count, width=4.6 * count + 0.8, shape=shape_of(limits), beside=0.8)
    for ax, (title, values) in zip(axes, images.items()):
        values = np.where(values < np.inf, np.clip(values, top - 2 * DEPTH, top + DEPTH), np.nan)
        image = ax.imshow(
            values.reshape(shape),
            origin="lower",
            extent=(*limits[0], *limits[1]),
            vmin=top - DEPTH,
            vmax=top,
            cmap=_colormap("viridis", bad=GREY),
            interpolation="bilinear",
            aspect=aspect_of(limits),
        )
        ax.set_title(title)
        label(ax, names)
    if data is not None:
        scatter_over(axes[0], data, limits)
    scale = axes[-1].inset_axes((1.03, 0, 0.035, 1))
    figure.colorbar(image, cax=scale, label="nats", extend="min", extendfrac=0.04)
    return figure


def contours(
    model: Model,
    data: ArrayLike | None = None,
    *,
    mass: Sequence[float] = (0.5, 0.8, 0.95, 0.99),
    limits: Limits | None = None,
    resolution: int = 300,
    names: Sequence[str] | None = None,
    context: ArrayLike | None = None,
    axes: AxesLike | None = None,
) -> Figure:
    """The smallest regions that hold given shares of the probability: contours, or areas below a curve in one dimension.

    A point lies in such a highest-density region if its log-density is above a level: a quantile of the
    log-densities of the model's samples (Hyndman 1996). The legend gives the levels, in nats, and the share of the data in
    each region. If the model is right, this share is close to the mass.

    Parameters
    ----------
    model : Flow, FlowEnsemble, fitted FlowDensity or fitted FlowOutlierDetector
        Of one or two dimensions.
    data : array_like of real numbers, shape (n, D), optional
        Finite. Drawn over the regions, or below them in one dimension.
    mass : sequence of float in (0, 1), default (0.5, 0.8, 0.95, 0.99)
        The probabilities of the regions.
    limits : ((low, high), (low, high)), or (low, high) for one dimension, optional
        Limits of the first and the second axis. Default: a range that shows the samples of the model and the data.
    resolution : int, default 300
        The number of grid points along the first axis.
    names : sequence of str, optional
        Names of the columns. Default: those of the frame that the model was fitted to.
    context : array_like of real numbers, shape (C,) or (1, C), optional
        For a conditional model: the context whose density is drawn.
    axes : matplotlib Axes, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted or has more than two dimensions, an argument is invalid, or no sample has a finite density.

    References
    ----------
    Hyndman (1996), "Computing and graphing highest density regions", The American Statistician 50.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.contours(model, X, mass=[0.5, 0.9])
    """
    flow = check_model(model, context)
    dim = flow.data_dim
    data = None if data is None else check_points("data", data, dim, finite=True)
    mass, names = check_shares("mass", mass), check_names(_names_of(model) if names is None else names, dim)
    limits = _limits(flow, limits, data)
    resolution = check_int("resolution", resolution, 2)
    levels, colours = _levels(flow, mass), _shades(len(mass))
    figure, (ax,) = panels(axes, 1, 1, width=7.8, shape=max(0.5, shape_of(limits) if dim == 2 else 0), beside=2.6)
    if dim == 1:
        draw_regions(ax, flow, data, limits[0], resolution, levels, colours, names[0])
    else:
        _draw_contours(ax, flow, data, limits, resolution, levels, colours, names)
    ax.set_title("Highest-density regions")
    _legend(ax, mass, levels, colours, None if data is None else flow.log_prob(data))
    return figure


def _draw_contours(
    ax: Axes,
    flow: Drawable,
    data: Points | None,
    limits: Sequence[Range],
    resolution: int,
    levels: Floats,
    colours: Floats,
    names: Sequence[str],
) -> None:
    points, shape = _pixels(limits, resolution)
    x, y = points[:, 0].reshape(shape), points[:, 1].reshape(shape)
    values = np.nan_to_num(flow.log_prob(points).astype(float), nan=-np.inf).reshape(shape)
    values = np.clip(values, levels[-1] - 1e3, levels[0] + 1e3)  # contouring needs finite numbers
    ax.contourf(x, y, values, [*levels[::-1], levels[0] + 2e3], colors=colours[::-1])
    ax.contour(x, y, values, levels[::-1], colors="white", linewidths=0.8, linestyles="solid")
    if data is not None:
        scatter_over(ax, data, limits)
    ax.set(xlim=limits[0], ylim=limits[1], aspect=aspect_of(limits))
    label(ax, names)


def _limits(flow: Drawable, limits: Limits | None, data: Points | None = None) -> tuple[Range, ...]:
    """The given limits, or limits that show the samples and the data, and whole turns of angles."""
    if limits is not None:
        return check_limits(limits, flow.data_dim)
    limits = limits_of(flow.sample_and_log_prob(4000)[0], INSIDE, 0.2)
    if data is not None:
        limits = tuple((min(a), max(b)) for a, b in (zip(*pair) for pair in zip(limits, limits_of(data, INSIDE))))
    return tuple(flow.turns.get(column, pair) for column, pair in enumerate(limits))


def _levels(flow: Drawable, mass: Floats) -> Floats:
    """Levels of the log-density, highest first, that are exceeded by these shares of the samples."""
    log_density = flow.sample_and_log_prob(N_LEVEL)[1].astype(float)
    log_density = log_density[np.isfinite(log_density)]
    levels = np.quantile(log_density, 1 - mass) if len(log_density) else np.zeros(1)
    if flow.is_whole.any() and len(log_density):  # many samples have the same, which belongs to the region
        levels = np.quantile(log_density, 1 - mass, method="lower") - TIES * np.arange(1, len(mass) + 1)
    if len(log_density) == 0 or (len(mass) > 1 and not (np.diff(levels) < 0).all()):
        raise ValueError("model must have a density that is finite and not constant at its samples to have contours")
    return levels


def _legend(ax: Axes, mass: Floats, levels: Floats, colours: Floats, log_density: Floats | None) -> None:
    from matplotlib.patches import Patch

    entries = []
    for share, level, colour in zip(mass, levels, colours):
        text = f"{100 * share:.4g} %: above {level:.2f} nats"
        if log_density is not None:
            text += f"\n   {100 * np.mean(log_density > level):.1f} % of the data"
        entries.append(Patch(facecolor=colour, label=text))
    title = "probability: log-density"
    ax.legend(handles=entries, title=title, frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1.02))


def _shades(count: int) -> Floats:
    """Blues, from dark for the innermost region to light."""
    from matplotlib import colormaps

    return colormaps["Blues"](np.linspace(0.75, 0.22, count))


def _pixels(limits: Sequence[Range], resolution: int) -> tuple[Floats, tuple[int, int]]:
    """Centres of the pixels, shape (rows * columns, 2), and (rows, columns)."""
    shape = (max(2, round(resolution * shape_of(limits))), resolution)
    x, y = ((np.arange(n) + 0.5) / n * (high - low) + low for n, (low, high) in zip(shape[::-1], limits))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), shape


def _top(images: Iterable[Floats]) -> float:
    """The upper end of a colour scale for log-densities. Spikes of a few pixels do not count."""
    finite = [values[np.isfinite(values)] for values in images]
    return max((float(np.quantile(values, 0.999)) for values in finite if len(values)), default=0.0)


def _colormap(name: str, bad: str) -> Colormap:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=bad)
