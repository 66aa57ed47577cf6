"""Shared samples."""

import numpy as np


def moons(n, noise=0.1):
    """Two interleaving half circles with normal noise, as in scikit-learn, (n, 2)."""
    rng = np.random.RandomState(0)
    angle, lower = rng.uniform(0, np.pi, n), np.arange(n) % 2
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + rng.normal(0, noise, (n, 2))
