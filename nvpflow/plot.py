"""Figures of two-dimensional flows: samples, densities, what every layer does, and training curves.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know of: a notebook shows
it when it is the last value of a cell, ``figure.savefig(path)`` writes it, and nothing has to be
closed. They need matplotlib (``pip install nvpflow[plot]``), imported when a figure is made.
"""

import functools
import io

import numpy as np

from nvpflow._checks import check_int, check_real, seed_sequence
from nvpflow.estimator import RealNVP
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm

__all__ = ["density", "evolution", "samples", "training"]

BLUE, RED, GREY = "#2166ac", "#a01a58", "#8a8a8a"
# Hues of the angles 0, 90, ..., 360 degrees. Opposite ones differ for every kind of colour vision.
WHEEL = (BLUE, "#4fc3c9", "#f0b429", RED, BLUE)
# Share of points that lie in the panels of `evolution`: a few far ones would make all others small.
INSIDE = 0.995
# Nats from the top of the colour scale of `density` to its bottom.
DEPTH = 10.0


def samples(data, samples):
    """Data beside samples, on the same axes.

    Parameters
    ----------
    data : array_like of real numbers, shape (n, 2)
        Finite. Sets the limits of both panels.
    samples : array_like of real numbers, shape (m, 2)
        If some lie outside of the panel, its title says how many.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        If an argument is not such an array.
    """
    data, samples = _check_points("data", data), _check_points("samples", samples)
    if not np.isfinite(data).all():
        raise ValueError("data must be finite, got NaN or infinity")
    limits = _limits(data)
    outside = len(samples) - int(_inside(samples, limits).sum())
    figure, axes = _figure(1, 2, limits, width=9.0)
    _scatter(axes[0], data, BLUE, limits)
    _scatter(axes[1], samples, RED, limits)
    axes[0].set_title(f"{len(data)} data points")
    note = f", {outside} of them outside" if outside else ""
    axes[1].set_title(f"{len(samples)} samples{note}")
    return figure


def evolution(model, n=4000, random_state=0):
    """The same points on their way from the Gaussian through every layer to the data.

    A point keeps its colour, which says where it started: the hue is the angle, and grey is the
    middle. The panels have the same limits, but for the last one, which shows the data as large as
    it can. A last `ActNorm` only changes to the units of the data, so it shares the panel of the
    layer before it.

    Parameters
    ----------
    model : Flow or fitted RealNVP
        Of two dimensions.
    n : int, default 4000
        Points.
    random_state : int, Generator, RandomState or None, default 0
        Draws them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted or not two-dimensional, or an argument is unfit.
    """
    flow = _check_model(model)
    n = check_int("n", n, 1)
    z = np.random.default_rng(seed_sequence(random_state)).normal(size=(n, 2)).astype(flow.dtype)
    titles, states = _stages(flow, z)
    shared = _square_limits(np.concatenate(states[:-1]))
    columns = int(np.ceil(np.sqrt(len(states))))
    figure, axes = _figure(-(-len(states) // columns), columns, shared, width=3.2 * columns)
    colours = _origin_colours(z)
    for ax, title, state in zip(axes, titles, states):
        _scatter(ax, state, colours, _square_limits(state) if state is states[-1] else shared)
        ax.set_title(title)
        ax.tick_params(labelsize="small")
    for ax in axes[len(states) :]:
        ax.remove()
    return figure


def density(model, exact=None, *, limits=None, resolution=400):
    """The learned log-density, beside the exact one if it is known, on the same colour scale.

    Logarithms show what a density leaves behind between the modes and at the edges. The scale
    covers 10 nats; what lies below has the darkest colour, and what is NaN is grey.

    Parameters
    ----------
    model : Flow or fitted RealNVP
        Of two dimensions.
    exact : callable, optional
        Takes points, shape (n, 2), to their log-densities in nats, shape (n,), as
        `nvpflow.moons.log_density` does.
    limits : ((low, high), (low, high)), optional
        Of the first and the second axis. Default: where the samples of the model are.
    resolution : int, default 400
        Pixels along the first axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted or not two-dimensional, or an argument is unfit.
    """
    flow = _check_model(model)
    if exact is not None and not callable(exact):
        raise TypeError(f"exact must be callable, got {exact!r}")
    if limits is None:
        limits = _limits(flow.sample(4000, random_state=0), INSIDE, 0.2)
    else:
        limits = _check_limits(limits)
    points, shape = _pixels(limits, check_int("resolution", resolution, 2))
    images = {"learned log-density": flow.log_prob(points)}
    if exact is not None:
        images["exact log-density"] = _evaluate(exact, points)
    top = _top(images.values())
    figure, axes = _figure(1, len(images), limits, width=4.6 * len(images) + 0.8, beside=0.8)
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
        )
        ax.set_title(title)
    scale = axes[-1].inset_axes((1.03, 0, 0.035, 1))
    figure.colorbar(image, cax=scale, label="nats", extend="min", extendfrac=0.04)
    return figure


def training(history, entropy=None):
    """Training curves: the negative log-likelihood after every epoch.

    Parameters
    ----------
    history : mapping
        "train_nll" and perhaps "validation_nll", one entry per epoch, in nats:
        `RealNVP.history_`, or what `Flow.fit` returned. The best validation NLL is marked: the
        parameters of that epoch are kept. The training NLL is that of the samples with the noise
        that training adds to them, if any.
    entropy : float, optional
        Of the data's distribution, in nats; a dashed line. No model can do better on average.

    Returns
    -------
    matplotlib.figure.Figure
        Its limits suit the later epochs; the first ones may be above.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        If an argument is unfit.
    """
    curves = _check_history(history)
    if entropy is not None:
        entropy = check_real("entropy", entropy)
    figure = _new_figure((7.5, 4.2))
    ax = figure.add_subplot()
    for (name, curve), colour in zip(curves.items(), (BLUE, RED)):
        ax.plot(np.arange(1, len(curve) + 1), curve, color=colour, lw=1.4, label=name)
    if "validation" in curves and np.isfinite(curves["validation"]).any():
        best = int(np.nanargmin(curves["validation"]))
        label = f"best: epoch {best + 1}"
        ax.plot(best + 1, curves["validation"][best], "o", color=RED, ms=6, label=label)
    if entropy is not None:
        ax.axhline(entropy, color=GREY, ls="--", lw=1.2, label=f"entropy: {entropy:.3f}")
    ax.set(xlabel="epoch", ylabel="NLL (nats)", title="Negative log-likelihood in training")
    ax.set(xlim=(0, max(2, len(curves["training"]))), ylim=_nll_limits(curves.values(), entropy))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="upper right")
    return figure


