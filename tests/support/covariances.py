"""The covariances of components, in plain NumPy: another implementation of what the core computes."""

import numpy as np

from nvpflow import _core
from nvpflow._training import covariances as c


def reference_covariances(prior, squares, shares, prior_samples):
    """Covariances (K, D, D) from mean squares about the means, times shares."""
    k, dim = squares.shape[:2]
    rows = shares * prior.n / dim
    pooled = squares.sum(axis=0) / shares.sum()
    broad = np.ones((k, dim), bool)
    if prior.any_repeated:
        variances = np.diagonal(squares, axis1=1, axis2=2) / shares[:, None]
        broad = (variances > c.ONE_VALUE * prior.floor) | ~prior.repeated | (rows <= c.ENOUGH_FOR_VALUES)[:, None]
        root = np.sqrt(shares.sum() / np.maximum(shares @ broad, np.finfo(float).tiny))
        pooled = pooled * np.outer(root, root)
    if prior.n_factors:
        of_all = _core.factor_model(pooled, prior.n_factors)
    else:
        of_all = (1 - prior.shrinkage) * pooled + prior.shrinkage * np.diag(np.diag(pooled))
    priors = of_all * (broad[:, :, None] & broad[:, None, :])
    covariances = priors.copy()
    if k > 1:
        own = (shares / (shares + prior_samples * dim / prior.n))[:, None, None]
        limit = _limit(prior, of_all, squares, shares, rows)[:, None, None]
        covariances = own / shares[:, None, None] * squares + (1 - own) * limit * priors
    i = np.arange(dim)
    covariances[:, i, i] = np.maximum(covariances[:, i, i] * (1 + c.LEAST_RELATIVE) + prior.added, prior.floor)
    return covariances


def _limit(prior, of_all, squares, shares, rows):
    if prior.any_repeated:
        return np.ones(len(rows))
    own = squares.reshape(len(rows), -1) @ np.linalg.pinv(of_all, hermitian=True).ravel() / (shares * len(of_all))
    return np.where(rows > c.ENOUGH_ROWS, np.minimum(1, c.WIDEST_PRIOR * own), 1)
