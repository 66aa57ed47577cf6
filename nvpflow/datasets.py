"""The exact density of scikit-learn's `make_moons`, for comparison with a fitted flow."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_real
from nvpflow._validation.arrays import as_array

__all__ = ["moons_entropy", "moons_log_density"]

# An integrand this many nats below its maximum adds nothing in double precision.
DROP = 40.0
# On the rest, a Gauss-Legendre rule of this order is exact to rounding, for any noise.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2
CHUNK = 4096


def moons_log_density(x: npt.ArrayLike, noise: float = 0.1) -> npt.NDArray[np.float64]:
    """Exact log-density of ``sklearn.datasets.make_moons(..., noise=noise)``.

    Half of the mass is uniform on the arc (cos t, sin t), half on (1 - cos t, 1/2 - sin t),
    0 <= t <= pi. Gaussian noise is added to every point. `make_moons` spaces its points evenly on
    the arcs, so this is its density in the limit of many samples.

    Parameters
    ----------
    x : array_like of real numbers, shape (n, 2)
        Finite.
    noise : float, default 0.1
        Standard deviation of the noise, > 0.

    Returns
    -------
    log_density : ndarray of float64, shape (n,)
        In nats. Accurate to rounding, and finite even thousands of standard deviations away.

    Raises
    ------
    TypeError, ValueError
        If x is not a finite real array of this shape, or noise is not a number > 0.

    Examples
    --------
    >>> from nvpflow.datasets import moons_log_density
    >>> moons_log_density([[0.0, 1.0], [3.0, 0.0]]).round(3)
    array([ -0.453, -57.16 ])
    """
    noise = check_real("noise", noise, 0, low_open=True)
    x = _check_points(x)
    result = np.empty(len(x))
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        result[part] = _log_moons(x[part, 0], x[part, 1], noise)
    return result


def moons_entropy(noise: float = 0.1) -> float:
    """Differential entropy of ``sklearn.datasets.make_moons(..., noise=noise)``.

    No model has a lower expected negative log-likelihood.

    Parameters
    ----------
    noise : float, default 0.1
        Standard deviation of the noise, from 0.001 to 1e150. The time grows with 1/noise.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    TypeError, ValueError
        If noise is not a number from 0.001 to 1e150.

    Examples
    --------
    >>> from nvpflow.datasets import moons_entropy
    >>> round(moons_entropy(noise=0.1), 3)
    1.008
    """
    noise = check_real("noise", noise, 1e-3)
    if noise > 1e150:  # whose square is infinite, or nearly so
        raise ValueError(f"noise must be at most 1e150, got {noise}")
    # The moons are symmetric: it is the expectation of -log p over the outer arc alone, taken in
    # polar coordinates.
    reach = 9 * noise
    low = max(0.0, 1 - reach)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    r = low + (1 + reach - low) * (nodes + 1) / 2
    r_weights = r * weights * (1 + reach - low) / 2
    beyond = math.asin(min(1.0, reach))  # of the ends of the arc; pi/2 closes the circle
    n_angles = max(128, math.ceil(4 * (math.pi + 2 * beyond) / noise))
    step = (math.pi + 2 * beyond) / n_angles
    total = 0.0
    for start in range(0, n_angles, CHUNK // len(r)):
        angle = (np.arange(start, min(start + CHUNK // len(r), n_angles)) + 0.5) * step - beyond
        px = np.multiply.outer(np.cos(angle), r).ravel()
        py = np.multiply.outer(np.sin(angle), r).ravel()
        integrand = np.exp(_log_arc(px, py, noise)) * _log_moons(px, py, noise)
        total -= float((integrand.reshape(-1, len(r)) @ r_weights).sum()) * step
    return total


def _log_moons(px: Floats, py: Floats, noise: float) -> Floats:
    """Log-density of both arcs. A half-turn about (1/2, 1/4) maps one to the other."""
    return np.logaddexp(_log_arc(px, py, noise), _log_arc(1 - px, 0.5 - py, noise)) - math.log(2)


def _log_arc(px: Floats, py: Floats, noise: float) -> Floats:
    """Log-density of the outer arc.

    In polar coordinates (r, angle), with k = r / noise^2, it is

        exp(-(r - 1)^2 / (2 noise^2)) / (2 pi^2 noise^2) * integral of exp(-k (1 - cos(t - angle))),

    and the integrand decreases with the distance of t from the angle, in both directions.
    """
    r, angle = np.hypot(px, py), np.arctan2(py, px)
    with np.errstate(over="ignore"):  # a density that underflows even as a logarithm is -inf
        radial = -0.5 * ((r - 1) / noise) ** 2
        k = np.clip(r / noise / noise, 1e-300, 1e300)
    # In each direction, the arc extends from the angle to an end of the arc for a point above the
    # centre, and from an end to the opposite of the angle for a point below.
    above = angle >= 0
    first, second = (
        _log_von_mises(np.where(above, 0, end), np.where(above, end, math.pi), k)
        for end in (np.abs(angle), math.pi - np.abs(angle))
    )
    return radial + np.logaddexp(first, second) - math.log(2 * math.pi**2) - 2 * math.log(noise)


def _log_von_mises(a: Floats, b: Floats, k: Floats) -> Floats:
    """Log of the integral of exp(-k (1 - cos d)) over a <= d <= b, with 0 <= a <= b <= pi."""
    # Integrate only where the integrand matters: k (cos a - cos d) <= DROP.
    end = 2 * np.arcsin(np.sqrt(np.minimum(1, np.sin(a / 2) ** 2 + DROP / 2 / k)))
    width = np.minimum(np.maximum(end - a, DROP / k), b - a)
    half = np.multiply.outer(width / 2, NODES)
    fall = np.sin(a[:, None] + half) * np.sin(half)  # half of cos a - cos d, without cancellation
    with np.errstate(divide="ignore"):  # an empty interval
        log_integral = np.log(width * (np.exp(-2 * k[:, None] * fall) @ WEIGHTS))
    result: Floats = log_integral - 2 * k * np.sin(a / 2) ** 2
    return result


def _check_points(x: ArrayLike) -> npt.NDArray[np.float64]:
    x = as_array("x", x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"x must be an array of real numbers, got dtype {x.dtype}")
    if x.ndim != 2 or x.shape[1] != 2:
        hint = ": reshape(1, -1) makes one point" if x.shape == (2,) else ""
        raise ValueError(f"x must have shape (n, 2), got {x.shape}{hint}")
    with np.errstate(over="ignore"):  # of numbers of more than double precision
        x = x.astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError("x must be finite, got NaN or infinity")
    return x
