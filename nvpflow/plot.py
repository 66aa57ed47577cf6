"""Figures of two-dimensional flows: samples, densities, what every layer does, and training curves.

Every function returns a `matplotlib.figure.Figure` that no global state knows of: a notebook shows it when it is the last
value of a cell, ``figure.savefig(path)`` writes it, and nothing has to be closed. Needs matplotlib
(``pip install nvpflow[plot]``).
"""

import functools
import io

import numpy as np

from nvpflow._checks import check_int
from nvpflow.estimator import RealNVP
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm

__all__ = ["density", "evolution", "samples", "training"]

DATA, MODEL, GREY = "#2166ac", "#a01a58", "#8a8a8a"
# Once round the angle. Opposite colours stay apart, in lightness too, for every kind of colour vision.
WHEEL = ["#2166ac", "#4fc3c9", "#f0b429", "#a01a58", "#2166ac"]
# Nats below its maximum at which a density counts as nothing.
DEPTH = 12.0


def samples(data, samples):
    """Data beside samples, on the same axes.

    Parameters
    ----------
    data : array_like, shape (n, 2)
        Sets the limits of both panels.
    samples : array_like, shape (m, 2)
        If some lie outside of the panel, its title says how many.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        If an array has the wrong type or shape, or `data` holds NaN or infinity.
    """
    data, samples = _check_points("data", data), _check_points("samples", samples)
    if not np.isfinite(data).all():
        raise ValueError("data must be finite, got NaN or infinity")
    limits = _limits(data)
    figure, axes = _figure(1, 2, panel=4.2, aspect=_aspect(limits))
    for ax, name, points, colour in zip(axes, ("data", "samples"), (data, samples), (DATA, MODEL)):
        _scatter(ax, points, limits, colour)
        title = f"{len(points)} samples" if name == "samples" else f"data, {len(points)} points"
        outside = _count_outside(points, limits)
        ax.set_title(title + f" ({outside} outside)" * (outside > 0))
    return figure


def evolution(model, n=4000, random_state=0):
    """The way of the same points from the Gaussian through every layer to the data.

    Each point keeps one colour, given by where it starts: the hue is the angle, and grey is the middle. A last `ActNorm`
    only goes over to the units of the data, so it shares the panel of the layer before.

    Parameters
    ----------
    model : Flow or fitted RealNVP
        Of two dimensions.
    n : int, default 4000
        Number of points.
    random_state : int, Generator, RandomState or None, default 0

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If `model` is no fitted two-dimensional model, or another argument is unfit.
    """
    flow = _check_model(model)
    n = check_int("n", n, 1)
    z = np.random.default_rng(random_state).normal(size=(n, 2)).astype(flow.dtype)
    states, titles = _panels(flow, z)
    figure, axes = _figure(*_grid(len(states)), panel=2.7, aspect=1.0)
    colours = _colours_by_origin(z)
    in_data_units = isinstance(flow.layers[-1], ActNorm)
    shared = _square_limits(states[:-1] if in_data_units else states)
    for i, (ax, state, title) in enumerate(zip(axes, states, titles)):
        last = in_data_units and i == len(states) - 1
        _scatter(ax, state, _square_limits([state]) if last else shared, colours)
        ax.set_title(title)
    for ax in axes[len(states) :]:
        ax.remove()
    return figure


def density(model, exact=None, *, limits=None, resolution=400):
    """The learned log-density, beside the exact one if it is known, on the same colour scale.

    The scale ends 12 nats below the maximum. White contours enclose 50 % and 90 % of the mass.

    Parameters
    ----------
    model : Flow or fitted RealNVP
        Of two dimensions.
    exact : callable, optional
        From points, shape (n, 2), to their log-densities in nats, shape (n,); such as `nvpflow.moons.log_density`.
    limits : ((low, high), (low, high)), optional
        Of either axis. Default: the range of samples of the model.
    resolution : int, default 400
        Pixels along the longer axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If `model` is no fitted two-dimensional model, or another argument is unfit.
    """
    raise NotImplementedError
