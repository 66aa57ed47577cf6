"""Draws from densities on the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nvpflow._typing import Floats

__all__ = ["DrawLine"]


class DrawLine(NamedTuple):
    """Draws of n rows, from importance resampling.

    Attributes
    ----------
    draws : ndarray, shape (n, N)
        In increasing order, NaN in rows without a density.
    size : ndarray, shape (n,)
        Effective numbers of draws.
    log_total : ndarray, shape (n,)
        The logarithm of the density of the given cells.
    """

    draws: Floats
    size: Floats
    log_total: Floats

    @property
    def error(self) -> Floats:
        """The standard error of a probability of one half."""
        error: Floats = 0.5 / np.sqrt(np.maximum(self.size, 1.0))
        return error

    def pdf(self, u: Floats) -> Floats:
        """Draws have no density."""
        raise NotImplementedError

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        counts = np.stack([np.searchsorted(draws, points, side="right") for draws, points in zip(self.draws, u)])
        return np.where(np.isnan(u) | np.isnan(self.draws[:, :1]), np.nan, counts / self.draws.shape[1])

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        known = np.nan_to_num(q)
        found = np.stack([np.quantile(draws, probabilities) for draws, probabilities in zip(self.draws, known)])
        found = np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, found))
        return np.where(np.isnan(q) | np.isnan(self.draws[:, :1]), np.nan, found)

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (n, N) to (n, N, F)."""
        means: Floats = function(self.draws).mean(axis=1)
        return means

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        return self.draws.mean(axis=1), self.draws.std(axis=1)
