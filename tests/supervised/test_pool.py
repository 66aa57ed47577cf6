"""The parts of the classifier: regularised normal distributions, and the pool of opinions."""

import numpy as np
import pytest

from nvpflow.supervised._normals import ClassNormals
from nvpflow.supervised._pool import fit_pool, log_ratios, log_softmax, objective_of

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 3, 200)
EXPERTS = np.stack([log_ratios(RNG.normal(size=(200, 3)) * s + t * np.eye(3)[CODES]) for s, t in [(3, 2), (2, 1.5), (1, -2)]])
LOG_PRIORS = np.log([0.2, 0.3, 0.5])
WEIGHT = RNG.uniform(0.5, 2, size=200)


def test_the_pool_is_at_the_minimum():
    pool, value = fit_pool(EXPERTS, LOG_PRIORS, CODES, WEIGHT)
    assert value == objective_of(pool, EXPERTS, LOG_PRIORS, CODES, WEIGHT)
    assert pool[2] == 0 and (pool[:2] > 0.05).all()  # the third expert is worse than none
    for step in np.eye(3) * 1e-4:
        for moved in (pool + step, pool - step):
            if (moved >= 0).all():
                assert objective_of(moved, EXPERTS, LOG_PRIORS, CODES, WEIGHT) > value
    rest = 1e-4 * np.array([1, 0, 0])
    above, below = (objective_of(pool + sign * rest, EXPERTS, LOG_PRIORS, CODES, WEIGHT) for sign in (1, -1))
    assert abs(above - below) / 2e-4 < 1e-3


def test_separable_classes_keep_the_weights_finite():
    pool, _ = fit_pool(log_ratios(20 * np.eye(3)[CODES])[np.newaxis], LOG_PRIORS, CODES)
    assert 0.9 < pool[0] < 2


def test_log_ratios():
    found = log_ratios(np.array([[1.0, 3.0], [-np.inf, 0.0], [-np.inf, -np.inf], [-1e9, 5.0]]))
    np.testing.assert_array_equal(found, [[-2, 0], [-1000, 0], [0, 0], [-1000, 0]])
    np.testing.assert_allclose(np.exp(log_softmax(found)).sum(axis=1), 1)


def test_normals_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = RNG.normal(size=(200, 3)) @ [[1, 2, 0], [0, 1, 1], [0, 0, 3]] + CODES[:, None]
    own = ClassNormals.fit(x, CODES, None, 3, (0, 0)).log_prob(x)
    means = [x[c == CODES].mean(axis=0) for c in range(3)]
    expected = [stats.multivariate_normal(means[c], np.cov(x[c == CODES].T, ddof=0)).logpdf(x) for c in range(3)]
    np.testing.assert_allclose(own - own[:, :1], np.stack(expected, axis=1) - expected[0][:, None], atol=1e-3)
    residuals = x - np.array(means)[CODES]
    pooled = ClassNormals.fit(x, CODES, None, 3, (1, 0)).log_prob(x)
    expected = [stats.multivariate_normal(mean, residuals.T @ residuals / 200).logpdf(x) for mean in means]
    np.testing.assert_allclose(pooled - pooled[:, :1], np.stack(expected, axis=1) - expected[0][:, None], atol=1e-3)
    scaled = ClassNormals.fit(x * [1, 1e3, 1e-3] + 1e3, CODES, WEIGHT, 3, (0.5, 0.2))
    again = ClassNormals.fit(x, CODES, WEIGHT, 3, (0.5, 0.2))
    ratios = [log_ratios(scaled.log_prob(x * [1, 1e3, 1e-3] + 1e3)), log_ratios(again.log_prob(x))]
    np.testing.assert_allclose(*ratios, atol=1e-5)
