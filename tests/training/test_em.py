"""Expectation-maximisation: steps against plain NumPy.

NumPy's warnings are errors here, as all are.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

from nvpflow import _core
from nvpflow._training.covariances import LEAST_RELATIVE, PRIOR_SAMPLES
from nvpflow._training.em import Mixture, Samples
from nvpflow._training.kmeans import Clusters
from support.awkward import blobs, joint_log_prob
from support.marks import both_precisions, every_dim


def start_of(x, weight, n_components, seed=0):
    """A mixture that EM has not reached yet."""
    rng = np.random.RandomState(seed)
    mixture, dim = Mixture(Samples(x, weight), n_components), x.shape[1]
    roots = np.eye(dim) + 0.3 * rng.normal(size=(n_components, dim, dim))
    mixture.weights = rng.dirichlet(np.full(n_components, 5))
    mixture.means = rng.normal(size=(n_components, dim))
    mixture.covariances = roots @ roots.transpose(0, 2, 1)
    return mixture


def reference_step(x, weight, mixture, prior_share):
    """Mean NLL before, and weights, means and covariances after a step, from the responsibilities."""
    weight = np.ones(len(x)) if weight is None else weight
    share = weight / weight.sum()
    joint = joint_log_prob(x, mixture.weights, mixture.means, mixture.covariances)
    total = logsumexp(joint, axis=0)
    responsibility = np.exp(joint - total) * share
    shares = responsibility.sum(axis=1)
    means = responsibility @ x / shares[:, None]
    scatters = np.array([(r[:, None] * (x - mean)).T @ (x - mean) for r, mean in zip(responsibility, means)])
    # The pooled covariance about the means, shrunk to its diagonal, counts as so many samples for each dimension; where there is
    # but one component, it is all.
    pooled, shrinkage = scatters.sum(axis=0), mixture.samples.prior.shrinkage
    prior = (1 - shrinkage) * pooled + shrinkage * np.diag(np.diag(pooled))
    covariances = (scatters + prior_share * prior) / (shares + prior_share)[:, None, None] if len(means) > 1 else prior[None]
    diagonals = np.array([np.diag(np.diag(covariance)) for covariance in covariances])
    return -(share @ total), shares, means, covariances + LEAST_RELATIVE * diagonals + np.diag(mixture.samples.prior.added)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [1, 2, 7])
@every_dim
@both_precisions
def test_em_step(dim, n_components, weighted, dtype, every_isa):
    rng = np.random.RandomState(1)
    x = (rng.normal(size=(500, dim)) * rng.uniform(0.5, 2, dim) + rng.normal(size=dim)).astype(dtype)
    weight = rng.uniform(0, 2, 500) if weighted else None
    mixture = start_of(x, weight, n_components)
    if weighted:
        share = weight / weight.sum()
        n = np.exp(-np.sum(share * np.log(share)))  # as many equal weights have this entropy
    else:
        n = 500
    nll, *expected = reference_step(x.astype(float), weight, mixture, PRIOR_SAMPLES * dim / n)
    found = mixture._steps(1)
    tolerance = {"rtol": 1e-9, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    assert abs(found - nll) < (1e-10 if dtype == "float64" else 1e-4)
    for value, by_hand in zip((mixture.weights, mixture.means, mixture.covariances), expected):
        np.testing.assert_allclose(value, by_hand, **tolerance)


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_likelihood_is_monotone(n_components):
    x = blobs(600)[0]
    mixture = start_of(x, None, n_components)
    mixture.prior_samples = 0
    curve = [mixture._steps(1) for _ in range(60)]
    assert (np.diff(curve) < 1e-10).all() and curve[-1] < curve[0]
    # With nothing but the prior all components have the pooled covariance.
    mixture.prior_samples = np.inf
    mixture._steps(1)
    np.testing.assert_allclose(mixture.covariances, mixture.covariances[:1].repeat(n_components, axis=0), rtol=1e-6)


@both_precisions
def test_integer_weights(dtype):
    rng = np.random.RandomState(2)
    x, times = blobs(300)[0].astype(dtype), rng.randint(0, 4, 300)
    few, many = start_of(x, times.astype(float), 3), start_of(np.repeat(x, times, axis=0), None, 3)
    few.samples.prior = many.samples.prior
    for _ in range(3):
        assert abs(few._steps(1) - many._steps(1)) < 1e-4
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(few, name), getattr(many, name), rtol=tolerance, atol=tolerance)


def test_far_component():
    x = blobs(300)[0]
    mixture = start_of(x, None, 3)
    mixture.means[1] = 1e4
    for _ in range(5):
        assert np.isfinite(mixture._steps(1))
    for value in (mixture.weights, mixture.means, mixture.covariances):
        assert np.isfinite(value).all()
    assert (np.linalg.eigvalsh(mixture.covariances) > 0).all()


def test_log_prob():
    mixture = start_of(blobs(300)[0], None, 3)
    x = np.vstack([blobs(100, seed=1)[0], [[1e200, 0]]])
    found = mixture.log_prob(x)
    expected = logsumexp(joint_log_prob(x[:-1], mixture.weights, mixture.means, mixture.covariances), axis=0)
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-12)
    assert found[-1] == -np.inf


@every_dim
def test_log_prob_of_each_engine(dim, every_isa):
    mixture = start_of(np.random.default_rng(0).normal(size=(300, dim)).astype(np.float32), None, 5)
    x = mixture.samples.x
    expected = logsumexp(joint_log_prob(x, mixture.weights, mixture.means, mixture.covariances), axis=0)
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-4, atol=1e-4)
    assert mixture.log_prob(x[:0]).shape == (0,)


def test_log_prob_checks_its_arrays():
    mixture = np.full(3, 1 / 3), np.zeros((3, 2)), np.array([np.eye(2)] * 3)
    values = [np.ones((20, 2)), *mixture]
    assert np.isfinite(_core.em_log_prob(*values)).all()
    for place in range(4):
        for bad in (lambda array: array[:, :1] if array.ndim == 2 else array[:-1], lambda array: array.astype("f2")):
            changed = [bad(array) if i == place else array for i, array in enumerate(values)]
            with pytest.raises(ValueError, match="must be contiguous arrays"):
                _core.em_log_prob(*changed)
    with pytest.raises(ValueError, match="covariances must be positive definite"):
        _core.em_log_prob(*values[:3], -values[3])


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("k, dim", [(3, 2), (6, 8)])
def test_step_of_scikit_learn(k, dim):
    mixture_of = pytest.importorskip("sklearn.mixture")
    x = np.random.default_rng(0).normal(size=(900, dim)) @ np.random.default_rng(1).normal(size=(dim, dim))
    mixture = start_of(x, None, k)
    prior = mixture.samples.prior
    mixture.prior_samples, prior.floor[:], prior.added[:] = 0, 0, 0
    start = {"weights_init": mixture.weights, "means_init": mixture.means}
    start["precisions_init"] = np.linalg.inv(mixture.covariances)
    other = mixture_of.GaussianMixture(k, max_iter=1, tol=1e9, reg_covar=0, **start).fit(x)
    mixture._steps(1)
    np.testing.assert_allclose(mixture.weights, other.weights_, rtol=1e-9)
    np.testing.assert_allclose(mixture.means, other.means_, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(mixture.covariances, other.covariances_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("max_iter, least_gain", [(1, 0), (4, 0), (200, 0), (200, 0.02)])
def test_steps_end(max_iter, least_gain):
    """After max_iter steps, or if one gains less than 1 / n or than asked for."""
    x = blobs(600)[0]
    one, all_ = start_of(x, None, 3), start_of(x, None, 3)
    before = np.inf
    for _ in range(max_iter):
        nll = one._steps(1)
        if before - nll < max(1 / 600, least_gain):
            break
        before = nll
    assert all_._steps(max_iter, least_gain) == nll
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(all_, name))


@both_precisions
def test_nearly_flat_component_is_resolved(dtype):
    """Two columns that differ by a thousandth, in both precisions."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 1)).astype(dtype)
    x = np.hstack([x, x + (1e-3 * rng.normal(size=(2000, 1))).astype(dtype)])
    mixture = Mixture(Samples(x, None), 1, 0.0)
    mixture.samples.prior.shrinkage = 0.0
    mixture.start(Clusters(x, None, rng))
    for _ in range(3):
        mixture._steps(1)
    np.testing.assert_allclose(np.linalg.eigvalsh(mixture.covariances[0])[0], 5e-7, rtol=0.1)


