"""Covariances of components: the core against plain NumPy."""

import numpy as np
import pytest

from nvpflow import _core
from nvpflow._training.covariances import CovariancePrior, _normals_without
from support.covariances import reference_covariances
from support.marks import every_dim


def components(dim, k, seed=0, widths=(0.05, 1.0)):
    """Mean squares times shares, of components of which some are much narrower than others."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(k, dim, dim)) * rng.choice(widths, size=k)[:, None, None]
    shares = rng.dirichlet(np.ones(k))
    return roots @ roots.transpose(0, 2, 1) * shares[:, None, None], shares


def prior_of(dim, n=3000.0, seed=0):
    return CovariancePrior(np.random.default_rng(seed).normal(size=(200, dim)), None, n)


@pytest.mark.parametrize("samples", [0.0, 0.03, 1.0, np.inf])
@pytest.mark.parametrize("k", [1, 2, 12])
@every_dim
def test_covariances(dim, k, samples):
    prior, (squares, shares) = prior_of(dim), components(dim, k)
    before = squares.copy()
    found = prior.covariances(squares, shares, samples)
    np.testing.assert_allclose(found, reference_covariances(prior, squares, shares, samples), rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(squares, before)


def test_wide_prior_of_large_components_is_limited():
    squares, shares = np.array([0.5 * 1e-4 * np.eye(2), 0.5 * np.eye(2)]), np.array([0.5, 0.5])
    prior = prior_of(2)
    found = prior.covariances(squares, shares, np.inf)
    # 10 times its own width, and not the pooled 0.5.
    np.testing.assert_allclose(np.diagonal(found[0]), 10 * 1e-4, rtol=1e-2)
    np.testing.assert_allclose(np.diagonal(found[1]), 0.5, rtol=1e-2)


@pytest.mark.parametrize("n", [200.0, 5000.0])
def test_repeated_values(n):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(4, size=400), rng.normal(size=(400, 2))])
    prior = CovariancePrior(x / x.std(axis=0), None, n)
    assert prior.repeated.tolist() == [True, False, False]
    squares, shares = components(3, 5, widths=(1.0,))
    squares[1, 0] = squares[1, :, 0] = 0  # holds one value
    found = prior.covariances(squares, shares, 0.3)
    np.testing.assert_allclose(found, reference_covariances(prior, squares, shares, 0.3), rtol=1e-9)
    if n == 5000:
        assert found[1, 0, 0] == prior.floor[0]


def test_rounded_columns_may_be_tied_to_each_other():
    x = np.random.default_rng(0).normal(size=(400, 1)).round(2)
    x = np.column_stack([x, x, np.arange(400) / 200])
    prior = CovariancePrior(x, None, 400.0)
    assert prior.repeated.tolist() == [True, True, False]
    tied, one_value = np.ones((3, 3)) + np.diag([0, 0, 1.0]), np.diag([0, 0, 1.0])
    for found in [prior.covariances(np.array([tied, one_value]) / 2, np.array([0.5, 0.5]), 0.0), prior.regular(tied[None])]:
        np.testing.assert_allclose(found[0], tied, atol=prior.floor[0])
        across = np.array([1, -1]) / 2**0.5
        assert 0 < across @ found[0][:2, :2] @ across < 0.02 * prior.floor[0]
    of_one_value = prior.covariances(np.array([tied, one_value]) / 2, np.array([0.5, 0.5]), 0.0)[1]
    np.testing.assert_array_equal(np.diag(of_one_value)[:2], prior.floor[:2])


@pytest.mark.parametrize(("dim", "n_factors"), [(3, 1), (9, 2), (12, 5), (20, 3)])
def test_factors(dim, n_factors):
    prior, (squares, shares) = prior_of(dim), components(dim, 6)
    plain = prior.covariances(squares, shares, 1.0)
    prior.n_factors = n_factors
    found = prior.covariances(squares, shares, 1.0)
    np.testing.assert_allclose(found, reference_covariances(prior, squares, shares, 1.0), rtol=1e-9, atol=1e-13)
    assert np.abs(found - plain).max() > 1e-3


@pytest.mark.parametrize("n_factors", [-1, 3, 2**70])
def test_numbers_of_factors_are_checked(n_factors):
    prior, (squares, shares) = prior_of(3), components(3, 2)
    *others, _ = prior.for_core(1.0)
    with pytest.raises((ValueError, OverflowError), match=r"number of factors|too large"):
        _core.covariances(squares, shares, (*others, n_factors))


def test_constant_column():
    prior, (squares, shares) = prior_of(3), components(3, 4)
    squares[:, 1] = squares[:, :, 1] = 0
    found = prior.covariances(squares, shares, 1.0)
    np.testing.assert_allclose(found, reference_covariances(prior, squares, shares, 1.0), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    "place, bad", [(0, np.ones((4, 3, 2))), (0, np.ones((4, 3, 3), "f4")), (1, np.ones(3)), (1, np.ones(0))]
)
def test_bad_arrays(place, bad):
    arguments = [*components(3, 4), prior_of(3).for_core(1.0)]
    arguments[place] = bad
    with pytest.raises(ValueError, match="squares .* and shares"):
        _core.covariances(*arguments)


@pytest.mark.parametrize("place, bad", [(3, np.ones(4)), (4, np.ones(0)), (5, np.ones(2)), (6, np.ones(2)), (6, "no")])
def test_bad_prior(place, bad):
    prior = list(prior_of(3).for_core(1.0))
    prior[place] = bad
    with pytest.raises(ValueError, match="limits .* floor .* repeated"):
        _core.covariances(*components(3, 4), tuple(prior))


def test_normals_without_a_fold_do_not_feel_what_it_holds():
    rng = np.random.default_rng(0)
    x, share = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)), rng.dirichlet(np.ones(50))
    x[3] = 1e9  # what is subtracted again leaves its rounding errors
    folds = [slice(0, 10), slice(10, 25), slice(25, 50)]
    means, deviations, variances, axes = _normals_without(x, share, folds)
    for k, fold in enumerate(folds):
        others, weight = np.delete(x, fold, axis=0), np.delete(share, fold)
        covariance = np.cov(others.T, bias=True, aweights=weight)
        np.testing.assert_allclose(means[k], np.average(others, axis=0, weights=weight), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(deviations[k], np.sqrt(np.diag(covariance)), rtol=1e-9)
        correlation = covariance / np.outer(deviations[k], deviations[k])
        np.testing.assert_allclose(axes[k] * variances[k] @ axes[k].T, correlation, atol=1e-9)
