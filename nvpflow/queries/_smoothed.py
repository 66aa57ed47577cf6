"""Means of functions under many normal distributions on a line.

Normal distributions of one deviation are one distribution, moved: the mean of a function is a smooth function of where. It is
computed at evenly spaced places, with its derivatives, and interpolated between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["smoothed"]

Rule: TypeAlias = tuple[Floats, Floats]  # nodes and weights of a mean under N(0, 1)

HERMITE_NODES = 48
# Functions with steps have evenly spaced nodes instead, which are close enough for several on each step.
STEP_NODES, REACH = 512, 8.5
# Places for each standard deviation. Of a quintic through values and two derivatives at both ends, h apart, the error is below
# h^6 / 46080 times the sixth derivative: 1e-7 of the deviation of the function.
PLACES = 4


def smoothed(
    functions: Sequence[Callable[[Floats], Floats]],
    have_steps: Sequence[bool],
    function_of: Ints,
    component: Ints,
    means: Floats,
    stds: Floats,
) -> Floats:
    """Means (T, F) of functions, from numbers (m, N) to (m, N, F), under normal distributions, by Gauss-Hermite quadrature.

    Parameters
    ----------
    functions : sequence of callable
    have_steps : sequence of bool
        Whether a function is about constant between narrow intervals, as behind a lattice.
    function_of : ndarray of int, shape (K,)
        The number of the function of each component.
    component : ndarray of int, shape (T,)
        Distributions of one component have one deviation, as a rule.
    means, stds : ndarray, shape (T,)
    """
    short = component.astype(np.min_scalar_type(len(function_of)))  # numbers of 16 bits are sorted by their digits
    order = np.argsort(short, kind="stable")
    counts = np.bincount(component, minlength=len(function_of))
    ends = np.cumsum(counts)
    means, stds = np.take(means, order), np.take(stds, order)
    rules = [_even_rule() if steps else _hermite_rule() for steps in have_steps]
    parts = []
    for k in np.flatnonzero(counts).tolist():
        own, which = slice(ends[k] - counts[k], ends[k]), function_of[k]
        parts.append(_of_component(functions[which], rules[which], means[own], stds[own]))
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    return np.take(np.concatenate(parts), place, axis=0)


def _of_component(function: Callable[[Floats], Floats], rule: Rule, means: Floats, stds: Floats) -> Floats:
    """Means (m, F) under normal distributions, most of which have one deviation."""
    std, low, high = float(stds[0]), float(means.min()), float(means.max())
    n_places = (high - low) / std * PLACES + 2 if std > 0 else np.inf
    if not n_places < 0.5 * len(means) or (stds != std).any():
        return _integrate(function, rule, means, stds, 1)[0]
    if high == low:
        return np.repeat(_integrate(function, rule, means[:1], stds[:1], 1)[0], len(means), axis=0)
    places, step = np.linspace(low, high, int(n_places), retstep=True)
    values, slopes, curvatures = _integrate(function, rule, places, np.full(len(places), std), 3)
    left = np.minimum(((means - low) / step).astype(np.intp), len(places) - 2)
    return _quintic((means - places[left]) / step, left, values, slopes * step, curvatures * step**2)


def _integrate(
    function: Callable[[Floats], Floats], rule: Rule, means: Floats, stds: Floats, n_derivatives: int
) -> list[Floats]:
    """Means (m, F), and their first derivatives in the means of the normal distributions."""
    nodes, weights = rule
    polynomials = [np.ones(len(nodes)), nodes, nodes**2 - 1][:n_derivatives]
    values = function(means[:, np.newaxis] + stds[:, np.newaxis] * nodes)
    return [
        np.einsum("mnf,n->mf", values, weights * polynomial) / stds[:, np.newaxis] ** i
        for i, polynomial in enumerate(polynomials)
    ]


@cache
def _hermite_rule() -> Rule:
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    return nodes, weights / weights.sum()


@cache
def _even_rule() -> Rule:
    nodes = np.linspace(-REACH, REACH, STEP_NODES)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


def _quintic(t: Floats, left: Ints, values: Floats, slopes: Floats, curvatures: Floats) -> Floats:
    """Interpolate at t in [0, 1] (m,) between places `left` (m,) and the next ones: quintic Hermite interpolation."""
    rise, (d, d_next), (c, c_next) = np.diff(values, axis=0), *((v[:-1], v[1:]) for v in (slopes, curvatures))
    powers = [
        values[:-1],
        d,
        0.5 * c,
        10 * rise - 6 * d - 4 * d_next - 1.5 * c + 0.5 * c_next,
        -15 * rise + 8 * d + 7 * d_next + 1.5 * c - c_next,
        6 * rise - 3 * (d + d_next) - 0.5 * (c - c_next),
    ]
    found, t = np.take(powers[-1], left, axis=0), t[:, np.newaxis]
    for power in powers[-2::-1]:
        found *= t
        found += np.take(power, left, axis=0)
    return found
