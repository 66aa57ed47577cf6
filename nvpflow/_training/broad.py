"""Broad normal distributions, by which a sample far out has a density."""

from __future__ import annotations

import numpy as np

from nvpflow._training.tails import Tails
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase, concatenated

__all__ = ["SHARE_OF_FLOOR", "broad_normals", "with_floor"]

# In standard deviations of the columns. Each has its own share of an average: with one for the five of them log-densities were
# 0.01 to 0.03 nats lower (three tables), and samples had up to 12 times the deviation of the data, now 1.6 times.
WIDTHS = (2.0, 4.0, 8.0, 16.0, 32.0)
# All together they are a floor. They have at least this share of an average, unless it is one normal distribution of columns
# as they are, and of the base below layers that are kept. No sample is likely to come from them. A row far out has a
# log-density of -89 by an average, where it was -76,000 (macrodata, a table with nearly collinear columns), and of -24 below
# layers, where it was -10,500 (thirty deviations from a checkerboard).
SHARE_OF_FLOOR = 1e-6


def broad_normals(x: Floats, tails: Tails | None, *, of_floor: bool = False) -> tuple[Floats, Floats]:
    """Means and deviations (M, D) of broad normals, each of which differs from the others.

    `x`: samples (n, D) of about unit deviation, on which limits of some columns depend. `of_floor`: within those of a floor.
    """
    dim = x.shape[1]
    means, deviations = np.zeros((len(WIDTHS), dim)), np.outer(WIDTHS, np.ones(dim))
    if tails is not None:
        means, deviations = tails.broad(x, deviations, of_floor=of_floor)
        deviations, first = np.unique(deviations, axis=0, return_index=True)
        means = means[first]
    return means, deviations


def with_floor(base: MixtureBase, x: Floats, tails: Tails | None) -> MixtureBase:
    """The mixture with a floor of broad normals, or as it is if a fit before has given it one. `x`, `tails`: as above."""
    means, deviations = broad_normals(x, tails, of_floor=True)
    k, dim = means.shape
    covariances = deviations[:, np.newaxis] ** 2 * np.eye(dim)
    floor = MixtureBase(np.ones(k), means, covariances, dtype=base.dtype)
    far_out = 2 * deviations.max(axis=0, keepdims=True)
    if base.log_prob(far_out) > floor.log_prob(far_out) + np.log(SHARE_OF_FLOOR / 2):
        return base
    base = base.copy()
    for part, share in ((base, 1 - SHARE_OF_FLOOR), (floor, SHARE_OF_FLOOR)):
        part.logits[:] = np.log(part.weights * share)
    return concatenated([base, floor])
