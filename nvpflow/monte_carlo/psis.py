"""Pareto smoothed importance sampling (PSIS)."""

from __future__ import annotations

import math

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arrays import as_array

__all__ = ["largest_k", "psis", "samples_for", "smooth"]

FEWEST = 5  # values of a tail that a distribution is fitted to
PRIOR_SIZE, PRIOR_K = 10, 0.5  # of the shape: the prior is worth ten values of 0.5
PRIOR_SPREAD = 3  # of the grid, in quartiles
LEAST = math.log(np.finfo(np.float64).tiny) + 16  # a log-weight from the largest: its inverse is still a number
NEGLIGIBLE = 10 * np.finfo(np.float64).eps


def psis(log_ratios: ArrayLike) -> tuple[Floats, float]:
    """Smooth the largest importance weights, and say how heavy their tail is.

    Parameters
    ----------
    log_ratios : array_like of real numbers, shape (n,)
        log p(x) - log q(x), in nats, at independent draws x of q. -inf where p is zero. Both may be unnormalised.

    Returns
    -------
    log_weights : ndarray of float64, shape (n,)
        The logarithms of weights that sum to 1.
    pareto_k : float
        The shape of a generalized Pareto distribution of the largest weights: moments of weights of an order above 1 / k do
        not exist. Estimates with these weights are reliable for k < min(1 - 1 / log10(n), 0.7). -inf if the largest weights
        are all equal, inf if the rest is zero in floating point beside less than five of them, and NaN if there are fewer than
        five (n < 21, or ratios of -inf) or too many ties.

    Raises
    ------
    TypeError, ValueError
        If ratios are not a vector of real numbers, are NaN or inf, or are all -inf.

    Notes
    -----
    The min(n / 5, 3 sqrt(n)) largest weights are replaced by quantiles of the distribution, and truncated at the
    largest one. Without a k, weights are not smoothed.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling", algorithm 1; Zhang and Stephens
    (2009), "A new and efficient estimation method for the generalized Pareto distribution", with the former's prior.

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.monte_carlo import psis
    >>> x = np.random.default_rng(0).normal(size=2000)
    >>> log_weights, k = psis(-0.5 * (x / 0.8) ** 2 + 0.5 * x**2)  # N(0, 0.8^2) from N(0, 1)
    >>> round(float(np.exp(log_weights).sum()), 6), k < 0.5
    (1.0, True)
    """
    log_weights, _, k = smooth(_checked(log_ratios))
    return log_weights, k


def smooth(log_ratios: Floats) -> tuple[Floats, float, float]:
    """Logarithms of smoothed weights (n,) with the sum 1, that of their sum before, and k."""
    top = float(log_ratios.max())
    x = log_ratios - top
    k = _smooth_tail(x)
    total = float(np.logaddexp.reduce(x))
    return x - total, top + total, k


def _smooth_tail(x: Floats) -> float:
    """Smooth the tail of log-weights (n,), whose maximum is 0, in place, and return k."""
    n = len(x)
    n_tail = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    cutoff = max(float(np.sort(x)[-n_tail - 1]), LEAST) if n_tail < n else 0.0
    if cutoff == 0:
        return -math.inf if n_tail >= FEWEST else math.nan
    tail = np.flatnonzero(x > cutoff)
    if len(tail) < FEWEST:
        few_carry_all = cutoff == LEAST and (np.isfinite(x) & (x <= LEAST)).any()
        return math.inf if few_carry_all else math.nan
    tail = tail[np.argsort(x[tail], kind="stable")]
    k, scale = _fit_pareto(np.exp(x[tail]) - math.exp(cutoff))
    if math.isfinite(k):
        places = (np.arange(len(tail)) + 0.5) / len(tail)
        x[tail] = np.minimum(np.log(_quantiles(places, k, scale) + math.exp(cutoff)), 0)
    return k


def largest_k(n: int) -> float:
    """The largest k with reliable estimates from n samples: equation 13 of Vehtari et al. (2024), and 0.7."""
    return min(1 - 1 / math.log10(n), 0.7) if n > 10 else 0.0


def samples_for(k: float) -> float:
    """How many samples a k needs at least, for k < 1: the inverse of `largest_k`."""
    return 10 ** (1 / (1 - max(k, 0)))


def _checked(log_ratios: ArrayLike) -> Floats:
    given = as_array("log_ratios", log_ratios)
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "fiu":
        raise ValueError(
            f"log_ratios must be real numbers of shape (n,), n >= 1, got shape {given.shape}, dtype {given.dtype}"
        )
    ratios: Floats = given.astype(np.float64)
    if np.isnan(ratios).any() or (ratios == np.inf).any() or (ratios == -np.inf).all():
        raise ValueError("log_ratios must be finite or -inf, and some finite, got NaN, inf, or -inf alone")
    return ratios


def _fit_pareto(x: Floats) -> tuple[float, float]:
    """Shape k and scale of a generalized Pareto distribution of sorted x > 0, (m,). NaN where too many values are the least.

    Zhang and Stephens (2009): the mean of b = -k / scale under its profile likelihood, on a grid.
    """
    m = len(x)
    quartile = x[int(m / 4 + 0.5) - 1]
    if quartile <= x[0]:
        return math.nan, math.nan
    n_grid = 30 + int(math.sqrt(m))
    b = 1 / x[-1] + (1 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))) / (PRIOR_SPREAD * quartile)
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    log_likelihood = m * (np.log(-b / k) - k - 1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight[weight < NEGLIGIBLE * weight.sum()] = 0
    best = float(weight @ b / weight.sum())
    shape = float(np.log1p(-best * x).mean())
    return (m * shape + PRIOR_SIZE * PRIOR_K) / (m + PRIOR_SIZE), -shape / best


def _quantiles(p: Floats, k: float, scale: float) -> Floats:
    """Of the generalized Pareto distribution, at probabilities p."""
    exponential: Floats = -np.log1p(-p)
    return scale * (np.expm1(k * exponential) / k if abs(k) > np.finfo(np.float64).eps else exponential)
