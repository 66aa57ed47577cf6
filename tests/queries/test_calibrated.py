"""Quantiles of conditional densities that held-out rows have checked."""

import numpy as np
import pytest

from nvpflow import FlowDensity
from support.samples import moons as draw_moons


@pytest.fixture(scope="module")
def model():
    """One that is three times as wide as its rows."""
    return FlowDensity(max_iter=1, random_state=0).fit(np.random.default_rng(0).normal(size=(500, 2)) * [1, 3])


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).normal(size=(4000, 2))


def shares(found, y, level=0.9):
    low, high = found.interval(level).T
    return ((low <= y) & (y <= high)).mean()


def test_intervals_hold_as_many_rows_as_they_say(model, rows):
    fresh = model.conditional({0: rows[2000:, 0]})
    checked = fresh.calibrated(rows[:2000])
    assert shares(fresh, rows[2000:, 1]) > 0.99
    assert abs(shares(checked, rows[2000:, 1]) - 0.9) < 0.02
    assert abs(shares(checked, rows[2000:, 1], 0.5) - 0.5) < 0.03


def test_quantiles_invert_the_distribution_function(model, rows):
    checked = model.conditional({0: [0.5, 1.0]}).calibrated(rows[:500])
    q = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(checked.cdf(checked.ppf(q)), [q, q], atol=1e-6)
    np.testing.assert_array_equal(checked.interval(0.8), checked.ppf([0.1, 0.9]))
    np.testing.assert_array_equal(checked.mean(), model.conditional({0: [0.5, 1.0]}).mean())


def test_the_marginal_of_the_column_is_calibrated(model, rows):
    checked = model.conditional({0: [0.5, 1.0]}).calibrated(rows[:500])
    np.testing.assert_array_equal(checked.marginal(1).interval(0.8), checked.interval(0.8))


def test_a_calibrated_model_stays_as_it_is():
    x = draw_moons(1600)
    model = FlowDensity(max_iter=1, random_state=0).fit(x[:800])
    found = model.conditional({0: x[1200:, 0]})
    np.testing.assert_allclose(found.calibrated(x[800:1200]).cdf(x[1200:, 1:]), found.cdf(x[1200:, 1:]), atol=0.1)


def test_errors_say_what_is_needed(model, rows):
    with pytest.raises(ValueError, match="X must have at least 30 rows"):
        model.conditional({0: 1.0}).calibrated(rows[:29])
    with pytest.raises(ValueError, match="calibrated needs one free column"):
        model.marginal([0, 1]).calibrated(rows)
    counts = FlowDensity(max_iter=1, support=["integer", "real"], random_state=0).fit(
        np.c_[np.rint(rows[:200, 0]), rows[:200, 1]]
    )
    with pytest.raises(ValueError, match="calibrated needs a free column of real numbers"):
        counts.conditional({1: 1.1}).calibrated(rows)
