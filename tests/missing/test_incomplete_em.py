"""Mixtures fitted to rows with missing cells, and their marginals and conditionals."""

import numpy as np
import pytest

import nvpflow
from nvpflow import _core
from nvpflow._normal import probit
from nvpflow._training.covariances import CovariancePrior
from nvpflow.missing._em import IncompleteMixture, fit_incomplete
from nvpflow.missing._patterns import patterns
from nvpflow.missing._split_mixture import SplitMixture

COVARIANCE = np.array([[1.0, 0.7, -0.3], [0.7, 2.0, 0.2], [-0.3, 0.2, 0.5]])
MIXTURE = ([0.4, 0.6], [[0.0, 1.0, -1.0], [2.0, -1.0, 0.0]], [COVARIANCE, np.eye(3)])
PATTERNS = [[0, 0, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]


def normal_log_density(x, mean, covariance):
    offsets = x - mean
    squares = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets)
    return -0.5 * (squares + np.linalg.slogdet(covariance)[1] + len(mean) * np.log(2 * np.pi))


def log_marginal(x, present):
    """Log-density of the present columns x (n, d) of the mixture."""
    terms = [
        np.log(weight) + normal_log_density(x, np.array(mean)[present], np.array(covariance)[np.ix_(present, present)])
        for weight, mean, covariance in zip(*MIXTURE)
    ]
    return np.logaddexp(*terms)


def with_holes(x, share, seed=0):
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)


def test_patterns_cover_all_rows_once():
    missing = np.random.default_rng(0).random((50, 11)) < 0.2
    rows = np.concatenate([rows for _, rows in patterns(missing)])
    assert sorted(rows) == list(range(50))
    assert all((missing[rows] == pattern).all() for pattern, rows in patterns(missing))


def test_probit():
    assert np.allclose(probit(np.array([[0.5, 0.975, 0.025]])), [[0, 1.959963985, -1.959963985]], atol=1e-8)
    assert np.isfinite(probit(np.array([0.0, 1.0]))).all()


class TestSplitMixture:
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_marginal_density(self, pattern):
        missing = np.array(pattern, bool)
        split = SplitMixture.of(nvpflow.MixtureBase(*MIXTURE, dtype="float64"), missing)
        x = np.random.default_rng(0).normal(size=(20, 3))[:, ~missing]
        assert np.allclose(split.log_prob(x), log_marginal(x, np.flatnonzero(~missing)), atol=1e-12)
        assert np.allclose(np.logaddexp.reduce(split.log_terms(x), axis=1), split.log_prob(x), atol=1e-12)

    def test_conditional_draws(self):
        base = nvpflow.MixtureBase([1], [[1.0, 2.0, 3.0]], [COVARIANCE], dtype="float64")
        split = SplitMixture.of(base, np.array([False, True, True]))
        uniforms = np.random.default_rng(0).random((1, 200_000, 2))
        drawn = split.draw(np.array([[2.5]]), uniforms)[0]
        slopes = COVARIANCE[1:, 0] / COVARIANCE[0, 0]
        assert np.allclose(drawn.mean(axis=0), [2, 3] + slopes * 1.5, atol=0.02)
        assert np.allclose(np.cov(drawn.T), COVARIANCE[1:, 1:] - np.outer(slopes, COVARIANCE[0, 1:]), atol=0.03)

    def test_draws_choose_components_by_their_posterior(self):
        split = SplitMixture.of(nvpflow.MixtureBase(*MIXTURE, dtype="float64"), np.array([False, True, False]))
        x = np.array([[1.2, -0.6]])
        drawn = split.draw(x, np.random.default_rng(0).random((1, 100_000, 1)))[0, :, 0]
        grid = np.linspace(-8, 8, 4001)
        density = np.exp(log_marginal(np.insert(np.tile(x, (len(grid), 1)), 1, grid, axis=1), [0, 1, 2]))
        expected = np.cumsum(density) / density.sum()
        assert np.abs(np.searchsorted(np.sort(drawn), grid) / len(drawn) - expected).max() < 0.01

    def test_no_present_columns(self):
        split = SplitMixture.of(nvpflow.MixtureBase(*MIXTURE, dtype="float64"), np.ones(3, bool))
        drawn = split.draw(np.empty((1, 0)), np.random.default_rng(0).random((1, 100_000, 3)))[0]
        assert np.allclose(drawn.mean(axis=0), np.array(MIXTURE[0]) @ MIXTURE[1], atol=0.03)
        assert (split.log_prob(np.empty((4, 0))) == 0).all()


