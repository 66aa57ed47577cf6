"""Regularised normal distributions of classes: Friedman (1989), "Regularized discriminant analysis"."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["SHRINKAGES", "ClassNormals"]

# How far covariances are shrunk towards the pooled one, and how far correlations and, by a tenth of that, deviations towards
# those of independent columns. Chosen on two of the tables of benchmarks/supervised.py; a coarser grid lost 0.004 nats there.
SHRINKAGES = tuple((pooled, diagonal) for pooled in (0.0, 0.25, 0.5, 0.75, 1.0) for diagonal in (1e-4, 0.01, 0.05, 0.2, 1.0))
TO_UNIT = 0.1  # as much of `diagonal` shrinks variances to those of the pooled covariance
RIDGE = 1e-6


class ClassNormals(NamedTuple):
    """A normal distribution of each class.

    Attributes
    ----------
    means : ndarray of float64, shape (C, D)
    whitening : ndarray of float64, shape (C, D, D)
        The inverses of the lower Cholesky factors of the covariances.
    """

    means: Floats
    whitening: Floats

    @classmethod
    def fit(cls, x: Floats, codes: Ints, weight: Floats | None, n_classes: int, shrinkage: tuple[float, float]) -> Self:
        """Fit to rows x (n, D) of the classes `codes` (n,).

        With pooled shrinkage l and diagonal shrinkage g, in units in which the pooled covariance P has a diagonal of ones, the
        covariance of class c is ``(1 - g) S + g ((1 - t) diag(S) + t I)`` with ``S = (1 - l) S_c + l P`` and t = 0.1.
        """
        pooled_share, diagonal_share = shrinkage
        weight = np.ones(len(x)) if weight is None else weight
        x = x.astype(np.float64)
        sums = np.bincount(codes, weight, n_classes)
        means = np.stack([weight[codes == c] @ x[codes == c] / sums[c] for c in range(n_classes)])
        residuals = x - means[codes]
        scale = np.sqrt(weight @ residuals**2 / sums.sum())
        scale[scale == 0] = 1
        z = residuals / scale
        pooled = (z * weight[:, None]).T @ z / sums.sum()
        factors = []
        for c in range(n_classes):
            own = z[codes == c]
            covariance = (own * weight[codes == c, None]).T @ own / sums[c]
            covariance = (1 - pooled_share) * covariance + pooled_share * pooled
            spread = (1 - TO_UNIT) * np.diag(np.diag(covariance)) + TO_UNIT * np.eye(len(covariance))
            covariance = (1 - diagonal_share) * covariance + diagonal_share * spread + RIDGE * np.eye(len(covariance))
            factors.append(np.linalg.inv(np.linalg.cholesky(covariance)) / scale)
        return cls(means, np.stack(factors))

    def log_prob(self, x: Floats) -> Floats:
        """Log-density of each row in each class (n, C), but for a constant that all share, in nats."""
        found = np.empty((len(x), len(self.means)))
        for c, (mean, whitening) in enumerate(zip(self.means, self.whitening)):
            white = (x.astype(np.float64) - mean) @ whitening.T
            found[:, c] = np.log(np.diagonal(whitening)).sum() - 0.5 * np.einsum("nd,nd->n", white, white)
        return found
