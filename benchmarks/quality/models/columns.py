"""Columns with a support as real ones, for models of reals, and the densities of these in the units of the data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from quality.densities.density import LOG_2PI
from quality.supports import is_whole

N_NOISE = 16  # points of noise by which the mass of a row of whole numbers is averaged


class Fitted(NamedTuple):
    """A log-density, and a function from a number of samples and a numpy Generator to samples, shape (n, D)."""

    log_prob: Callable
    sample: Callable

    def __call__(self, points):
        return self.log_prob(points)


class RealColumns:
    """Logarithms of positive numbers and normal scores of those in the unit interval, all of mean 0 and deviation 1.

    Whole numbers get uniform noise in [0, 1). Angles stay numbers like others.
    """

    def __init__(self, x, support, seed):
        self.support = support
        self.whole = [d for d, kind in enumerate(support) if is_whole(kind)]
        transformed, _ = self._transform(with_noise(x, self.whole, np.random.default_rng(seed)))
        self.mean, self.deviation = transformed.mean(axis=0), transformed.std(axis=0)
        self.reals = (transformed - self.mean) / self.deviation

    def _transform(self, x):
        """The columns without bounds, and the logarithm of the derivative, summed over the columns."""
        columns, log_slopes = [], np.zeros(len(x))
        for column, kind in zip(x.T, self.support):
            if kind == (0, 1):
                columns.append(ndtri(column))
                log_slopes += 0.5 * columns[-1] ** 2 + 0.5 * LOG_2PI
            elif kind == (0, None):
                columns.append(np.log(column))
                log_slopes -= columns[-1]
            else:
                columns.append(column)
        return np.stack(columns, axis=1), log_slopes

    def fitted(self, log_prob, sample):
        """`log_prob` and `sample` of the reals, as those of the columns. Of whole numbers the noise is averaged out."""

        def of_points(points):
            transformed, log_slopes = self._transform(points)
            return log_prob((transformed - self.mean) / self.deviation) + log_slopes - np.log(self.deviation).sum()

        return Fitted(lambda points: noise_averaged(of_points, points, self.whole), lambda n, rng: self._back(sample(n, rng)))

    def _back(self, reals):
        x = reals * self.deviation + self.mean
        for d, kind in enumerate(self.support):
            if kind == (0, 1):
                x[:, d] = ndtr(x[:, d])
            elif kind == (0, None):
                x[:, d] = np.exp(x[:, d])
        x[:, self.whole] = np.floor(x[:, self.whole])
        return x


def with_noise(x, whole, rng, part=0, n_parts=1):
    """`x` with noise in its columns of whole numbers, uniform in one of `n_parts` equal parts of [0, 1), or in all of it."""
    noisy = x.astype(np.float64)
    noisy[:, whole] += (part + rng.random((len(x), len(whole)))) / n_parts
    return noisy


def noise_averaged(log_prob, points, whole):
    """The log-density in the columns that are not `whole`, and log-probability in those: an average over [k, k + 1).

    The noise is stratified: each column of whole numbers has one value in each of N_NOISE equal parts.
    """
    if not whole:
        return log_prob(points)
    rng = np.random.default_rng(0)
    parts = rng.permuted(np.tile(np.arange(N_NOISE), (len(whole), 1)), axis=1)
    logs = [log_prob(with_noise(points, whole, rng, part, N_NOISE)) for part in parts.T]
    return logsumexp(logs, axis=0) - np.log(N_NOISE)
