"""Passes of expectation-maximisation: sums over parts are those over all rows; bad arrays are errors."""

import numpy as np
import pytest

from nvpflow import _core
from nvpflow._training.em import Mixture, Samples
from nvpflow._training.kmeans import Clusters


def mixture_of(x, k=4):
    samples = Samples(x, None)
    mixture = Mixture(samples, k, 0.3)
    mixture.start(Clusters(x, None, np.random.default_rng(0)))
    return samples.prior.for_core(0.3), mixture._copies()


def zeros(mixture):
    return [np.zeros_like(part) for part in mixture]


def rows(n, dim, dtype):
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=(n, dim)), 0.3 * rng.normal(size=(n, dim)) + 1]).astype(dtype)


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_step_of_sums_over_parts(dim, dtype, tolerance):
    x = rows(500, dim, dtype)
    prior, expected = mixture_of(x)
    start = [part.copy() for part in expected]
    nll = _core.em(x, None, None, None, None, *expected, prior, 1, 0.0)
    sums, total = zeros(start), 0.0
    for part in np.split(x, [3, 400, 999]):
        total += _core.em_sums(np.ascontiguousarray(part), *start, *sums)
    assert total / len(x) == pytest.approx(nll, rel=tolerance)
    assert sums[0].sum() == pytest.approx(len(x))
    _core.em_step(len(x), dtype == np.float32, prior, *start, *sums)
    for found, wanted in zip(start, expected):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=10 * tolerance)


def test_sums_are_added():
    x = rows(50, 2, np.float64)
    _, mixture = mixture_of(x)
    once, twice = zeros(mixture), zeros(mixture)
    _core.em_sums(x, *mixture, *once)
    for _ in range(2):
        _core.em_sums(x, *mixture, *twice)
    for one, two in zip(once, twice):
        np.testing.assert_allclose(two, 2 * one)


def test_bad_arrays():
    x = rows(50, 2, np.float64)
    prior, mixture = mixture_of(x)
    sums = zeros(mixture)
    for bad in (x[:, :1].copy(), x[::2], x.astype(int), x[:0], x[:, 0].copy()):
        with pytest.raises(ValueError, match=r"x \(n, dim\) one of float32 or float64"):
            _core.em_sums(bad, *mixture, *sums)
    locked = [part.copy() for part in sums]
    locked[2].flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        _core.em_sums(x, *mixture, *locked)
    with pytest.raises(ValueError, match="writeable"):
        _core.em_step(len(x), False, prior, *locked, *sums)
    with pytest.raises(ValueError, match="contiguous arrays of float64"):
        _core.em_step(0, False, prior, *mixture, *sums)
    with pytest.raises(ValueError, match="contiguous arrays of float64"):
        _core.em_step(len(x), False, prior, *mixture, sums[0][:2].copy(), *sums[1:])
    mixture[2][0] = -np.eye(2)
    with pytest.raises(ValueError, match="covariances must be positive definite"):
        _core.em_sums(x, *mixture, *sums)
    with pytest.raises(ValueError, match="covariances must be positive definite"):
        _core.em_step(len(x), False, prior, *mixture, *sums)