class TestEM:
    def test_one_normal_distribution_reaches_the_maximum_of_the_likelihood(self):
        # Two columns, the second missing where the first is large: the maximum has a closed form, by regression.
        rng = np.random.default_rng(0)
        x = rng.normal(size=(4000, 2)) @ np.linalg.cholesky([[1, 0.8], [0.8, 1]]).T
        x[x[:, 0] > 0.3, 1] = np.nan
        mixture = IncompleteMixture(x, None, CovariancePrior(np.nan_to_num(x), None, len(x)))
        mixture.prior.shrinkage = 0.0
        mixture.weights, mixture.means, mixture.covariances = np.ones(1), np.zeros((1, 2)), np.eye(2)[np.newaxis]
        for _ in range(300):
            mixture._step()
        seen = ~np.isnan(x[:, 1])
        slope, intercept = np.polyfit(x[seen, 0], x[seen, 1], 1)
        left = np.mean((x[seen, 1] - intercept - slope * x[seen, 0]) ** 2)
        mean, variance = x[:, 0].mean(), x[:, 0].var()
        assert np.allclose(mixture.means[0], [mean, intercept + slope * mean], atol=0.01)
        expected = [[variance, slope * variance], [slope * variance, left + slope**2 * variance]]
        assert np.allclose(mixture.covariances[0], expected, atol=0.02)

    def test_complete_rows_as_the_core(self):
        x = nvpflow.MixtureBase(*MIXTURE, dtype="float64").sample(500, 0)
        prior = CovariancePrior(x, None, len(x))
        mixture = IncompleteMixture(x, None, prior)
        mixture.weights, mixture.means, mixture.covariances = (np.array(part) for part in MIXTURE)
        nll = mixture._step()
        assert nll == pytest.approx(-log_marginal(x, [0, 1, 2]).mean(), abs=1e-10)

    def test_likelihood_never_falls(self):
        x = with_holes(nvpflow.MixtureBase(*MIXTURE, dtype="float64").sample(600, 0), 0.3)
        x = x[~np.isnan(x).all(axis=1)]
        prior = CovariancePrior(np.nan_to_num(x), None, 1e9)  # so many samples that the prior says nothing
        mixture = IncompleteMixture(x, None, prior)
        mixture.weights, mixture.means, mixture.covariances = (
            np.ones(2) / 2,
            np.array([[0.0] * 3, [1.0] * 3]),
            np.array([np.eye(3)] * 2),
        )
        steps = np.array([mixture._step() for _ in range(40)])
        assert (np.diff(steps) < 1e-6).all()

    def test_number_of_components_and_density(self):
        whole = nvpflow.MixtureBase(*MIXTURE, dtype="float64").sample(4000, 0)
        x = with_holes(whole, 0.3)
        x = x[~np.isnan(x).all(axis=1)]
        mixture = fit_incomplete(x, np.where(np.isnan(x), 0.5, x), None, 0)
        found = nvpflow.MixtureBase(mixture.weights, mixture.means, mixture.covariances, dtype="float64")
        assert np.mean(log_marginal(whole, [0, 1, 2]) - found.log_prob(whole)) < 0.03
        assert mixture.k == 2

    def test_weights_are_counts(self):
        x = with_holes(nvpflow.MixtureBase(*MIXTURE, dtype="float64").sample(60, 0), 0.2)
        x = x[~np.isnan(x).all(axis=1)]
        times = np.arange(len(x)) % 3 + 1
        prior = CovariancePrior(np.nan_to_num(x), None, 100)
        found = []
        for rows, weight in ((x, times.astype(float)), (np.repeat(x, times, axis=0), None)):
            mixture = IncompleteMixture(rows, weight, prior)
            mixture.weights, mixture.means, mixture.covariances = (np.array(part) for part in MIXTURE)
            found.append((mixture._step(), mixture.means, mixture.covariances))
        for first, second in zip(*found):
            assert np.allclose(first, second)

    def test_sums_of_the_core(self):
        """The C core against the formulas in NumPy, row by row."""
        x = with_holes(np.random.default_rng(0).normal(size=(60, 5)), 0.4)
        x = x[~np.isnan(x).all(axis=1)]
        rng = np.random.default_rng(1)
        weights, means = rng.dirichlet([2, 2, 2]), rng.normal(size=(3, 5))
        covariances, share = np.array([np.cov(rng.normal(size=(5, 20))) for _ in range(3)]), rng.random(len(x))
        expected = [0.0, np.zeros(3), np.zeros((3, 5)), np.zeros((3, 5, 5))]
        for row, own in zip(x, share):
            o, m = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
            terms, offsets, left = np.empty(3), np.zeros((3, 5)), np.zeros((3, 5, 5))
            for k, (mean, covariance) in enumerate(zip(means, covariances)):
                block = covariance[np.ix_(o, o)]
                terms[k] = np.log(weights[k]) + normal_log_density(row[np.newaxis, o], mean[o], block)[0]
                slopes = np.linalg.solve(block, covariance[np.ix_(o, m)]).T
                offsets[k, o], offsets[k, m] = row[o] - mean[o], slopes @ (row[o] - mean[o])
                left[k][np.ix_(m, m)] = covariance[np.ix_(m, m)] - slopes @ covariance[np.ix_(o, m)]
            total = np.logaddexp.reduce(terms)
            part = own * np.exp(terms - total)
            expected[0] -= own * total
            expected[1] += part
            expected[2] += part[:, None] * offsets
            expected[3] += part[:, None, None] * (offsets[:, :, None] * offsets[:, None] + left)
        sums = np.zeros(3), np.zeros((3, 5)), np.zeros((3, 5, 5))
        nll = _core.incomplete_sums(x, share, np.log(weights), means, covariances, *sums)
        for found, true in zip((nll, *sums), expected):
            assert np.allclose(found, true, atol=1e-12)

    def test_bad_arguments_of_the_core(self):
        x, share = np.zeros((4, 2)), np.ones(4)
        good = [x, share, np.zeros(1), np.zeros((1, 2)), np.eye(2)[None], np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2, 2))]
        assert np.isfinite(_core.incomplete_sums(*good))
        frozen = np.zeros((1, 2, 2))
        frozen.flags.writeable = False
        for place, bad in (
            (0, x[:, :1]),
            (0, x[0]),
            (1, np.ones(3)),
            (3, np.zeros((1, 3))),
            (4, np.eye(2, dtype="f4")[None]),
            (7, frozen),
        ):
            with pytest.raises(ValueError, match="must be contiguous arrays of float64"):
                _core.incomplete_sums(*good[:place], bad, *good[place + 1 :])
        for bad in (-np.eye(2)[None], np.full((1, 2, 2), np.nan)):
            with pytest.raises(ValueError, match="covariances must be positive definite"):
                _core.incomplete_sums(*good[:4], bad, *good[5:])
