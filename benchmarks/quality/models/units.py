"""Models that are fitted to columns of mean 0 and deviation 1, their densities taken back to the units of the data."""

import functools

import numpy as np


def standardized(fit):
    """`fit`, a model, on standardised samples and contexts."""

    @functools.wraps(fit)
    def fit_standardized(*arguments):
        *samples, seed = arguments
        units = [(part.mean(axis=0), part.std(axis=0)) for part in samples]
        log_prob = fit(*_standardize(samples, units), seed)
        log_det = np.log(units[0][1]).sum()
        return lambda *points: log_prob(*_standardize(points, units)) - log_det

    return fit_standardized


def _standardize(parts, units):
    return [(part - mean) / deviation for part, (mean, deviation) in zip(parts, units)]