def _stages(flow, z):
    """Titles and states of the panels."""
    states = list(flow.trace(z))
    titles = ["Gaussian"] + [f"layer {i}" for i in range(1, len(states))]
    if len(flow.layers) > 1 and isinstance(flow.layers[-1], ActNorm):
        del states[-2], titles[-1]
        titles[-1] += ", in data units"
    return titles, states


def _origin_colours(z):
    """A colour for each latent point, hue by angle and saturation by radius, without a seam."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    wheel = LinearSegmentedColormap.from_list("wheel", WHEEL)
    hue = wheel(np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi) % 1)[:, :3]
    saturation = np.sqrt(-np.expm1(-(z**2).sum(axis=1, keepdims=True) / 2))
    return saturation * hue + (1 - saturation) * np.array(to_rgb("0.75"))


def _nll_limits(curves, entropy):
    """From the lowest value to some way above most: a few huge epochs must not flatten the rest."""
    finite = [curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if len(curve)]
    if not finite:
        return None
    low = min(curve.min() for curve in finite)
    high = max(max(np.quantile(curve, 0.8), curve[-1]) for curve in finite)
    if entropy is not None:
        low, high = min(low, entropy), max(high, entropy)
    spread = max(high - low, 0.05)
    high = min(low + 4 * spread, max(high, *(curve.max() for curve in finite)))
    return low - 0.15 * spread, max(high, low + spread) + 0.1 * spread


def _pixels(limits, resolution):
    """Centres of the pixels, shape (rows * columns, 2), and (rows, columns)."""
    width, height = (high - low for low, high in limits)
    shape = (min(max(2, round(resolution * height / width)), 10 * resolution), resolution)
    x, y = (
        (np.arange(n) + 0.5) / n * (high - low) + low for n, (low, high) in zip(shape[::-1], limits)
    )
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), shape


def _evaluate(exact, points):
    values = np.asarray(exact(points), dtype=float)
    if values.shape != (len(points),):
        raise ValueError(
            f"exact must return shape ({len(points)},) for {len(points)} points, got {values.shape}"
        )
    return values


def _top(images):
    """The end of a colour scale for log-densities, which a spike of a few pixels must not set."""
    finite = [values[np.isfinite(values)] for values in images]
    return max((float(np.quantile(values, 0.999)) for values in finite if len(values)), default=0.0)


def _limits(points, share=1.0, margin=0.12):
    """Per axis, the range of that share of the finite points, and a margin relative to it."""
    points = points[np.isfinite(points).all(axis=1)].astype(float)
    if len(points) == 0:
        return (-1.0, 1.0), (-1.0, 1.0)
    low, high = np.quantile(points, [(1 - share) / 2, (1 + share) / 2], axis=0)
    room = margin * np.maximum(high - low, 1e-6 * np.maximum(1e-30, np.abs(high)))
    return tuple(zip((low - room).tolist(), (high + room).tolist()))


def _square_limits(points):
    """As `_limits`, of the same length on both axes."""
    limits = np.array(_limits(points, INSIDE))
    middle, half = limits.mean(axis=1), np.diff(limits).max() / 2
    return tuple(zip((middle - half).tolist(), (middle + half).tolist()))


def _inside(points, limits):
    low, high = np.transpose(limits)
    return ((points >= low) & (points <= high)).all(axis=1)


def _scatter(ax, points, colours, limits):
    size = np.clip(14000 / max(1, len(points)), 1.5, 9)
    ax.scatter(points[:, 0], points[:, 1], s=size, c=colours, linewidths=0, rasterized=True)
    ax.set(xlim=limits[0], ylim=limits[1], aspect="equal")


def _figure(rows, columns, limits, width, beside=0.0):
    """A figure and its panels, of a height that suits panels with these limits; in inches."""
    (left, right), (bottom, top) = limits
    shape = min(max((top - bottom) / (right - left), 0.3), 2.5)
    height = ((width - beside) / columns - 0.5) * shape
    figure = _new_figure((width, rows * (height + 0.65)))
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def _new_figure(size):
    return _figure_class()(figsize=size, dpi=150, layout="constrained")


@functools.cache
def _figure_class():
    """A Figure that notebooks display without pyplot, which they otherwise rely on."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = f"figures need matplotlib: pip install nvpflow[plot] ({error})"
        raise ImportError(message) from error

    class NotebookFigure(Figure):
        def _repr_png_(self):
            """The image, and half of its pixels as the size to show it at: sharp on any screen."""
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            width, height = (self.get_size_inches() * self.dpi / 2).astype(int).tolist()
            return buffer.getvalue(), {"width": width, "height": height}

    return NotebookFigure


