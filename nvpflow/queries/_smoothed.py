"""Means of functions under many normal distributions on a line.

Normal distributions of one deviation are one distribution, moved: the mean of a function is a smooth function of where. It is
computed at evenly spaced places, with its derivatives, and interpolated between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["smoothed"]

HERMITE_NODES = 48
# Places for each standard deviation. Of a quintic through values and two derivatives at both ends, h apart, the error is below
# h^6 / 46080 times the sixth derivative: 1e-7 of the deviation of the function.
PLACES = 4


def smoothed(
    functions: Sequence[Callable[[Floats], Floats]], function_of: Ints, component: Ints, means: Floats, stds: Floats
) -> Floats:
    """Means (T, F) of functions, from numbers (m, N) to (m, N, F), under normal distributions, by Gauss-Hermite quadrature.

    Parameters
    ----------
    functions : sequence of callable
    function_of : ndarray of int, shape (K,)
        The number of the function of each component.
    component : ndarray of int, shape (T,)
        Distributions of one component have one deviation, as a rule.
    means, stds : ndarray, shape (T,)
    """
    order = np.argsort(component, kind="stable")
    starts = np.searchsorted(component[order], np.arange(len(function_of) + 1))
    found: Floats | None = None
    for k in np.flatnonzero(np.diff(starts)).tolist():
        own = order[starts[k] : starts[k + 1]]
        values = _of_component(functions[function_of[k]], means[own], stds[own])
        found = np.empty((len(component), values.shape[1])) if found is None else found
        found[own] = values
    assert found is not None
    return found


def _of_component(function: Callable[[Floats], Floats], means: Floats, stds: Floats) -> Floats:
    """Means (m, F) under normal distributions, most of which have one deviation."""
    std, low, high = float(stds[0]), float(means.min()), float(means.max())
    n_places = (high - low) / std * PLACES + 2 if std > 0 else np.inf
    if not n_places < 0.5 * len(means) or (stds != std).any():
        return _hermite(function, means, stds, 1)[0]
    if high == low:
        return np.repeat(_hermite(function, means[:1], stds[:1], 1)[0], len(means), axis=0)
    places, step = np.linspace(low, high, int(n_places), retstep=True)
    values, slopes, curvatures = _hermite(function, places, np.full(len(places), std), 3)
    left = np.minimum(((means - low) / step).astype(np.intp), len(places) - 2)
    return _quintic((means - places[left]) / step, left, values, slopes * step, curvatures * step**2)


def _hermite(function: Callable[[Floats], Floats], means: Floats, stds: Floats, n_derivatives: int) -> list[Floats]:
    """Means (m, F), and their first derivatives in the means of the normal distributions."""
    nodes, weights = _rule()
    polynomials = [np.ones(HERMITE_NODES), nodes, nodes**2 - 1][:n_derivatives]
    values = function(means[:, np.newaxis] + stds[:, np.newaxis] * nodes)
    return [
        np.einsum("mnf,n->mf", values, weights * polynomial) / stds[:, np.newaxis] ** i
        for i, polynomial in enumerate(polynomials)
    ]


@cache
def _rule() -> tuple[Floats, Floats]:
    """Nodes and weights of a mean under N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    return nodes, weights / weights.sum()


def _quintic(t: Floats, left: Ints, values: Floats, slopes: Floats, curvatures: Floats) -> Floats:
    """Interpolate at t in [0, 1] (m,) between places `left` (m,) and the next ones: quintic Hermite interpolation."""
    found = np.zeros((len(t), values.shape[1]))
    for place, own, other, sign in ((left, t, 1 - t, 1), (left + 1, 1 - t, t, -1)):  # from either end
        cube = other**3
        found += (cube * (1 + 3 * own + 6 * own**2))[:, np.newaxis] * values[place]
        found += (sign * own * cube * (1 + 3 * own))[:, np.newaxis] * slopes[place]
        found += (0.5 * own**2 * cube)[:, np.newaxis] * curvatures[place]
    return found
