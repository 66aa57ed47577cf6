"""Mixtures of one component less: the two that are most alike become one."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats

__all__ = ["with_pair_merged"]


def with_pair_merged(weights: Floats, means: Floats, covariances: Floats) -> tuple[Floats, Floats, Floats]:
    """Merge two components of a mixture into one with their mean and covariance.

    Of all pairs it is the one with the smallest bound on the Kullback-Leibler divergence between the mixtures.

    Source: Runnalls (2007), "Kullback-Leibler approach to Gaussian mixture reduction", section IV.

    Parameters
    ----------
    weights : ndarray, shape (K,)
    means : ndarray, shape (K, D)
    covariances : ndarray, shape (K, D, D)

    Returns
    -------
    weights, means, covariances : ndarray
        Of K - 1 components. The mean and the covariance of the mixture are the same.
    """
    first, second = np.triu_indices(len(weights), 1)
    share = weights[first] + weights[second]
    a, b = (weights[first] / share)[:, None, None], (weights[second] / share)[:, None, None]
    offsets = means[first] - means[second]
    joint = a * covariances[first] + b * covariances[second] + a * b * offsets[:, :, None] * offsets[:, None, :]
    log_det = weights * np.linalg.slogdet(covariances)[1]
    pair = np.argmin(share * np.linalg.slogdet(joint)[1] - log_det[first] - log_det[second])
    i, j = first[pair], second[pair]
    weights, means, covariances = weights.copy(), means.copy(), covariances.copy()
    means[i] -= b[pair, 0] * offsets[pair]
    weights[i], covariances[i] = share[pair], joint[pair]
    return np.delete(weights, j), np.delete(means, j, axis=0), np.delete(covariances, j, axis=0)
