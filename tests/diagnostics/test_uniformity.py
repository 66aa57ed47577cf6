"""Ranks among samples, their tests, and the classifiers."""

import math

import numpy as np
import pytest

from nvpflow.diagnostics._baselines import Normals
from nvpflow.diagnostics._two_sample import two_sample_tests
from nvpflow.diagnostics._uniformity import (
    binomial_p_value,
    expected_distance,
    kolmogorov_distance,
    kolmogorov_p_value,
    pit,
)


def test_ranks_of_continuous_and_discrete_values_are_uniform():
    rng = np.random.default_rng(0)
    for draw in (rng.normal, lambda size: rng.poisson(1.5, size).astype(float)):
        for shape in ((4000,), (2000, 30)):
            u = pit(draw(size=2000), draw(size=shape), rng)
            assert kolmogorov_p_value(kolmogorov_distance(u), 1300) > 1e-3
    assert pit(np.array([-9.0, 9.0, -np.inf]), np.zeros(99), rng) == pytest.approx([0.005, 0.995, 0.005], abs=0.0051)


def test_kolmogorov_distance_and_its_distribution():
    assert kolmogorov_distance(np.array([0.1, 0.4, 0.9])) == pytest.approx(2 / 3 - 0.4)
    assert kolmogorov_distance(np.array([0.9])) == pytest.approx(0.9)
    distances = np.array([kolmogorov_distance(u) for u in np.random.default_rng(0).random((4000, 50))])
    assert distances.mean() == pytest.approx(expected_distance(50), rel=0.02)
    for level in (0.01, 0.1, 0.5):
        rate = np.mean([kolmogorov_p_value(distance, 50) < level for distance in distances])
        assert rate == pytest.approx(level, abs=4 * math.sqrt(level / 4000))
    assert kolmogorov_p_value(0.0, 50) == 1.0


def test_binomial_p_values():
    for n, p, k in ((20, 0.5, 14), (50, 0.9, 40), (7, 0.9, 7)):
        pmf = [math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)]
        expected = min(1, 2 * min(sum(pmf[: k + 1]), sum(pmf[k:])))
        assert binomial_p_value(k / n, p, n) == pytest.approx(expected)


def test_classifiers_keep_their_level_and_have_power():
    p_values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tests = two_sample_tests(rng.normal(size=(100, 3)), rng.normal(size=(100, 3)), rng)
        p_values.append([test.p_value for test in tests])
        errors.append([(test.auc - 0.5) / test.error for test in tests])
    assert (np.mean(np.array(p_values) <= 0.05, axis=0) < 0.2).all()
    np.testing.assert_allclose(np.std(errors, axis=0), 1, atol=0.35)
    shifted = two_sample_tests(rng.normal(size=(300, 3)) + 0.7, rng.normal(size=(300, 3)), rng)
    assert all(test.p_value == 1 / 200 and test.auc > 0.6 for test in shifted)


def test_shrinkage_is_that_of_oas():
    covariance = pytest.importorskip("sklearn.covariance")
    x = np.random.default_rng(0).normal(size=(30, 60)) @ np.random.default_rng(1).normal(size=(60, 60))
    fitted = Normals.of_one(x, 60)
    z = (x - fitted.centre) / fitted.scale
    expected = covariance.OAS(assume_centered=True).fit(z)  # leaves out 2 / D
    assert 0.1 < expected.shrinkage_ < 0.9
    np.testing.assert_allclose(fitted.covariances[0], expected.covariance_, atol=0.02)


def test_a_mixture_given_columns_is_a_density():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + [4, 8]]
    fitted = Normals.of_several(x, 1, seed=0)
    grid = np.linspace(-10, 15, 4000)
    for c in (0.0, 4.0):
        density = np.exp(fitted.log_prob(np.c_[grid, np.full_like(grid, c)]))
        assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)
