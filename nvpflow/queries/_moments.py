"""Means and standard deviations of what a function makes of numbers on a line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvpflow._typing import Floats

__all__ = ["moments_of"]

CANCELLED = 1e-8  # the share of a mean square that a variance must be, or its digits are gone


def moments_of(
    expect: Callable[[Callable[[Floats], Floats]], Floats], values: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Means and standard deviations (n,) of values (m, N) at numbers (m, N).

    `expect` gives the means (n, 2) of a function from numbers (m, N) to (m, N, 2). Rows whose mean is far from zero, in
    deviations, are computed again about a number near it: a difference of large squares would leave nothing.
    """
    mean, variance = _about(0.0, expect, values)
    lost = variance < CANCELLED * mean**2
    if lost.any():
        again = _about(float(np.median(mean[lost])), expect, values)
        mean, variance = np.where(lost, again, (mean, variance))
    return mean, np.sqrt(np.maximum(variance, 0.0))


def _about(
    centre: float, expect: Callable[[Callable[[Floats], Floats]], Floats], values: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Means and variances (n,), from the squares of distances to a centre."""

    def powers(u: Floats) -> Floats:
        away = values(u) - centre
        return np.stack([away, away * away], axis=-1)

    first, second = expect(powers).T
    return centre + first, second - first**2
