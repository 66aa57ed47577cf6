"""Densities of one dimension: normal mixtures of Marron and Wand (1992), Exact mean integrated squared error, table 1.

A row is weight, mean, standard deviation.
"""

import numpy as np

from quality.densities.mixtures import GaussianMixture


class Line(GaussianMixture):
    """A normal mixture of one dimension, given by its rows."""

    def __init__(self, rows):
        weights, means, deviations = np.array(rows, float).T
        super().__init__(weights, means[:, None], deviations[:, None, None] ** 2)


STRONGLY_SKEWED = Line([(1 / 8, 3 * ((2 / 3) ** k - 1), (2 / 3) ** k) for k in range(8)])
KURTOTIC = Line([(2 / 3, 0, 1), (1 / 3, 0, 1 / 10)])
OUTLIER = Line([(1 / 10, 0, 1), (9 / 10, 0, 1 / 10)])
SKEWED_BIMODAL = Line([(3 / 4, 0, 1), (1 / 4, 3 / 2, 1 / 3)])
SEPARATED_BIMODAL = Line([(1 / 2, -3 / 2, 1 / 2), (1 / 2, 3 / 2, 1 / 2)])
CLAW = Line([(1 / 2, 0, 1)] + [(1 / 10, k / 2 - 1, 1 / 10) for k in range(5)])
ASYMMETRIC_CLAW = Line([(1 / 2, 0, 1)] + [(2.0 ** (1 - k) / 31, k + 1 / 2, 2.0**-k / 10) for k in range(-2, 3)])
SMOOTH_COMB = Line([(2.0 ** (5 - k) / 63, (65 - 96 / 2**k) / 21, 32 / 63 / 2**k) for k in range(6)])
DISCRETE_COMB = Line(
    [(2 / 7, (12 * k - 15) / 7, 2 / 7) for k in range(3)] + [(1 / 21, 2 * k / 7, 1 / 21) for k in range(8, 11)]
)