def _colormap(name, bad):
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=bad)


def _check_model(model):
    """The two-dimensional flow of a Flow or a fitted RealNVP."""
    if not isinstance(model, (Flow, RealNVP)):
        raise TypeError(f"model must be a Flow or a RealNVP, got {type(model).__name__}")
    flow = model._fitted_flow() if isinstance(model, RealNVP) else model
    if flow.data_dim != 2:
        raise ValueError(f"model must have 2 dimensions to be drawn, got {flow.data_dim}")
    return flow


def _check_points(name, points):
    points = np.asarray(points)
    if points.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {points.dtype}")
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"{name} must have shape (n, 2) with n >= 1, got {points.shape}")
    return points


def _check_limits(limits):
    try:
        checked = np.asarray(limits, dtype=float)
    except (TypeError, ValueError):
        checked = np.empty(0)
    valid = checked.shape == (2, 2) and np.isfinite(checked).all()
    if not valid or not (checked[:, 0] < checked[:, 1]).all():
        raise ValueError(
            f"limits must be ((low, high), (low, high)) with low < high, got {limits!r}"
        )
    return tuple(map(tuple, checked.tolist()))


def _check_history(history):
    """{"training": curve} and, if there is one, "validation"."""
    try:
        curves = {"training": history["train_nll"]}
        if "validation_nll" in history:
            curves["validation"] = history["validation_nll"]
    except (KeyError, TypeError, IndexError):
        raise TypeError(
            "history must be a mapping with 'train_nll', such as RealNVP.history_, "
            f"got {type(history).__name__}"
        ) from None
    curves = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
    for name, curve in curves.items():
        if curve.ndim != 1 or len(curve) == 0:
            raise ValueError(
                f"the {name} curve of history must have shape (epochs,), got {curve.shape}"
            )
    return curves
