"""Have chains converged? Rank-normalised split R-hat and effective sample sizes.

Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), "Rank-normalization, folding, and localization: an improved R-hat for
assessing convergence of MCMC".
"""

from __future__ import annotations

import math

import numpy as np

from nvpflow._normal import probit
from nvpflow._typing import Floats

__all__ = ["ess_bulk", "ess_tail", "split_r_hat"]

TAIL = 0.05  # on each side


def split_r_hat(chains: Floats) -> float:
    """The larger one of R-hat of ranks and of ranks of distances from the median (equations 3, 4 and 14).

    `chains` are (m, n), of one quantity. NaN if it is constant.
    """
    halves = _split(chains)
    return max(_r_hat(_normal_scores(halves)), _r_hat(_normal_scores(np.abs(halves - np.median(halves)))))


def ess_bulk(chains: Floats) -> float:
    """The effective sample size of ranks: of the centre of the distribution."""
    return _ess(_normal_scores(_split(chains)))


def ess_tail(chains: Floats) -> float:
    """The smaller one of the effective sample sizes of the shares below the 5 % and the 95 % quantile."""
    return min(_ess((_split(chains) <= quantile).astype(float)) for quantile in np.quantile(chains, (TAIL, 1 - TAIL)))


def _split(chains: Floats) -> Floats:
    """The halves of chains (m, n), as (2 m, n // 2). The middle of an odd number is left out."""
    half = chains.shape[1] // 2
    return np.concatenate((chains[:, :half], chains[:, -half:]))


def _normal_scores(x: Floats) -> Floats:
    """Normal quantiles of the ranks of all values, equal values with their mean rank."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(x.shape)]
    return probit((ranks - 3 / 8) / (x.size + 1 / 4))


def _r_hat(chains: Floats) -> float:
    """The potential scale reduction of chains (m, n)."""
    n = chains.shape[1]
    within, between = chains.var(axis=1, ddof=1).mean(), chains.mean(axis=1).var(ddof=1)
    if within == 0:
        return math.inf if between > 0 else math.nan
    return math.sqrt(between / within + (n - 1) / n)


def _ess(chains: Floats) -> float:
    """The effective sample size of the mean of chains (m, n): Geyer's initial monotone sequence (equations 10 to 13)."""
    m, n = chains.shape
    if np.ptp(chains) == 0:
        return float(chains.size)
    covariances = _autocovariances(chains).mean(axis=0)
    within = covariances[0] * n / (n - 1)
    total = covariances[0] + (chains.mean(axis=1).var(ddof=1) if m > 1 else 0)
    rho = 1 - (within - covariances[: n - n % 2]) / total
    rho[0] = 1
    pairs = rho.reshape(-1, 2).sum(axis=1)
    n_pairs = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    tau = -1 + 2 * np.minimum.accumulate(pairs[:n_pairs]).sum()
    if n_pairs < len(pairs):
        tau += max(rho[2 * n_pairs], 0)
    return float(chains.size / max(tau, 1 / math.log10(chains.size)))


def _autocovariances(chains: Floats) -> Floats:
    """Of chains (m, n), at all lags, (m, n), with the divisor n."""
    n = chains.shape[1]
    centred = chains - chains.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    found: Floats = np.fft.irfft(spectrum, 2 * n)[:, :n] / n
    return found
