"""Covariances of few factors: the core against eigendecompositions and against scikit-learn."""

import numpy as np
import pytest
from scipy import stats

from nvpflow import _core


def alternating(covariance, n_factors, n_steps):
    """Joreskog's alternation with exact eigenvectors."""
    scale = np.sqrt(np.diag(covariance))
    unique = np.full(len(scale), 0.5)
    for _ in range(n_steps):
        root = np.sqrt(unique)
        variances, axes = np.linalg.eigh(covariance / np.outer(scale * root, scale * root))
        loadings = root[:, None] * axes[:, -n_factors:] * np.sqrt(np.maximum(variances[-n_factors:] - 1, 0))
        unique = np.clip(1 - (loadings**2).sum(axis=1), 1e-3, 1)
    return (loadings @ loadings.T + np.diag(unique)) * np.outer(scale, scale)


def likelihood(model, covariance):
    return -0.5 * (np.linalg.slogdet(model)[1] + np.trace(np.linalg.solve(model, covariance)))


def samples_of_factors(dim, n_factors, n, seed):
    rng = np.random.default_rng(seed)
    loadings, scale = rng.normal(size=(dim, n_factors)), np.exp(rng.normal(size=dim))
    x = rng.normal(size=(n, n_factors)) @ loadings.T + rng.uniform(0.3, 1, dim) * rng.normal(size=(n, dim))
    return x * scale


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim, n_factors", [(2, 1), (3, 1), (9, 2), (12, 5), (30, 1), (30, 8), (60, 12)])
def test_likelihood(dim, n_factors, seed):
    covariance = np.cov(samples_of_factors(dim, n_factors + 2, 150, seed).T)
    found = likelihood(_core.factor_model(covariance, n_factors), covariance)
    assert found > likelihood(alternating(covariance, n_factors, 8), covariance) - 0.02
    assert found < likelihood(alternating(covariance, n_factors, 2000), covariance) + 0.02


@pytest.mark.parametrize("dim, n_factors", [(3, 1), (12, 2), (40, 5)])
def test_variances_are_kept(dim, n_factors):
    covariance = np.cov(samples_of_factors(dim, n_factors, 50, 0).T)
    model = _core.factor_model(covariance, n_factors)
    np.testing.assert_allclose(np.diag(model), np.diag(covariance), rtol=1e-12)
    np.testing.assert_allclose(model, model.T, rtol=1e-12)
    assert np.linalg.eigvalsh(model / np.sqrt(np.outer(np.diag(model), np.diag(model)))).min() > 5e-4


def test_scikit_learn():
    rng = np.random.RandomState(0)
    loadings, unique = rng.normal(size=(12, 2)), rng.uniform(0.3, 1, 12)
    exact = loadings @ loadings.T + np.diag(unique)
    scale = np.exp(rng.normal(size=12))
    found = _core.factor_model(exact * np.outer(scale, scale), 2) / np.outer(scale, scale)
    np.testing.assert_allclose(found, exact, atol=0.05)
    sklearn = pytest.importorskip("sklearn.decomposition")
    x = rng.multivariate_normal(np.zeros(12), exact, 300)
    other = sklearn.FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(x).get_covariance()
    ours = _core.factor_model(np.cov(x.T, bias=True), 2)
    held_out = rng.multivariate_normal(np.zeros(12), exact, 5000)
    theirs, mine = (stats.multivariate_normal(x.mean(axis=0), c).logpdf(held_out).mean() for c in (other, ours))
    assert abs(mine - theirs) < 0.01


@pytest.mark.parametrize("n_factors", [1, 2, 3])
def test_constant_and_equal_columns(n_factors):
    covariance = np.zeros((4, 4))
    covariance[:2, :2], covariance[2, 2] = 1.0, 4.0
    found = _core.factor_model(covariance, n_factors)
    np.testing.assert_allclose(found, covariance, atol=2e-3)
    assert np.isfinite(found).all() and found[3, 3] >= 0


def test_no_correlation():
    np.testing.assert_allclose(_core.factor_model(np.diag([1.0, 4.0, 9.0]), 2), np.diag([1.0, 4.0, 9.0]), atol=1e-8)


@pytest.mark.parametrize(
    "covariance, n_factors", [(np.eye(3), 0), (np.eye(3), 3), (np.eye(3, dtype="f4"), 1), (np.ones(3), 1), (np.eye(3)[:2], 1)]
)
def test_bad_arguments(covariance, n_factors):
    with pytest.raises(ValueError, match=r"covariance \(dim, dim\) must be .* number of factors"):
        _core.factor_model(covariance, n_factors)
