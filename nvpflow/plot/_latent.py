"""Do the latent points follow the base density? They do if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints
from nvpflow._validation.arguments import check_int, check_real, shown
from nvpflow.plot._canvas import BLUE, GREY, RED, count_bins, histogram, open_frame, panels
from nvpflow.plot._checks import AxesLike, check_points
from nvpflow.plot._model import Model, check_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NORMAL = NormalDist()
# The most dimensions in one figure, with two panels each.
MOST_DIMENSIONS = 24
# The most quantiles in a QQ plot.
QUANTILES = 100
# The number of random samples for a confidence band: its level is accurate to about 0.002.
SIMULATIONS = 10_000
# Points further out are counted, not drawn.
FAR = 8.0


def latent(
    model: Model,
    X: ArrayLike,
    *,
    level: float = 0.95,
    dimensions: Sequence[int] | None = None,
    context: ArrayLike | None = None,
    axes: AxesLike | None = None,
) -> Figure:
    """Histogram and QQ plot of every latent dimension, against the standard normal distribution.

    If the model is right, the latent points of data are standard normal. Over a mixture base, each dimension is first mapped
    by its distribution function given the dimensions before it, which makes the points standard normal (Rosenblatt 1952).

    In the QQ plot, the order statistics of a right model lie on the diagonal. With probability `level`, all that are drawn
    are inside the band. The band is exact for any number of points: its pointwise level is the same everywhere and is
    chosen by simulation (Aldor-Noiman et al. 2013). Points outside are red.

    Use samples that the model was not fitted to. On its training samples a model looks better than it is.

    Parameters
    ----------
    model : Flow, fitted FlowDensity or fitted FlowOutlierDetector
        With one flow (``n_models=1``).
    X : array_like of real numbers, shape (n, D)
        Finite data, n >= 2.
    level : float in (0, 1), default 0.95
        The level of the band of each dimension.
    dimensions : sequence of int, optional
        Dimensions to draw, counted from 0, at most 24. Default: all.
    context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same, optional
        The context of the samples, for a conditional model.
    axes : array_like of matplotlib Axes, optional
        Two for each dimension: histogram, QQ plot, histogram, ... Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted, or an argument is invalid.

    References
    ----------
    Aldor-Noiman, Brown, Buja, Rolke and Stine (2013), "The power to see: a new graphical test of normality", The
    American Statistician 67; Rosenblatt (1952), "Remarks on a multivariate transformation".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.latent(model, X)
    """
    X = check_points("X", X, finite=True)
    flow = check_model(model, context, most_dims=None, n=len(X))
    check_points("X", X, flow.data_dim)
    if len(X) < 2:
        raise ValueError(f"X must have at least 2 samples, got {len(X)}")
    level = check_real("level", level, 0, 1, low_open=True)
    dimensions = _check_dimensions(dimensions, flow.data_dim)
    Z = flow.inverse(X)[0].astype(np.float64)
    base = flow.one_flow.base
    if base is not None:
        known = flow.rows(len(Z)) if base.context_dim else None
        Z, _ = base.to_normal(Z, None if known is None else known.astype(flow.dtype))
    count = 2 * len(dimensions)
    columns = min(count, 4)
    figure, axes = panels(axes, count, columns, width=3.3 * columns, gap=0.8)
    ranks = _ranks(len(X))
    band = _band(ranks, len(X), level)
    for i, d in enumerate(dimensions):
        z = np.sort(Z[:, d])  # NaN last
        _histogram(axes[2 * i], z, d)
        _qq(axes[2 * i + 1], z, d, ranks, band, level)
    return figure


def _histogram(ax: Axes, z: Floats, d: int) -> None:
    edges = np.linspace(-4.5, 4.5, count_bins(len(z)) + 1)
    top = histogram(ax, z, edges, BLUE, filled=True, label=f"{len(z)} points")
    grid = np.linspace(-4.5, 4.5, 200)
    ax.plot(grid, [NORMAL.pdf(value) for value in grid], color=RED, lw=1.4, label="N(0, 1)")
    finite = z[np.isfinite(z)]
    moments = f"mean {finite.mean():.2f}, sd {finite.std():.2f}" if len(finite) else "no finite point"
    ax.set(xlim=(-4.5, 4.5), ylim=(0, max(0.56, 1.35 * top)), title=moments)
    ax.set(xlabel=_name(d), ylabel="density")
    ax.legend(frameon=False, loc="upper right", fontsize="small", handlelength=1.2, borderaxespad=0.1)
    ax.title.set_fontsize("medium")
    open_frame(ax)


def _qq(ax: Axes, z: Floats, d: int, ranks: Ints, band: tuple[Floats, Floats], level: float) -> None:
    expected = _quantiles(ranks / (len(z) + 1))
    low, high = map(_quantiles, band)
    z = z[ranks - 1]
    within = (z >= low) & (z <= high)
    reach = min(FAR, 1.08 * max(np.abs(expected).max(), np.abs(z[np.isfinite(z)]).max(initial=0)))
    ax.fill_between(expected, low, high, color=GREY, alpha=0.3, lw=0, label=f"{100 * level:g} % band")
    ax.plot([-FAR, FAR], [-FAR, FAR], color=GREY, lw=1)
    for mask, colour in ((within, BLUE), (~within, RED)):
        ax.plot(expected[mask], z[mask], "o", color=colour, ms=2.6, mew=0)
    outside = int((~within).sum())
    title = f"{outside} of {len(z)} quantiles outside" if outside else f"all {len(z)} quantiles inside"
    hidden = int((~(np.abs(z) <= FAR)).sum())
    ax.set_title(title + (f", {hidden} not shown" if hidden else ""), fontsize="medium")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel="normal quantile", ylabel=f"quantile of {_name(d)}")
    ax.legend(frameon=False, loc="upper left", fontsize="small", handlelength=1.2, borderaxespad=0.1)
    open_frame(ax)


def _name(d: int) -> str:
    return f"$z_{{{d + 1}}}$"


def _quantiles(probabilities: Floats) -> Floats:
    """Quantiles of the standard normal distribution."""
    tiny = np.finfo(float).tiny
    return np.array([NORMAL.inv_cdf(p) for p in np.clip(probabilities, tiny, 1 - 2**-53)])


def _ranks(n: int) -> Ints:
    """Ranks of the order statistics to draw, from 1: all for few points, else some at equal steps of the quantile."""
    ends = NORMAL.inv_cdf(0.5 / n)
    steps = np.linspace(ends, -ends, QUANTILES)
    chosen = [round(0.5 + n * NORMAL.cdf(step)) for step in steps] if n > QUANTILES else range(1, n + 1)
    return np.unique(np.clip(chosen, 1, n))


def _band(ranks: Ints, n: int, level: float) -> tuple[Floats, Floats]:
    """Ends of a band, shape (ranks,), that holds all uniform order statistics of these ranks at once.

    The order statistics are partial sums of n + 1 exponential numbers, divided by the total; sums of many are gamma numbers.
    The band reaches from the k-th smallest to the k-th largest simulation, with the largest k that leaves enough inside.
    """
    steps = np.diff([0, *ranks, n + 1]).astype(float)
    sums = np.cumsum(np.random.default_rng(0).standard_gamma(steps, size=(SIMULATIONS, len(steps))), axis=1)
    uniform = sums[:, :-1] / sums[:, -1:]
    place = uniform.argsort(axis=0).argsort(axis=0) + 1
    outermost = np.minimum(place, SIMULATIONS + 1 - place).min(axis=1)
    k = int(np.sort(outermost)[int((1 - level) * SIMULATIONS)])
    ordered = np.sort(uniform, axis=0)
    return ordered[k - 1], ordered[SIMULATIONS - k]


def _check_dimensions(dimensions: Sequence[int] | None, data_dim: int) -> list[int]:
    if dimensions is None:
        dimensions = range(data_dim)
    if isinstance(dimensions, str) or not np.iterable(dimensions):
        raise TypeError(f"dimensions must be a sequence of integers, got {shown(dimensions)}")
    checked = [check_int("dimensions", d, 0) for d in dimensions]
    if not checked or max(checked) >= data_dim:
        raise ValueError(f"dimensions must hold numbers from 0 to {data_dim - 1}, got {list(checked)}")
    if len(checked) > MOST_DIMENSIONS:
        raise ValueError(f"at most {MOST_DIMENSIONS} dimensions fit into a figure, got {len(checked)}")
    return checked
