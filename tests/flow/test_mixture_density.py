"""The density, samples and gradients of flows over a MixtureBase. `test_oracle` checks the formulas."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import nvpflow
from support.marks import both_precisions, every_dim
from support.mixtures import EYE, bare_flow, flow_over, random_mixture


def reference_log_prob(base, x):
    parts = zip(base.weights, base.means.astype(float), base.covariances)
    joint = [np.log(w) + multivariate_normal(mean, cov).logpdf(x).reshape(len(x)) for w, mean, cov in parts]
    return logsumexp(joint, axis=0)


@every_dim
def test_log_prob_against_scipy(dim, every_isa):
    base = random_mixture(dim, 5)[-1]
    x = 3 * np.random.RandomState(1).normal(size=(300, dim))
    np.testing.assert_allclose(bare_flow(base).log_prob(x), reference_log_prob(base, x), rtol=1e-10, atol=1e-10)


@every_dim
@both_precisions
def test_far_points(dim, dtype, every_isa):
    """Where all components are N(0, I): the density of N(0, I), and -inf where that is no finite number."""
    mixture = bare_flow(nvpflow.MixtureBase([1, 2, 3], np.zeros((3, dim)), [np.eye(dim)] * 3, dtype=dtype))
    normal = nvpflow.Flow([nvpflow.Permutation(dim, range(dim), dtype=dtype)])
    largest = float(np.finfo(dtype).max)
    sizes = np.array([1e3, 1e6, largest**0.49, largest**0.51, largest, np.inf], dtype)
    directions = np.random.RandomState(0).uniform(-1, 1, (4, dim))
    directions[-2:] = [[1] * dim, [(-1) ** i for i in range(dim)]]
    x = (sizes[:, None, None] * directions.astype(dtype)).reshape(-1, dim)
    for points in (x, x[:1], np.tile(x, (40, 1))):
        expected, found = normal.log_prob(points), mixture.log_prob(points)
        finite = np.isfinite(expected)
        np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-5)
        np.testing.assert_array_equal(found[~finite], -np.inf)
        assert not np.isnan(expected).any()


@every_dim
@both_precisions
def test_far_points_of_correlated_components(dim, dtype, every_isa):
    flow, largest = bare_flow(random_mixture(dim, 4, dtype)[-1]), np.finfo(dtype).max
    directions = np.random.RandomState(0).uniform(-1, 1, (20, dim)).astype(dtype)
    for size, finite in ((1e3, True), (largest**0.45, True), (largest / 2, False), (np.inf, False)):
        x = (size * directions).astype(dtype)
        log_prob = flow.log_prob(x)
        assert np.isfinite(log_prob).all() if finite else (log_prob == -np.inf).all(), size
        if size == 1e3:
            np.testing.assert_allclose(log_prob, reference_log_prob(flow.base, x), rtol=1e-5)
            nll, gradient = flow.nll_and_grad(x)
            assert np.isfinite(nll) and np.isfinite(gradient).all()
    x[3, dim - 1] = np.nan  # and NaN is no point at all
    log_prob = flow.log_prob(x)
    assert np.isnan(log_prob[3]) and (np.delete(log_prob, 3) == -np.inf).all()


@every_dim
def test_nan_parameter(dim, every_isa):
    flow = bare_flow(random_mixture(dim, 3, "float32")[-1])
    for i in range(flow.n_parameters):
        for value in (np.nan, np.inf, *([-np.inf] if i >= 3 else [])):  # a logit of -inf is a weight of 0
            before, flow.parameters[i] = flow.parameters[i], value
            assert np.isnan(flow.log_prob(np.ones((5, dim)))).all(), (i, value)
            flow.parameters[i] = before
    assert np.isfinite(flow.log_prob(np.ones((5, dim)))).all()


@both_precisions
def test_negligible_component(dtype, every_isa):
    """Even where densities differ by more than the largest number."""
    x = np.random.RandomState(0).normal(size=(100, 2))
    alone = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype=dtype)).log_prob(x)
    for weights, means in (([1, 1e-300], [[0, 0], [0, 0]]), ([1e-300, 1], [[0, 0], [1e6, 0]])):
        flow = bare_flow(nvpflow.MixtureBase(weights, means, [EYE] * 2, dtype=dtype))
        expected = alone + np.log(weights[0] / sum(weights)) if weights[1] == 1 else alone
        np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-5)
        assert np.isfinite(flow.nll_and_grad(x)[1]).all()


@pytest.mark.parametrize("correlation", [0.9, 0.9999, 1 - 1e-8])
@pytest.mark.parametrize("dim", [2, 5])
def test_nearly_singular_covariances(correlation, dim, every_isa):
    covariance = np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)
    base = nvpflow.MixtureBase([1, 1], [[0.0] * dim, [1.0] * dim], [covariance, 1e-6 * covariance], dtype="float64")
    np.testing.assert_allclose(base.covariances[0], covariance, rtol=1e-6)
    flow = bare_flow(base)
    x = np.random.RandomState(0).multivariate_normal(np.zeros(dim), covariance, 200)
    np.testing.assert_allclose(flow.log_prob(x), reference_log_prob(base, x), rtol=1e-4)
    single = bare_flow(nvpflow.MixtureBase(base.weights, base.means, base.covariances)).log_prob(x)
    assert np.isfinite(single).all()
    if correlation < 0.999999:
        np.testing.assert_allclose(single, flow.log_prob(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_n_jobs_changes_no_bit(dim, context_dim):
    flow, rng = flow_over(dim, 7, "float32", context_dim), np.random.RandomState(0)
    x, context = rng.normal(size=(3000, dim)), rng.normal(size=(3000, context_dim)) if context_dim else None
    weight = rng.uniform(size=3000)
    results = []
    for n_jobs in (1, 2, 3, 8):
        flow.n_jobs = n_jobs
        results.append(
            [
                flow.log_prob(x, context),
                *flow.nll_and_grad(x, context, weight),
                *flow.sample_and_log_prob(3000, 5, context),
                *flow.inverse_vjp(x, x, x[:, 0], context),
            ]
        )
    for other in results[1:]:
        for expected, found in zip(results[0], other):
            np.testing.assert_array_equal(found, expected)


@every_dim
@both_precisions
def test_sample_moments(dim, dtype, every_isa):
    n = 40_000
    weights, means, covariances, base = random_mixture(dim, 3, dtype)
    x = bare_flow(base).sample(n, random_state=3)
    assert x.shape == (n, dim) and x.dtype == dtype
    mean = weights @ means
    offsets = means - mean
    covariance = np.einsum("k,kij->ij", weights, covariances + offsets[:, :, None] * offsets[:, None, :])
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(axis=0) - mean) < 5 * deviation / np.sqrt(n)).all()
    assert (np.abs(np.cov(x.T).reshape(dim, dim) - covariance) < 10 * np.outer(deviation, deviation) / np.sqrt(n)).all()


def test_component_shares():
    """The shares and moments of separate clusters."""
    n, weights, means = 60_000, np.array([0.1, 0.6, 0.3]), np.array([[-40.0, 0], [0, 40], [40, 0]])
    covariances = np.array([EYE, [[4, 1.9], [1.9, 1]], [[0.01, 0], [0, 9]]])
    x = bare_flow(nvpflow.MixtureBase(weights, means, covariances, dtype="float64")).sample(n, random_state=1)
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(axis=1)
    for k, weight in enumerate(weights):
        part = x[nearest == k]
        assert abs(len(part) / n - weight) < 5 * np.sqrt(weight / n)
        white = np.linalg.solve(np.linalg.cholesky(covariances[k]), (part - means[k]).T)
        assert (np.abs(white.mean(axis=1)) < 5 / np.sqrt(len(part))).all()
        assert (np.abs(np.cov(white) - np.eye(2)) < 8 / np.sqrt(len(part))).all()
    same = nearest[1:] == nearest[:-1]  # one after the other without memory
    assert abs(same.mean() - (weights**2).sum()) < 5 / np.sqrt(n)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_fewer_samples_are_a_prefix(dim, every_isa):
    flow = flow_over(dim, 4, "float32")
    many = flow.sample(2000, random_state=7)
    for n in (1, 3, 17, 513, 1999):
        for n_jobs in (1, 3):
            flow.n_jobs = n_jobs
            np.testing.assert_array_equal(flow.sample(n, random_state=7), many[:n])
    assert (flow.sample(2000, random_state=8) != many).any()
    assert flow.sample(0).shape == (0, dim)


@pytest.mark.parametrize("context_dim", [0, 2])
@every_dim
def test_sample_and_log_prob(dim, context_dim, every_isa):
    flow = flow_over(dim, 3, "float64", context_dim)
    context = np.random.RandomState(0).normal(size=(700, 2)) if context_dim else None
    x, log_prob = flow.sample_and_log_prob(700, 1, context)
    np.testing.assert_allclose(log_prob, flow.log_prob(x, context), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_layer_vjp_has_no_base_gradient(dim, context_dim):
    """It is zero, also after other calls. The layers' part does not depend on the base."""
    flow, rng = flow_over(dim, 3, "float64", context_dim), np.random.RandomState(0)
    plain = nvpflow.Flow([layer.copy() for layer in flow.layers])
    x, g = rng.normal(size=(50, dim)), rng.normal(size=(50, dim))
    context = rng.normal(size=(50, context_dim)) if context_dim else None
    assert flow.nll_and_grad(x, context)[1][plain.n_parameters :].all()
    for name in ("forward_vjp", "inverse_vjp"):
        _, gradient, *_ = getattr(flow, name)(x, g, g[:, 0], context)
        _, expected, *_ = getattr(plain, name)(x, g, g[:, 0], context)
        np.testing.assert_array_equal(gradient[: plain.n_parameters], expected)
        np.testing.assert_array_equal(gradient[plain.n_parameters :], 0)
        _, empty, *_ = getattr(flow, name)(x[:0], g[:0], g[:0, 0], None if context is None else context[:0])
        np.testing.assert_array_equal(empty, np.zeros(flow.n_parameters))
