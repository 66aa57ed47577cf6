"""Digests: twelve numbers that represent an array, and the estimates of errors from them.

A digest holds the 2-norm of the array, at most `N_ENTRIES` of its entries, and its products with `N_DIRECTIONS` random
directions of unit variance. The product of an error e with such a direction has the mean square |e|^2. So the digest
estimates the relative error |e| / |array| of the whole array.
"""

from functools import cache

import numpy as np

N_ENTRIES = 8
N_DIRECTIONS = 3
LENGTH = 1 + N_ENTRIES + N_DIRECTIONS


@cache
def _stream(n):
    return np.random.RandomState(0).standard_normal(n)


def _directions(size):
    n = N_DIRECTIONS * size
    return _stream(max(300_000, n))[:n].reshape(N_DIRECTIONS, size)


@cache
def _positions(size):
    return np.sort(np.random.RandomState(size).choice(size, min(size, N_ENTRIES), replace=False))


def digest(array):
    """The digest (12,) of an array of any shape, in float64. Missing entries are 0."""
    flat = np.asarray(array, np.float64).ravel()
    result = np.zeros(LENGTH)
    if flat.size:
        entries = flat[_positions(flat.size)]
        result[0] = np.linalg.norm(flat)
        result[1 : 1 + len(entries)] = entries
        result[1 + N_ENTRIES :] = _directions(flat.size) @ flat
    return result


def digest_error(array, expected):
    """Estimate the relative error of an array from the digest of the expected one: the largest of three estimates.

    These are the error of the norm, the root mean square error of the entries relative to that of the array, and the root
    mean square error of the products relative to the norm. If the array should be zero, the error is absolute.
    """
    size = np.size(array)
    if size == 0:
        return 0.0
    difference, norm = np.abs(digest(array) - expected), expected[0]
    entries, products = difference[1 : 1 + N_ENTRIES], difference[1 + N_ENTRIES :]
    error = max(
        difference[0],
        np.sqrt(np.sum(entries**2) * size / min(size, N_ENTRIES)),
        np.sqrt(np.mean(products**2)),
    )
    return _relative(error, norm)


def norm_error(array, expected):
    """Relative error ``|array - expected| / |expected|`` in the 2-norm."""
    expected = np.asarray(expected, np.float64)
    return _relative(np.linalg.norm(array - expected), np.linalg.norm(expected))


def _relative(error, norm):
    """The relative error. NaN becomes infinity, so that no comparison passes."""
    error = error / norm if norm > 0 else error
    return float(error) if np.isfinite(error) else np.inf
