"""Mixtures on a line agree with their formulas, and means of functions with those of every component by itself."""

import numpy as np
import pytest
from scipy.stats import norm

from nvpflow import _core
from nvpflow.queries._mixture_line import MixtureLine
from nvpflow.queries._smoothed import _hermite_rule, _integrate, smoothed


@pytest.fixture
def line():
    """Two rows of five components."""
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(2, 5)), 3 * rng.normal(size=(2, 5)), np.tile(rng.uniform(0.1, 2, 5), (2, 1))
    return MixtureLine.of_terms(np.arange(2), *terms, 2), terms


def test_densities_and_probabilities_are_sums_over_components(line):
    found, (log_terms, means, stds) = line
    u = np.array([[-np.inf, -3.0, 0.1, 2.0], [0.5, 9.0, np.inf, -40.0]])
    shares = np.exp(log_terms) / np.exp(log_terms).sum(axis=1, keepdims=True)
    z = (u[:, :, None] - means[:, None]) / stds[:, None]
    np.testing.assert_allclose(found.cdf(u), (shares[:, None] * norm.cdf(z)).sum(axis=2), rtol=1e-12, atol=1e-15)
    expected = (shares[:, None] * norm.pdf(z) / stds[:, None]).sum(axis=2)
    np.testing.assert_allclose(found.pdf(u), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.log_total, np.log(np.exp(log_terms).sum(axis=1)), atol=1e-12)


def test_joined_lines_have_the_rows_of_each():
    rng = np.random.default_rng(1)
    parts = []
    for n in (2, 1, 3):
        terms = 9 * rng.normal(size=(n, 5)), rng.normal(size=(n, 5)), rng.uniform(0.1, 2, size=(n, 5))
        parts.append(MixtureLine.of_terms(np.arange(n), *terms, n))
    found, u = MixtureLine.joined(parts), rng.normal(size=(6, 4))
    ends = [slice(0, 2), slice(2, 3), slice(3, 6)]
    np.testing.assert_array_equal(found.log_total, np.concatenate([part.log_total for part in parts]))
    np.testing.assert_array_equal(found.cdf(u), np.concatenate([part.cdf(u[rows]) for part, rows in zip(parts, ends)]))
    np.testing.assert_array_equal(found.moments(), np.concatenate([part.moments() for part in parts], axis=1))


def test_components_without_a_share_are_left_out():
    log_terms = np.array([[0.0, -30.0, -1.0]])
    found = MixtureLine.of_terms(np.zeros(1, int), log_terms, np.zeros((1, 3)), np.ones((1, 3)), 1)
    assert found.component.tolist() == [0, 2]


def test_moments_of_one_component_are_interpolated_to_a_millionth():
    rng = np.random.default_rng(0)
    means, std = rng.uniform(-4, 4, 3000), np.full(3000, 0.4)

    def function(u):
        return np.stack([np.exp(u), np.tanh(u)], axis=-1)

    counts = []

    def counted(u):
        counts.append(u.size)
        return function(u)

    found = smoothed([counted], [False], np.zeros(1, int), np.zeros(3000, int), means, std)
    assert sum(counts) < 0.05 * 3000 * 48
    np.testing.assert_allclose(found, _integrate(function, _hermite_rule(), means, std, 1)[0], rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(found[:, 0], np.exp(means + 0.5 * 0.4**2), rtol=1e-6)


@pytest.mark.parametrize("steps", [False, True])
def test_components_with_deviations_of_their_own_are_integrated_one_by_one(steps):
    means, stds = np.linspace(-1, 1, 50), np.linspace(0.5, 1, 50)
    found = smoothed([lambda u: np.exp(u)[..., None]], [steps], np.zeros(1, int), np.zeros(50, int), means, stds)
    np.testing.assert_allclose(found[:, 0], np.exp(means + 0.5 * stds**2), rtol=1e-12)


@pytest.mark.parametrize("steps", [False, True])
def test_components_with_one_mean(steps):
    means, stds = np.full(50, 0.3), np.full(50, 0.4)
    found = smoothed([lambda u: np.exp(u)[..., None]], [steps], np.zeros(1, int), np.zeros(50, int), means, stds)
    np.testing.assert_allclose(found[:, 0], np.exp(means + 0.5 * stds**2), rtol=1e-12)


def test_functions_with_steps():
    """The mean of a rounded normal number: the sum of the values times their probabilities."""
    mean, std = np.array([0.23, 0.31]), np.full(2, 0.7)
    found = smoothed([lambda u: np.round(u, 1)[..., None]], [True], np.zeros(1, int), np.zeros(2, int), mean, std)
    ends = np.arange(-60, 60) / 10 + 0.05
    exact = [(np.diff(norm.cdf((ends - m) / 0.7)) * (ends[:-1] + 0.05)).sum() for m in mean]
    np.testing.assert_allclose(found[:, 0], exact, atol=1e-3)


def test_the_core_refuses_arrays_that_do_not_fit():
    ones, starts = np.ones(3), np.array([0, 3])
    with pytest.raises(ValueError, match="contiguous"):
        _core.normal_lines(starts, ones, ones, ones, np.zeros(2, int), ones, ones.copy(), ones.copy())
    with pytest.raises(ValueError, match="contiguous"):
        _core.normal_lines(np.empty(0, int), ones, ones, ones, np.zeros(3, int), ones, ones.copy(), ones.copy())
    with pytest.raises(ValueError):
        _core.normal_lines(starts, ones, ones, ones, np.full(3, 1), ones, ones.copy(), ones.copy())
