"""Conditionals of models that have learnt the margins of their columns agree with the joint density."""

import numpy as np
import pytest
from scipy.stats import norm

import nvpflow
from nvpflow import FlowDensity


@pytest.fixture(scope="module", params=["mixture", "average", "layers"])
def skewed(request):
    """A model of two skewed columns: a mixture behind margins, an average of two, or with trained layers between."""
    rng = np.random.default_rng(0)
    x = rng.exponential(size=600) ** 2
    model = FlowDensity(max_iter=1, n_models=1 + (request.param == "average"), random_state=0)
    model.fit(np.stack([x, np.exp(x**0.25 + 0.3 * rng.normal(size=600))], axis=1))
    assert all(_has_margins(flow) for flow in getattr(model.flow_, "flows", [model.flow_]))
    if request.param == "layers":
        for layer in model.flow_.layers[:2]:
            layer.parameters[:] += 0.1 * rng.normal(size=len(layer.parameters))
    return model


def _has_margins(flow):
    return any(isinstance(layer, nvpflow.SplineCoupling) and not layer.mask.any() for layer in flow.layers)


def joint(model, given, grid):
    return np.exp(model.score_samples(np.stack([np.full(len(grid), given), grid], axis=1)).astype(float))


def test_a_conditional_behind_margins_agrees_with_the_joint_density(skewed):
    grid = np.linspace(-10, 100, 400_001)
    p = joint(skewed, 1.0, grid)
    step = grid[1] - grid[0]
    sums, total = np.cumsum(p) * step, p.sum() * step
    found, at = skewed.conditional({0: 1.0}), np.array([1.5, 2.5, 3.0, 4.0, 6.0])
    np.testing.assert_allclose(found.cdf(at), np.interp(at, grid, sums / total), atol=1e-3)
    np.testing.assert_allclose(found.pdf(at), joint(skewed, 1.0, at) / total, rtol=1e-3)
    np.testing.assert_allclose(found.cdf(found.ppf([0.05, 0.5, 0.95])), [0.05, 0.5, 0.95], atol=1e-6)
    np.testing.assert_allclose(found.mean(), (p * grid).sum() * step / total, rtol=1e-3)


def test_rows_behind_margins_have_the_results_of_each_row_alone(skewed):
    given = np.array([0.1, 1.0, 4.0])
    together = skewed.conditional({0: given}).interval(0.9)
    np.testing.assert_allclose(together, [skewed.conditional({0: one}).interval(0.9) for one in given], rtol=1e-6)


@pytest.mark.parametrize("support", [None, "positive", nvpflow.Integer()], ids=["real", "positive", "whole"])
def test_moments_of_a_column_far_from_zero(support):
    """Mean squares less squares of means had no digits left: deviations were 0 or 2 times the right ones."""
    rng = np.random.default_rng(0)
    x = np.round(3000 * rng.exponential(size=1000))
    table = np.column_stack([1e12 + x, x / 3000 + rng.normal(size=1000)])
    model = FlowDensity(dtype="float64", support=[support, None], random_state=0).fit(table)
    found = model.conditional([[np.nan, 1.0], [np.nan, 3.0]])
    z = np.linspace(-7, 7, 2001)
    values, weight = np.reshape(found.ppf(norm.cdf(z)), (2, -1)) - 1e12, norm.pdf(z) * (z[1] - z[0])
    mean = values @ weight
    np.testing.assert_allclose(np.ravel(found.mean()) - 1e12, mean, rtol=2e-3)
    np.testing.assert_allclose(np.ravel(found.std()), np.sqrt((values - mean[:, np.newaxis]) ** 2 @ weight), rtol=5e-3)
