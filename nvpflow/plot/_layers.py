"""The effect of every layer: the same points on their way from the base density to the data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints, Seed
from nvpflow._validation.arguments import check_int, seed_sequence
from nvpflow.layers import ActNorm, AdditiveCoupling, Layer, LULinear, SplineCoupling
from nvpflow.mixture_base import MixtureBase
from nvpflow.plot._canvas import BLUE, INSIDE, RED, bin_edges, limits_of, panels, scatter, square_limits
from nvpflow.plot._checks import AxesLike, Range
from nvpflow.plot._model import Drawable, Model, check_model

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

# Hues of the angles 0, 90, ..., 360 degrees. Opposite hues differ for every kind of colour vision.
WHEEL = (BLUE, "#4fc3c9", "#f0b429", RED, BLUE)
MILLISECONDS = 40  # of one frame
HOLD = 15  # still frames at the beginning and at the end of a film


def evolution(
    model: Model,
    n: int = 4000,
    random_state: Seed = 0,
    *,
    context: ArrayLike | None = None,
    axes: AxesLike | None = None,
) -> Figure:
    """The same points on their way from the base density, a Gaussian or a mixture, through every layer to the data.

    A point keeps its colour, which shows where it started: the hue is the angle, and grey is the middle. All panels have
    the same limits, except for the last one, which fits the data. A last `ActNorm` only changes the units, so it shares
    the panel of the layer before it. In one dimension, the points are spread vertically below their histogram.

    Parameters
    ----------
    model : Flow, fitted FlowDensity or fitted FlowOutlierDetector
        With one flow (``n_models=1``), of one or two dimensions.
    n : int, default 4000
        The number of points.
    random_state : int, Generator, RandomState or None, default 0
        The source of the points.
    context : array_like of real numbers, shape (C,) or (1, C), optional
        For a conditional model: the context whose density is drawn.
    axes : array_like of matplotlib Axes, optional
        One for each panel. Default: a new figure.

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
    >>> figure = plot.evolution(model)
    """
    stages, colours = _stages(check_model(model, context), n, random_state)
    columns = int(np.ceil(np.sqrt(len(stages))))
    figure, axes = panels(axes, len(stages), columns, width=3.2 * columns)
    for ax, stage in zip(axes, stages):
        _scatter(ax, stage, colours)
        ax.set_title(stage.title)
        ax.tick_params(labelsize="small")
    return figure


def animation(
    model: Model,
    n: int = 2000,
    random_state: Seed = 0,
    *,
    frames_per_layer: int = 12,
    context: ArrayLike | None = None,
    axes: Axes | None = None,
) -> FuncAnimation:
    """The panels of `evolution` as a film: the points move from layer to layer.

    The flow gives the positions at the layers. Between two layers, every point moves on a straight line.

    Parameters
    ----------
    model : Flow, fitted FlowDensity or fitted FlowOutlierDetector
        With one flow (``n_models=1``), of one or two dimensions.
    n : int, default 2000
        The number of points.
    random_state : int, Generator, RandomState or None, default 0
        The source of the points.
    frames_per_layer : int, default 12
        Frames from one layer to the next. A frame takes 40 milliseconds.
    context : array_like of real numbers, shape (C,) or (1, C), optional
        For a conditional model: the context whose density is drawn.
    axes : matplotlib Axes, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        ``animation.save("layers.gif", writer="pillow")`` writes it; a notebook plays it when it is the last value of a
        cell.

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
    >>> film = plot.animation(model, n=100, frames_per_layer=1)
    >>> html = film.to_jshtml()  # or film.save("layers.gif", writer="pillow")
    """
    stages, colours = _stages(check_model(model, context), n, random_state)
    frames_per_layer = check_int("frames_per_layer", frames_per_layer, 1)
    figure, (ax,) = panels(axes, 1, 1, width=5.0)
    dots = _scatter(ax, stages[0], colours)

    def draw(frame: int) -> tuple[PathCollection]:
        place = min(max(0.0, (frame - HOLD) / frames_per_layer), len(stages) - 1)
        before = min(int(place), len(stages) - 2)
        share = place - before
        share = share * share * (3 - 2 * share)  # starts and stops gently
        start, end = stages[before], stages[before + 1]
        with np.errstate(invalid="ignore", over="ignore"):  # points that overflowed are not drawn
            dots.set_offsets((1 - share) * start.points + share * end.points)
        limits = (1 - share) * np.array(start.limits) + share * np.array(end.limits)
        ax.set(xlim=limits[0], ylim=limits[1], title=stages[int(np.ceil(place))].title)
        return (dots,)

    frames = 2 * HOLD + (len(stages) - 1) * frames_per_layer + 1
    if axes is None:  # one layout for all frames: that of the last, whose numbers are the longest
        figure.set_dpi(100)
        draw(frames)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return _animation_class()(figure, draw, frames=frames, interval=MILLISECONDS, blit=False)


class Stage(NamedTuple):
    """The content of one panel."""

    title: str
    points: np.ndarray  # (n, 2)
    limits: tuple[Range, ...]
    on_a_line: bool  # the flow has one dimension


def _scatter(ax: Axes, stage: Stage, colours: Floats) -> PathCollection:
    dots = scatter(ax, stage.points, colours, stage.limits, aspect="auto" if stage.on_a_line else None)
    if stage.on_a_line:
        ax.set_yticks([])
    return dots


def _stages(flow: Drawable, n: int, random_state: Seed) -> tuple[list[Stage], Floats]:
    """The stages, and the colours of the points."""
    n = check_int("n", n, 1)
    base, layers = flow.one_flow.base, flow.one_flow.layers
    if base is None:
        z = np.random.default_rng(seed_sequence(random_state)).normal(size=(n, flow.data_dim)).astype(flow.dtype)
        title = "Gaussian"
    else:
        known = flow.rows(n) if base.context_dim else None
        z, k = base.sample(n, random_state, known), base.n_components if isinstance(base, MixtureBase) else 0
        title = f"mixture of {k} Gaussians" if k > 1 else "Gaussian" if k else "uniform on circles"
    states = list(flow.trace(z))
    titles = [title] + [f"layer {i}" for i in range(1, len(states))]
    n_units = _count_units(layers)
    if n_units:
        del states[-1 - n_units : -1], titles[-n_units:]
        titles[-1] += ", in data units"
    arrange = _in_plane if flow.data_dim == 2 else _on_line
    points, limits = arrange(states)
    on_a_line = flow.data_dim == 1
    return [Stage(*stage, on_a_line) for stage in zip(titles, points, limits)], origin_colours(z)


def _in_plane(states: list[Floats]) -> tuple[list[Floats], list[tuple[Range, ...]]]:
    """Points and limits of all stages."""
    shared = square_limits(np.concatenate(states[:-1]))
    return states, [shared] * (len(states) - 1) + [square_limits(states[-1])]


def _on_line(states: list[Floats]) -> tuple[list[Floats], list[tuple[Range, ...]]]:
    """As `_in_plane` for one dimension: points are lifted to a random share of the height of their histogram."""
    shared, last = limits_of(np.concatenate(states[:-1]), INSIDE), limits_of(states[-1], INSIDE)
    share = np.random.default_rng(0).uniform(size=len(states[0]))
    points: list[Floats] = []
    limits: list[tuple[Range, ...]] = []
    for state, (sides,) in zip(states, [shared] * (len(states) - 1) + [last]):
        column = state[:, 0].astype(float)
        heights = _heights(column, sides)
        points.append(np.stack([column, share * heights], axis=1))
        limits.append((sides, (0.0, 1.08 * float(heights.max()) or 1.0)))
    return points, limits


def _heights(column: Floats, limits: Range) -> Ints:
    """For each point, the number of points in its bin; 0 outside of the limits."""
    edges = bin_edges(limits, len(column))
    inner = (column >= edges[0]) & (column <= edges[-1])
    place = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
    return np.where(inner, np.bincount(place[inner], minlength=len(edges) - 1)[place], 0)


def _count_units(layers: Sequence[Layer]) -> int:
    """The number of layers at the end that only change to the units of the data: an act norm and, before it, an LU map and a
    shift that depends on the context alone, or the margins of the columns."""
    if len(layers) < 2 or not isinstance(layers[-1], ActNorm):
        return 0
    count = 1
    while count < len(layers) - 1 and _changes_units(layers[-1 - count]):
        count += 1
    return count


def _changes_units(layer: Layer) -> bool:
    # In one dimension every coupling has such a mask.
    on_columns = isinstance(layer, (AdditiveCoupling, SplineCoupling)) and layer.data_dim > 1 and not layer.mask.any()
    return isinstance(layer, (LULinear, ActNorm)) or on_columns


def origin_colours(z: Floats) -> Floats:
    """A colour for each latent point, hue by angle and saturation by radius, without a seam."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    wheel = LinearSegmentedColormap.from_list("wheel", WHEEL)
    above = z[:, 1] if z.shape[1] == 2 else np.zeros(len(z))
    hue = wheel(np.arctan2(above, z[:, 0]) / (2 * np.pi) % 1)[:, :3]
    saturation = np.sqrt(-np.expm1(-(z**2).sum(axis=1, keepdims=True) / 2))
    colours: Floats = saturation * hue + (1 - saturation) * np.array(to_rgb("0.75"))
    return colours


@functools.cache
def _animation_class() -> type[FuncAnimation]:
    from matplotlib.animation import FuncAnimation

    class NotebookAnimation(FuncAnimation):
        def _repr_html_(self) -> str:
            """A player with buttons."""
            return self.to_jshtml()

    return NotebookAnimation