def test_many_components_of_wide_samples():
    """Of many components each is responsible for few samples, which are gathered."""
    rng = np.random.default_rng(0)
    x = 8 * rng.integers(3, size=(3000, 6)) + rng.normal(size=(3000, 6))
    mixture = Mixture(Samples(x, None), 40)
    mixture.start(Clusters(x, None, rng))
    nll, *expected = reference_step(x, None, mixture, PRIOR_SAMPLES * 6 / 3000)
    assert mixture._steps(1) == pytest.approx(nll, rel=1e-12)
    np.testing.assert_allclose(mixture.weights, expected[0], rtol=1e-9)
    np.testing.assert_allclose(mixture.means, expected[1], rtol=1e-9, atol=1e-9)


def arguments():
    x, prior = np.random.default_rng(0).normal(size=(20, 2)), Samples(np.ones((20, 2)), None).prior.for_core(1.0)
    mixture = np.full(3, 1 / 3), np.zeros((3, 2)), np.array([np.eye(2)] * 3)
    return [x, np.ones(20), np.arange(20) % 4, np.zeros((4, 3)), np.zeros((4, 3)), *mixture, prior, 1, 0.0]


@pytest.mark.parametrize("place", range(8))
def test_bad_arrays(place):
    assert np.isfinite(_core.em(*arguments()))
    for bad in (lambda array: array[:-1], lambda array: array.astype("f2"), lambda array: array[::-1]):
        values = arguments()
        values[place] = bad(values[place])
        with pytest.raises(ValueError, match="must be contiguous arrays"):
            _core.em(*values)


def test_bad_values():
    for place, bad in ((2, np.full(20, 4)), (2, np.full(20, -1)), (2, None), (4, None)):
        values = arguments()
        values[place] = bad
        with pytest.raises(ValueError, match="must be contiguous arrays"):
            _core.em(*values)
    values = arguments()
    values[1] = [1.0] * 20
    with pytest.raises(TypeError, match="must be arrays or None"):
        _core.em(*values)
    values = arguments()
    values[7] = np.array([-np.eye(2)] * 3)
    with pytest.raises(ValueError, match="covariances must be positive definite"):
        _core.em(*values)


def test_first_steps():
    """The same as two calls, of which the first asks for less."""
    x = blobs(600)[0]
    two, one = start_of(x, None, 3), start_of(x, None, 3)
    two._steps(4)
    assert one._steps(30, 0.02, 4) == two._steps(30, 0.02)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@both_precisions
def test_component_without_samples_stays_finite(dtype):
    x = blobs(200)[0].astype(dtype)
    mixture = start_of(x, None, 2)
    mixture.means[1] = 1e4  # so that it vanishes
    for _ in range(12):
        mixture._steps(6)
    for values in (mixture.weights, mixture.means, mixture.covariances):
        assert np.isfinite(values).all()
    assert 0 < mixture.weights[1] < 1e-100
