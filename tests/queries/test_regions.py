"""Levels of highest-density regions, p-values of rows, and explanations of outliers."""

import numpy as np
import pandas
import pytest

from nvpflow import AccuracyWarning, FlowDensity, FlowOutlierDetector


@pytest.fixture(scope="module")
def normal():
    """A model that is close to N(0, I) in two dimensions, and its samples."""
    x = np.random.default_rng(0).normal(size=(3000, 2))
    return FlowDensity(max_iter=5, random_state=0).fit(x)


def test_levels_hold_their_mass(normal):
    levels, error = normal.density_levels([0.5, 0.9], return_error=True)
    fresh = normal.score_samples(normal.sample(20_000, 7))
    np.testing.assert_allclose([(fresh >= level).mean() for level in levels], [0.5, 0.9], atol=0.012)
    exact = -np.log(2 * np.pi) + np.log([0.5, 0.1])
    np.testing.assert_allclose(levels, exact, atol=0.1)
    # With an exponential distribution of log-densities, the density at the level of a mass m is 1 - m.
    np.testing.assert_allclose(error, np.sqrt([0.5 * 0.5 / 0.25, 0.1 * 0.9 / 0.01]) / np.sqrt(20_000), rtol=0.2)


def test_p_values_are_the_mass_of_lower_densities(normal):
    fresh = normal.sample(4000, 3)
    p, error = normal.p_values(fresh, return_error=True)
    np.testing.assert_allclose(np.sort(p), (np.arange(4000) + 0.5) / 4000, atol=0.03)  # uniform
    np.testing.assert_allclose(error, np.sqrt(p * (1 - p) / 10_000), atol=2e-4)
    assert normal.p_values([[0.0, 0.0], [9.0, 9.0]]).round(2).tolist() == [1.0, 0.0]


def test_p_values_with_a_context_have_samples_of_their_own():
    rng = np.random.default_rng(0)
    context = rng.uniform(size=(400, 1))
    model = FlowDensity(max_iter=5, random_state=0).fit(rng.normal(size=(400, 1)) + 20 * context, context=context)
    p = model.p_values([[4.0], [4.0], [16.0]], context=[[0.2], [0.8], [0.8]], n_samples=1000)
    assert (p[[0, 2]] > 0.5).all()
    assert p[1] == 0


def test_the_column_that_breaks_a_relation_has_the_smallest_p_value():
    rng = np.random.default_rng(0)
    z = rng.normal(size=1000)
    table = pandas.DataFrame({"a": z, "b": z + 0.1 * rng.normal(size=1000), "c": z + 0.1 * rng.normal(size=1000)})
    table["kind"] = np.where(z > 0, "high", "low")
    detector = FlowOutlierDetector(max_iter=5, random_state=0).fit(table)
    row = pandas.DataFrame({"a": [1.0], "b": [1.0], "c": [-1.0], "kind": ["high"]}, index=["odd"])
    found = detector.explain(row).loc["odd"]
    assert found["p_value"].astype(float).idxmin() == "c"
    assert found["log_density"].astype(float).idxmin() == "c"
    assert found.loc["kind", "typical"] == "high"
    assert found.loc["c", "low"] < found.loc["c", "typical"] < found.loc["c", "high"]
    np.testing.assert_allclose(float(found.loc["c", "typical"]), 1.0, atol=0.2)
    given = detector.estimator_.conditional(row[["a", "b", "kind"]])
    np.testing.assert_allclose(float(found.loc["c", "log_density"]), given.score_samples([-1.0])[0], rtol=1e-3)
    np.testing.assert_allclose(float(found.loc["c", "p_value"]), 2 * min(given.cdf(-1.0), 1 - given.cdf(-1.0)), atol=1e-6)


def test_p_values_of_both_tails_are_exact():
    """1 - cdf would be a rounding error in the upper tail."""
    X = np.random.default_rng(0).normal(size=(500, 2))
    detector = FlowOutlierDetector(max_iter=5, random_state=0).fit(np.concatenate([X, -X]))
    far = np.array([[12.0, 0.0], [-12.0, 0.0]])
    with pytest.warns(AccuracyWarning, match="far from all samples"):
        found = detector.explain(far)
    upper, lower = found["p_value"].to_numpy().astype(float)[::2]
    assert 0 < upper < 1e-20 and 0 < lower < 1e-20
