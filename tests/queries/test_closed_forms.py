"""Queries of densities that have closed forms: mixtures, a Gaussian copula, and moons as arcs."""

import numpy as np
import pytest
from scipy.stats import norm

import nvpflow
from nvpflow import FlowDensity
from nvpflow.datasets import moons_log_density

Q = np.array([0.01, 0.05, 0.3, 0.5, 0.9, 0.99])
TOLERANCE = 1e-3


def model_of(flow, support=None):
    """A model whose density is that of a flow of two columns."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, size=(60, 2))
    model = FlowDensity(max_iter=1, support=support, dtype="float64", random_state=0).fit(x)
    bounded = [layer for layer in model.flow_.layers if isinstance(layer, nvpflow.Bounded)]
    model.flow_ = nvpflow.Flow([layer.copy() for layer in (*flow.layers, *bounded)], flow.base and flow.base.copy())
    model.origin_ = np.zeros(2)
    return model


def mixture_model(weights, means, covariances):
    base = nvpflow.MixtureBase(weights, means, covariances, dtype="float64")
    return model_of(nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")], base))


def test_mixture():
    rng = np.random.default_rng(1)
    weights, means, roots = rng.dirichlet(np.ones(6)), 2 * rng.normal(size=(6, 2)), 0.5 * rng.normal(size=(6, 2, 2))
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(2)
    given = rng.normal(size=40)
    moved = given[:, None] - means[:, 0]
    shares = weights * norm.pdf(moved, scale=np.sqrt(covariances[:, 0, 0]))
    shares /= shares.sum(axis=1, keepdims=True)
    centres = means[:, 1] + covariances[:, 0, 1] / covariances[:, 0, 0] * moved
    stds = np.sqrt(covariances[:, 1, 1] - covariances[:, 0, 1] ** 2 / covariances[:, 0, 0])
    found = mixture_model(weights, means, covariances).conditional({0: given}, 1)
    assert found.method == "exact"
    grid = np.linspace(-6, 6, 25)
    z = (grid[:, None] - centres[:, None]) / stds
    np.testing.assert_allclose(found.cdf(grid), (shares[:, None] * norm.cdf(z)).sum(axis=2), atol=1e-6)
    np.testing.assert_allclose(found.pdf(grid), (shares[:, None] * norm.pdf(z) / stds).sum(axis=2), atol=1e-5)
    of_quantiles = (found.ppf(Q)[:, :, None] - centres[:, None]) / stds
    np.testing.assert_allclose((shares[:, None] * norm.cdf(of_quantiles)).sum(axis=2), np.tile(Q, (40, 1)), atol=1e-6)
    mean = (shares * centres).sum(axis=1)
    np.testing.assert_allclose(found.mean(), mean, atol=1e-5)
    np.testing.assert_allclose(found.std() ** 2, (shares * (stds**2 + centres**2)).sum(axis=1) - mean**2, atol=1e-5)
    marginal = mixture_model(weights, means, covariances).marginal(1)
    of_all = (grid[:, None] - means[:, 1]) / np.sqrt(covariances[:, 1, 1])
    np.testing.assert_allclose(marginal.cdf(grid), norm.cdf(of_all) @ weights, atol=1e-6)


@pytest.mark.parametrize("method", ["exact", "quadrature"])
def test_gaussian_copula(method):
    """Columns in bounds, on whose scale they are normal: the closed form is that of the normal distribution."""
    rho, dtype = 0.8, "float64"
    if method == "exact":
        base = nvpflow.MixtureBase([1.0], [[0.0, 0.0]], [[[1.0, rho], [rho, 1.0]]], dtype=dtype)
        flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype=dtype)], base)
    else:
        layer = nvpflow.LULinear(2, dtype=dtype)
        layer.lu[1] = rho, 0.5 * np.log(1 - rho**2)
        flow = nvpflow.Flow([layer, nvpflow.ActNorm(2, dtype=dtype)])
    model = model_of(flow, support=["unit", "positive"])
    u = np.linspace(-2, 2, 9)
    x = model.flow_.layers[-1].forward(np.stack([u, u], axis=1))[0]
    found, spread = model.conditional({0: x[:, 0]}, 1), np.sqrt(1 - rho**2)
    assert found.method == method
    z = (u - rho * u[:, None]) / spread
    np.testing.assert_allclose(found.cdf(x[:, 1]), norm.cdf(z), atol=TOLERANCE)
    ends = [on_line(model, x[:, 1] + step) for step in (-1e-6, 1e-6)]
    slopes = (ends[1] - ends[0]) / 2e-6
    np.testing.assert_allclose(found.pdf(x[:, 1]), norm.pdf(z) / spread * slopes, rtol=TOLERANCE)
    quantiles = found.ppf(Q)
    at = (on_line(model, quantiles.ravel()).reshape(9, -1) - rho * u[:, None]) / spread
    np.testing.assert_allclose(norm.cdf(at), np.tile(Q, (9, 1)), atol=TOLERANCE)
    whole = model.marginal(1)
    np.testing.assert_allclose(whole.cdf(x[:, 1]), norm.cdf(u), atol=TOLERANCE)


def on_line(model, x):
    """Numbers of the second column where they are normal."""
    return model.flow_.layers[-1].inverse(np.stack([np.full(len(x), 0.5), x], axis=1))[0][:, 1]


@pytest.fixture(scope="module")
def arcs():
    """A mixture of so many components on both arcs that its density is that of the moons, and the same as a flow."""
    t = (np.arange(300) + 0.5) / 300 * np.pi
    means = np.concatenate([np.stack([np.cos(t), np.sin(t)], 1), np.stack([1 - np.cos(t), 0.5 - np.sin(t)], 1)])
    model = mixture_model(np.full(600, 1 / 600), means, np.tile(0.01 * np.eye(2), (600, 1, 1)))
    points = np.random.default_rng(0).uniform([-1, -0.5], [2, 1], size=(50, 2))
    np.testing.assert_allclose(model.score_samples(points), moons_log_density(points), rtol=1e-3, atol=1e-3)
    layered = model_of(nvpflow.Flow([nvpflow.LULinear(2, dtype="float64")], model.flow_.base.copy()))
    layered.flow_.layers[0].lu[1, 0] = 1e-9
    return {"exact": model, "quadrature": layered}


@pytest.mark.parametrize("method", ["exact", "quadrature"])
def test_moons_as_arcs(arcs, method):
    given, grid = np.array([-1.0, -0.4, 0.0, 0.5, 1.0, 1.7]), np.linspace(-1.5, 2, 7001)
    points = np.stack([axis.ravel() for axis in np.meshgrid(given, grid, indexing="ij")], axis=1)
    joint = np.exp(moons_log_density(points)).reshape(6, -1)
    joint /= np.trapezoid(joint, grid, axis=1)[:, None]
    below = np.concatenate([np.zeros((6, 1)), np.cumsum((joint[:, 1:] + joint[:, :-1]) / 2 * np.diff(grid), axis=1)], axis=1)
    found = arcs[method].conditional({0: given}, 1)
    assert found.method == method
    np.testing.assert_allclose(found.cdf(grid[::100]), below[:, ::100], atol=TOLERANCE)
    np.testing.assert_allclose(found.pdf(grid[::100]), joint[:, ::100], atol=TOLERANCE * joint.max())
    of_quantiles = [np.interp(row, grid, sums) for row, sums in zip(found.ppf(Q), below)]
    np.testing.assert_allclose(of_quantiles, np.tile(Q, (6, 1)), atol=TOLERANCE)
    mean = np.trapezoid(joint * grid, grid, axis=1)
    np.testing.assert_allclose(found.mean(), mean, atol=TOLERANCE)
    np.testing.assert_allclose(found.std() ** 2, np.trapezoid(joint * grid**2, grid, axis=1) - mean**2, atol=TOLERANCE)
    np.testing.assert_allclose(np.trapezoid(found.pdf(grid), grid, axis=1), 1, atol=1e-4)
