"""Queries at the edges: one column alone, values on a bound, far out, or without a density, ties of probabilities, no rows."""

import warnings

import numpy as np
import pytest
from scipy.integrate import cumulative_trapezoid

import nvpflow


@pytest.mark.parametrize("support", [None, [(-20, 20)]], ids=["real", "bounded"])
def test_trained_layers_of_one_column_are_no_margins(support):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 0.5, 500), rng.exponential(1, 500)])[:, np.newaxis]
    model = nvpflow.FlowDensity(base="normal", support=support, max_iter=40, random_state=0).fit(x)
    found, grid = model.marginal(0), np.linspace(-8, 12, 4001)
    density = np.exp(model.score_samples(grid[:, np.newaxis]).astype(float))
    assert found.method == "quadrature"
    np.testing.assert_allclose(found.pdf(grid), density, atol=1e-3)
    np.testing.assert_allclose(found.cdf(grid), cumulative_trapezoid(density, grid, initial=0), atol=1e-3)


@pytest.fixture(scope="module")
def normal():
    x = np.random.default_rng(0).multivariate_normal(np.zeros(3), 0.5 + 0.5 * np.eye(3), size=1000)
    return nvpflow.FlowDensity(max_iter=5, random_state=0).fit(x)


@pytest.mark.filterwarnings("ignore::nvpflow.AccuracyWarning")
@pytest.mark.parametrize("far", [1e9, -1e15, 1e25])
def test_a_row_far_out_has_its_own_distribution(normal, far):
    near, other = (float(normal.conditional({0: given}, 2).mean()) for given in (0.0, far))
    found = normal.conditional({0: [0.0, far, 0.0]}, 2)
    np.testing.assert_allclose(found.mean(), [near, other, near])
    assert np.sign(other) == np.sign(far) and np.isfinite(found.cdf([0.0])).all()


def test_on_a_bound_the_density_is_that_next_to_it():
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=600), rng.exponential(size=600), rng.uniform(size=600)], axis=1)
    model = nvpflow.FlowDensity(support=[None, "positive", (0, 1)], max_iter=5, random_state=0).fit(x)
    for column, bounds in ((1, [0.0]), (2, [0.0, 1.0])):
        found = model.conditional({0: 0.3}, column)
        np.testing.assert_allclose(found.pdf(bounds), np.exp(found.score_samples(np.array(bounds)[:, np.newaxis])), rtol=1e-3)
        assert (found.pdf([-1e-9, np.inf]) == 0).all() and found.cdf(bounds[:1]) == 0


@pytest.mark.filterwarnings("ignore::nvpflow.AccuracyWarning")
def test_what_has_no_density_has_no_samples():
    rng = np.random.default_rng(0)
    x = np.stack([np.exp(rng.normal(size=400)), 10 + rng.poisson(3, 400)], axis=1)
    model = nvpflow.FlowDensity(support=["positive", nvpflow.Integer(10)], max_iter=5, random_state=0).fit(x)
    with pytest.raises(ValueError, match="given has no density under the model: nothing can be drawn"):
        model.conditional({0: -1.0}, 1).sample(3)
    found = model.conditional({0: [-1.0, 1.0]}, 1).sample(50)
    assert np.isnan(found[0]).all() and (found[1] >= 10).all()


def test_p_values_count_equal_probabilities():
    x = (np.arange(1000) % 10 == 0).astype(int)[:, np.newaxis]
    model = nvpflow.FlowDensity(support=["category"], random_state=0).fit(x)
    rare = np.exp(model.score_samples([[1]]))[0]
    often, seldom = model.p_values([[0], [1]])
    assert often == 1 and seldom == pytest.approx(rare, abs=0.02)


def test_quadrature_of_a_conditional_flow_warns_of_nothing():
    rng = np.random.default_rng(0)
    context = rng.uniform(-2, 2, size=(400, 1))
    y = rng.normal(size=(400, 2)) + np.sin(context)
    model = nvpflow.FlowDensity(base="normal", max_iter=5, random_state=0).fit(y, context=context)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.conditional({0: 0.5}, 1, context=[0.7]).mean())


def test_ordered_categories_of_no_rows():
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=300)
    grade = pandas.Categorical(np.clip(np.round(x + 1), 0, 2).astype(int).astype(str), ordered=True)
    frame = pandas.DataFrame({"x": x, "grade": grade})
    found = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(frame).conditional(frame[:0], "grade")
    assert found.cdf(["1"]).shape == found.ppf([0.5]).shape == (0, 1)


def test_tables_without_a_given_column_keep_their_rows():
    x = np.random.default_rng(0).normal(size=(60, 1))
    model = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(x)
    grid = np.linspace(-3, 3, 20)
    assert model.posterior(x[:5], 0, grid).shape == (5, 20) and model.posterior(x[:0], 0, grid).shape == (0, 20)
    assert model.conditional(np.full((4, 1), np.nan)).mean().shape == (4,)
    context = np.linspace(0, 1, 60)[:, np.newaxis]
    given = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(x, context=context)
    assert given.posterior(x[:5], 0, grid, context=context[:5]).shape == (5, 20)
