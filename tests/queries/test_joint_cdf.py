"""Distribution functions of two free columns agree with closed forms and with sums; quantiles are those of each column."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import nvpflow
from nvpflow import FlowDensity
from support.samples import moons as draw_moons

LAYERS = {"base": "normal", "n_layers": 3, "max_iter": 20, "random_state": 0}


@pytest.fixture(scope="module")
def layered():
    return FlowDensity(**LAYERS).fit(draw_moons(600))


def test_mixture():
    means, roots = np.array([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5]]), np.array([[[1, 0, 0], [0.8, 0.6, 0], [0.2, 0.3, 0.5]]] * 2)
    weights, covariances = [0.4, 0.6], roots @ roots.transpose(0, 2, 1)
    model = FlowDensity(max_iter=1, dtype="float64", random_state=0).fit(np.random.default_rng(0).normal(size=(60, 3)))
    base = nvpflow.MixtureBase(weights, means, covariances, dtype="float64")
    model.flow_, model.origin_ = nvpflow.Flow([nvpflow.ActNorm(3, dtype="float64")], base), np.zeros(3)
    points = np.array([-1.0, 0.3, 2.0]), np.array([-0.5, 1.0])
    exact = [
        [
            sum(w * multivariate_normal(m[:2], c[:2, :2]).cdf([a, b]) for w, m, c in zip(weights, means, covariances))
            for b in points[1]
        ]
        for a in points[0]
    ]
    np.testing.assert_allclose(model.marginal([0, 1]).cdf(points), exact, atol=1e-4)
    swapped = model.conditional({2: [0.5, 1.0]}, [1, 0]).cdf(points[::-1])
    np.testing.assert_allclose(swapped, model.conditional({2: [0.5, 1.0]}, [0, 1]).cdf(points).transpose(0, 2, 1), atol=1e-4)


def test_layers(layered):
    edges = np.linspace(-5, 5, 801)
    middle, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    both = layered.marginal([0, 1])
    sums = np.cumsum(np.cumsum(both.pdf((middle, middle)), axis=0), axis=1) * step**2
    at = [380, 440, 520]
    found = both.cdf((edges[np.add(at, 1)], edges[np.add(at, 1)]))
    np.testing.assert_allclose(found, sums[np.ix_(at, at)], atol=1e-3)


def test_infinite_ends_leave_the_marginals(layered):
    both, x = layered.marginal([0, 1]), np.array([-0.5, 0.4, 1.3])
    np.testing.assert_allclose(both.cdf((x, [np.inf]))[:, 0], layered.marginal(0).cdf(x), atol=1e-3)
    np.testing.assert_allclose(both.cdf(([np.inf], x))[0], layered.marginal(1).cdf(x), atol=1e-3)
    assert np.abs(both.cdf(([-np.inf, 0.5], [0.5, -np.inf]))).max(axis=0).tolist() == [both.cdf(([0.5], [0.5]))[0, 0], 0.0]


@pytest.mark.parametrize("parameters", [{"max_iter": 5, "random_state": 0}, LAYERS], ids=["mixture", "layers"])
def test_whole_and_positive_numbers(parameters):
    rng = np.random.default_rng(0)
    x = np.exp(0.5 * rng.normal(size=500))
    table = np.stack([x, rng.poisson(2 * x)], axis=1)
    model = FlowDensity(support=["positive", nvpflow.Integer(0)], **parameters).fit(table)
    found = model.marginal([0, 1]).cdf(([0.5, 1.0, 2.0], [0.0, 2.0, 2.5, 7.0]))
    fresh = model.sample(100_000, 1)
    shares = [[((fresh[:, 0] <= a) & (fresh[:, 1] <= b)).mean() for b in (0, 2, 2.5, 7)] for a in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(found, shares, atol=0.006)
    np.testing.assert_allclose(found[:, 1], found[:, 2], rtol=1e-9)


def test_quantiles_of_several_columns_are_those_of_each(layered):
    q = [0.1, 0.5, 0.9]
    found = layered.marginal([0, 1]).ppf(q)
    np.testing.assert_array_equal(found, [layered.marginal(0).ppf(q), layered.marginal(1).ppf(q)])


def test_errors():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.normal(size=(200, 3)), rng.uniform(0, 6, 200)]
    model = FlowDensity(max_iter=1, support=["real", "real", "real", nvpflow.Angle()], random_state=0).fit(rows)
    with pytest.raises(ValueError, match="x must be a tuple of two arrays"):
        model.marginal([0, 1]).cdf([0.0, 1.0])
    with pytest.raises(ValueError, match="not angles"):
        model.marginal([0, 3]).cdf(([0.0], [1.0]))
    with pytest.raises(ValueError, match="cdf needs one free column, and there are 3"):
        model.marginal([0, 1, 2]).cdf(([0.0], [1.0], [0.0]))
    layers = FlowDensity(**LAYERS | {"max_iter": 2}).fit(rows)
    with pytest.raises(ValueError, match="cdf of two free columns needs all others to be given"):
        layers.marginal([0, 1]).cdf(([0.0], [1.0]))
