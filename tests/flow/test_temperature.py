"""The temperature of flows, ensembles and estimators: scales the covariances of the base."""

import re

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import nvpflow
from support.estimators import make
from support.flows import make_base, make_flow, make_model

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(50, 3))


def of_base(flow, x, log_prob, context=None):
    """The log-density with another density of the base."""
    z, log_det = flow.inverse(x, context)
    return log_prob(z) + log_det


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [0.3, 2.5])
def test_normal_base(dtype, temperature):
    flow = make_flow(dtype)
    x = POINTS[:, :2]
    expected = of_base(flow, x, lambda z: norm.logpdf(z, scale=temperature**0.5).sum(axis=1))
    np.testing.assert_allclose(flow.log_prob(x, temperature=temperature), expected, rtol=1e-4 if dtype == "float32" else 1e-12)
    z, _ = flow.inverse(flow.sample(20_000, random_state=0, temperature=temperature))
    np.testing.assert_allclose(np.cov(z.T), temperature * np.eye(2), atol=0.05 * temperature)


@pytest.mark.parametrize("temperature", [0.3, 2.5])
def test_mixture_base(temperature):
    layer = nvpflow.AffineCoupling(3, 8, [1, 0, 1], dtype="float64", random_state=0)
    flow = nvpflow.Flow([layer], make_base(3, "float64"))
    base = flow.base
    other = nvpflow.MixtureBase(base.weights, base.means, temperature * base.covariances, dtype="float64")
    before = flow.parameters.copy()
    expected = of_base(flow, np.abs(POINTS), other.log_prob)
    np.testing.assert_allclose(flow.log_prob(np.abs(POINTS), temperature=temperature), expected, rtol=1e-10)
    np.testing.assert_array_equal(flow.parameters, before)
    x, log_prob = flow.sample_and_log_prob(500, random_state=1, temperature=temperature)
    np.testing.assert_array_equal(x, flow.sample(500, random_state=1, temperature=temperature))
    np.testing.assert_allclose(log_prob, flow.log_prob(x, temperature=temperature), rtol=1e-8, atol=1e-8)


def test_base_given_a_context():
    """Of one component: the covariance of z given c is T times as large, its mean and the density of c are the same."""
    base = make_base(1, "float64", context_dim=2)
    flow = nvpflow.Flow([nvpflow.ActNorm(3, dtype="float64")], base)
    context, covariance, mean = RNG.normal(size=(1, 2)), base.covariances[0], base.means[0]
    slopes = np.linalg.solve(covariance[:2, :2], covariance[:2, 2:]).T
    left = covariance[2:, 2:] - slopes @ covariance[:2, 2:]
    expected = multivariate_normal(mean[2:] + slopes @ (context[0] - mean[:2]), 0.4 * left).logpdf(POINTS)
    found = flow.log_prob(POINTS, np.repeat(context, 50, axis=0), temperature=0.4)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_ensemble():
    flows = [nvpflow.Flow([nvpflow.ActNorm(3, dtype="float64")], base) for base in (None, make_base(2, "float64"))]
    ensemble = nvpflow.FlowEnsemble(flows, [0.25, 0.75])
    x = ensemble.sample(200, random_state=0, temperature=2)
    terms = [np.log(w) + flow.log_prob(x, temperature=2) for w, flow in zip((0.25, 0.75), flows)]
    np.testing.assert_allclose(ensemble.log_prob(x, temperature=2), np.logaddexp(*terms), rtol=1e-10)
    drawn, log_prob = ensemble.sample_and_log_prob(200, random_state=0, temperature=2)
    np.testing.assert_array_equal(drawn, x)
    np.testing.assert_allclose(log_prob, ensemble.log_prob(x, temperature=2), rtol=1e-10)


def test_one_changes_no_bits():
    flow = make_model(n_components=2)
    x = flow.sample(20, random_state=0)
    np.testing.assert_array_equal(flow.sample(20, random_state=0, temperature=1), x)
    np.testing.assert_array_equal(flow.log_prob(x, temperature=1), flow.log_prob(x))
    model = make(random_state=0).fit(x)
    np.testing.assert_array_equal(model.score_samples(x, temperature=1), model.score_samples(x))


