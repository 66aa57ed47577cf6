"""Simple densities to compare a fit with: a normal distribution, and a mixture of few."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from nvpflow._training.mixture_search import fit_mixture
from nvpflow._typing import Floats

__all__ = ["Normals", "baselines"]


class Normals(NamedTuple):
    """A mixture of K normal distributions of the standardised columns x and c, and with c as context."""

    weights: Floats  # (K,)
    means: Floats  # (K, D + C)
    covariances: Floats  # (K, D + C, D + C)
    centre: Floats  # (D + C,)
    scale: Floats  # (D + C,)
    n_columns: int  # D

    @classmethod
    def of_one(cls, rows: Floats, n_columns: int) -> Self:
        """One normal distribution; correlations are shrunk."""
        z, centre, scale = _standardized(rows)
        return cls(np.ones(1), np.zeros((1, z.shape[1])), _shrunken(z)[np.newaxis], centre, scale, n_columns)

    @classmethod
    def of_several(cls, rows: Floats, n_columns: int, seed: int) -> Self:
        """The mixture that minimises the BIC."""
        z, centre, scale = _standardized(rows)
        found = fit_mixture(z, seed=seed, most_searches=2)
        weights, means, covariances = (np.asarray(x, np.float64) for x in (found.weights, found.means, found.covariances))
        return cls(weights, means, covariances, centre, scale, n_columns)

    def log_prob(self, rows: Floats) -> Floats:
        """Log-density of x given c, of rows (n, D + C), in nats."""
        z, dim = (rows - self.centre) / self.scale, self.n_columns
        found: Floats = self._log_prob(z) - np.log(self.scale[:dim]).sum()
        return found if z.shape[1] == dim else found - self._log_prob(z, slice(dim, None))

    def _log_prob(self, z: Floats, columns: slice = slice(None)) -> Floats:
        terms = np.empty((len(z), len(self.weights)))
        for k, (weight, mean, covariance) in enumerate(zip(self.weights, self.means, self.covariances)):
            factor = np.linalg.cholesky(covariance[columns, columns])
            white = np.linalg.solve(factor, (z[:, columns] - mean[columns]).T)
            log_norm = np.log(np.diagonal(factor)).sum() + 0.5 * len(factor) * np.log(2 * np.pi)
            terms[:, k] = np.log(weight) - log_norm - 0.5 * (white**2).sum(axis=0)
        found: Floats = np.logaddexp.reduce(terms, axis=1)
        return found


def baselines(rows: Floats, n_columns: int, seed: int) -> dict[str, Normals]:
    """The densities by their names, fitted to rows (m, D + C) of samples and their context."""
    return {
        "normal distribution": Normals.of_one(rows, n_columns),
        "mixture": Normals.of_several(rows, n_columns, seed),
    }


def _standardized(rows: Floats) -> tuple[Floats, Floats, Floats]:
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return (rows - centre) / scale, centre, scale


def _shrunken(z: Floats) -> Floats:
    """The covariance of standardised rows, shrunk towards the identity: Chen et al. (2010), equation 23 (OAS)."""
    n, dim = z.shape
    covariance = z.T @ z / n
    trace, squares = np.trace(covariance), (covariance**2).sum()
    if trace == 0:  # all columns are constant
        return np.eye(dim)
    excess = squares - trace**2 / dim
    share = 1.0 if excess <= 0 else min(1.0, ((1 - 2 / dim) * squares + trace**2) / ((n + 1 - 2 / dim) * excess))
    found: Floats = (1 - share) * covariance + share * trace / dim * np.eye(dim)
    return found
