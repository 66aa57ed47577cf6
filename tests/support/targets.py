"""A target with a known evidence, for samplers."""

import numpy as np

MEAN, CHOLESKY = np.array([1.0, -2.0]), np.array([[2.0, 0.0], [0.6, 0.5]])
LOG_EVIDENCE = 3.0


def log_prob(x):
    """N(MEAN, CHOLESKY CHOLESKY^T) times exp(LOG_EVIDENCE), (n, 2) -> (n,)."""
    z = np.linalg.solve(CHOLESKY, (x - MEAN).T).T
    return LOG_EVIDENCE - 0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi * np.linalg.det(CHOLESKY))