@pytest.mark.parametrize("n_models", [1, 2])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_estimator(n_models, temperature):
    """Densities integrate to 1; samples have them; the flow is unchanged."""
    rng = np.random.default_rng(0)
    column = np.where(rng.random((300, 1)) < 0.3, -3, 3) + rng.normal(size=(300, 1))
    model = make(random_state=0, n_models=n_models, base="mixture").fit(column)
    before = model.score_samples(column)
    grid = np.linspace(-30, 30, 6001)[:, np.newaxis]
    density = np.exp(model.score_samples(grid, temperature=temperature).astype(float))
    assert density.sum() * 0.01 == pytest.approx(1, abs=2e-3)
    x, log_density = model.sample_and_log_prob(4000, random_state=0, temperature=temperature)
    np.testing.assert_array_equal(x, model.sample(4000, random_state=0, temperature=temperature))
    np.testing.assert_allclose(log_density, model.score_samples(x, temperature=temperature), atol=1e-4)
    assert (x < 0).mean() == pytest.approx(0.01 * density[grid[:, 0] < 0].sum(), abs=0.03)
    assert x[x > 0].std() == pytest.approx(temperature**0.5, rel=0.3)
    np.testing.assert_array_equal(model.score_samples(column), before)
    model.score_samples(column, temperature=temperature, return_std=True)


def test_whole_numbers_and_missing_cells():
    table = np.c_[RNG.poisson(4, size=200), RNG.normal(size=200)]
    model = make(random_state=0, support={0: "integer"}, missing="marginalize").fit(table)
    x, log_density = model.sample_and_log_prob(50, random_state=0, temperature=3)
    np.testing.assert_allclose(log_density, model.score_samples(x, temperature=3), atol=1e-3)
    marginal = model.score_samples([[np.nan, 5.0]], temperature=3)
    points = np.c_[np.arange(-60, 80), np.full(140, 5.0)]
    total = np.logaddexp.reduce(model.score_samples(points, temperature=3).astype(float))
    np.testing.assert_allclose(marginal, total, atol=0.05)


def test_detector_samples():
    detector = make(nvpflow.FlowOutlierDetector, random_state=0).fit(POINTS)
    x, log_density = detector.sample_and_log_prob(20, random_state=1, temperature=2)
    np.testing.assert_array_equal(x, detector.sample(20, random_state=1, temperature=2))
    assert log_density.dtype == np.float64
    np.testing.assert_allclose(log_density, detector.estimator_.score_samples(x, temperature=2), atol=1e-4)
    plain, log_density = detector.sample_and_log_prob(20, random_state=1)
    np.testing.assert_allclose(log_density, detector.score_samples(plain), atol=1e-4)
    for method in ("sample", "sample_and_log_prob"):
        with pytest.raises(nvpflow.NotFittedError):
            getattr(nvpflow.FlowOutlierDetector(), method)(3)


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, "1", None])
def test_errors(wrong):
    flow = make_model(n_components=2)
    model = make(random_state=0).fit(POINTS)
    for call in (flow.sample, nvpflow.FlowEnsemble([flow]).sample, model.sample, model.sample_and_log_prob):
        with pytest.raises((TypeError, ValueError), match="^temperature must "):
            call(3, temperature=wrong)
    for call in (flow.log_prob, model.score_samples):
        with pytest.raises((TypeError, ValueError), match="^temperature must "):
            call(POINTS, temperature=wrong)


def test_beyond_the_range_of_the_dtype():
    base = nvpflow.MixtureBase([1], [[0, 0]], [[[1, 0.5], [0.5, 1]]])
    flow = nvpflow.Flow([nvpflow.ActNorm(2)], base)
    with pytest.raises(ValueError, match=re.escape("temperature must keep the base within the range of float32, got 1e-90")):
        flow.sample(3, temperature=1e-90)


def test_mean_of_log_densities_is_a_sum_in_double_precision():
    """In single precision the sum of 300 000 of them would be off by more."""
    model = make(random_state=0).fit(POINTS)
    x = np.repeat(POINTS, 6000, axis=0)
    assert model.score(x) == pytest.approx(model.score_samples(POINTS).mean(dtype=np.float64), rel=1e-7)


def test_circular_base():
    """Uniform angles have no temperature; normal columns beside them cannot have one."""
    layer = nvpflow.CircularSplineCoupling(2, 8, mask=[0, 1], periods=[1, 1], dtype="float64", random_state=0)
    angles = nvpflow.Flow([layer], nvpflow.CircularBase([1, 1], dtype="float64"))
    np.testing.assert_array_equal(angles.log_prob(POINTS[:, :2], temperature=2), angles.log_prob(POINTS[:, :2]))
    mixed = nvpflow.Flow([nvpflow.Permutation(2)], nvpflow.CircularBase([1, None]))
    with pytest.raises(ValueError, match="temperature must be 1 over a CircularBase"):
        mixed.log_prob(POINTS[:, :2], temperature=2)
