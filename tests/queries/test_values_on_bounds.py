"""Values on a bound: distribution functions and intervals include the peak that the flow puts next to it."""

import io

import numpy as np
import pytest

import nvpflow


def rain(n, seed):
    """No rain in three of five rows, and a log-normal amount otherwise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    return x, np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(0.5 * x[:, 0], 0.5))


def shares(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1))
    return x, np.clip(0.5 + 0.4 * x[:, 0] + 0.2 * rng.normal(size=n), 0, 1)


@pytest.fixture(scope="module")
def model():
    with pytest.warns(UserWarning, match="equal a bound"):
        return nvpflow.FlowDensity(support=[None, "positive"], random_state=0).fit(np.column_stack(rain(800, 0)))


def test_probabilities_of_the_bound(model):
    found = model.conditional({0: np.array([-0.5, 0.0, 1.0])}, 1)
    at_zero = found.cdf([0.0])[:, 0]
    np.testing.assert_allclose(at_zero, 0.6, atol=0.1)
    np.testing.assert_array_equal(found.cdf([-1e-9])[:, 0], 0)
    assert (np.diff(found.cdf(np.r_[0, np.geomspace(1e-9, 30, 200)]), axis=1) >= 0).all()
    assert (found.ppf([1e-6, 0.3, 0.45]) == 0).all() and (found.ppf([0.8]) > 0.1).all()
    assert (found.interval(0.9)[:, 0] == 0).all() and (found.interval(0.9)[:, 1] > 0.5).all()


def test_upper_bounds():
    x, y = shares(800, 0)
    with pytest.warns(UserWarning, match="equal a bound"):
        model = nvpflow.FlowDensity(support=[None, "unit"], random_state=0).fit(np.column_stack([x, y]))
    found = model.conditional({0: 2.0}, 1)  # mostly 1
    assert found.ppf([0.5, 0.9]).tolist() == [1, 1] and found.cdf([1.0]) == 1
    assert found.cdf([1 - 1e-7])[0] == found.cdf([1 - 1e-9])[0] < 0.3


def test_columns_without_such_values_have_no_peak():
    x = np.random.default_rng(0).exponential(size=(500, 2))
    found = nvpflow.FlowDensity(support=["positive"] * 2, random_state=0).fit(x).marginal([0])
    assert found.cdf([0.0]) == 0 and 0 < found.ppf([1e-7])[0] < 1e-4


def test_saved_models_know_it(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    again = nvpflow.load(file)
    for method, argument in (("cdf", [0.0, 1.0]), ("ppf", [0.2, 0.7])):
        asked = (getattr(one.conditional({0: 0.3}, 1), method)(argument) for one in (model, again))
        np.testing.assert_array_equal(*asked)


@pytest.mark.parametrize("make, support", [(rain, "positive"), (shares, "unit")])
def test_intervals_of_a_regressor_hold_values_on_bounds(make, support):
    (x, y), (fresh, truth) = make(600, 1), make(2000, 2)
    with pytest.warns(UserWarning, match="equal a bound"):
        regressor = nvpflow.FlowRegressor(support=[support], random_state=0).fit(x, y)
    low, high = map(np.ravel, regressor.predict_interval(fresh, 0.9))
    holds, on_bound = (low <= truth) & (truth <= high), np.isin(truth, [0, 1])
    assert holds.mean() > 0.88 and holds[on_bound].mean() > 0.9  # it was 0 % of those
    assert holds[~on_bound].mean() > 0.85
