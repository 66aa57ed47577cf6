"""The distribution function of the standard normal distribution, without SciPy."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats

__all__ = ["normal_cdf"]

# Chebyshev fit of log(erfc(x) exp(x^2) / t) in t = 1 / (1 + x / 2): Press, Teukolsky, Vetterling and Flannery, "Numerical
# Recipes", 6.2. Its relative error is below 1.2e-7, in the tails as well.
COEFFICIENTS = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


def normal_cdf(x: Floats) -> Floats:
    """The probability of a smaller number, with a relative error below 1.2e-7."""
    z = np.abs(x) * np.sqrt(0.5)
    t = 1 / (1 + 0.5 * z)
    power = np.full_like(t, COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        power = power * t + coefficient
    tail = 0.5 * t * np.exp(power - z * z)
    found: Floats = np.where(x > 0, 1 - tail, tail)
    return found
