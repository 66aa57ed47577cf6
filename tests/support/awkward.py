"""Mixtures as plain NumPy sees them, and data that are awkward for a mixture."""

import numpy as np
from scipy.special import logsumexp


def blobs(n=2000, seed=0):
    """Samples of three normal distributions in the plane, which overlap a little, and these."""
    rng = np.random.RandomState(seed)
    weights, means = np.array([0.5, 0.3, 0.2]), np.array([[-4.0, 0], [3, 3], [3, -3]])
    covariances = np.array([[[1, 0.6], [0.6, 1]], [[0.5, 0], [0, 2]], [[1, -0.9], [-0.9, 1]]])
    labels = rng.choice(3, n, p=weights)
    x = np.array([rng.multivariate_normal(means[k], covariances[k]) for k in labels])
    return x, weights, means, covariances


def joint_log_prob(x, weights, means, covariances):
    """(K, n): log of weight times density."""
    result = []
    for weight, mean, covariance in zip(weights, means, covariances):
        root = np.linalg.cholesky(covariance)
        u = np.linalg.solve(root, (x - mean).T)
        determinant = np.log(np.diag(root)).sum()
        result.append(np.log(weight) - determinant - 0.5 * (u**2).sum(axis=0) - 0.5 * len(mean) * np.log(2 * np.pi))
    return np.array(result)


def log_prob(base, x):
    return logsumexp(joint_log_prob(x, base.weights, base.means, base.covariances), axis=0)


def correlated(correlation, n=1000):
    x = np.random.RandomState(0).normal(size=(n, 2))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    return x


def with_outlier(value):
    x = np.random.RandomState(0).normal(size=(500, 2))
    x[3] = value
    return x


def normal(*size):
    return np.random.RandomState(0).normal(size=size)


AWKWARD = {
    "one": lambda: normal(1, 3),
    "two": lambda: normal(2, 2),
    "two in one dimension": lambda: normal(2, 1),
    "three": lambda: normal(3, 5),
    "five": lambda: normal(5, 2),
    "one dimension": lambda: np.append(normal(500, 1) - 4, normal(500, 1) + 4)[:, None],
    "fewer than dimensions": lambda: normal(20, 40),
    "nearly the same": lambda: 1 + 1e-7 * normal(100, 2),
    "the same": lambda: np.full((100, 2), 0.1),
    "a constant column": lambda: np.hstack([normal(300, 2), np.full((300, 1), 0.1)]),
    "duplicates": lambda: np.repeat(normal(20, 2), 50, axis=0),
    "two values": lambda: np.random.RandomState(0).randint(0, 2, (500, 3)).astype(float),
    "many zeros": lambda: np.where(np.random.RandomState(1).uniform(size=(1000, 2)) < 0.3, 0, normal(1000, 2)),
    "an outlier": lambda: with_outlier(1e4),
    "an outlier beyond all": lambda: with_outlier(1e15),
    "correlated": lambda: correlated(0.9999),
    "a line": lambda: correlated(1),
    "five columns that are one": lambda: normal(1000, 1) * np.ones(5),
    "heavy tails": lambda: np.random.RandomState(0).standard_cauchy((1000, 3)),
    "heavier tails": lambda: np.random.RandomState(0).lognormal(0, 6, (1000, 2)),
    "scales": lambda: normal(500, 3) * [1e-8, 1, 1e8],
    "far from zero": lambda: normal(500, 2) + 1e6,
}
