"""Expectation-maximisation: steps against plain NumPy.

NumPy's warnings are errors here, as all are.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

from nvpflow._training.covariances import LEAST_RELATIVE, PRIOR_SAMPLES
from nvpflow._training.em import Mixture, Samples
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
    return -(share @ total), shares, means, covariances + LEAST_RELATIVE * diagonals + np.diag(mixture.samples.prior.floor)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_components", [1, 2, 7])
@every_dim
@both_precisions
def test_em_step(dim, n_components, weighted, dtype):
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
    found = mixture._step()
    tolerance = {"rtol": 1e-9, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    assert abs(found - nll) < (1e-10 if dtype == "float64" else 1e-4)
    for value, by_hand in zip((mixture.weights, mixture.means, mixture.covariances), expected):
        np.testing.assert_allclose(value, by_hand, **tolerance)


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_likelihood_is_monotone(n_components):
    x = blobs(600)[0]
    mixture = start_of(x, None, n_components)
    mixture.prior_samples = 0
    curve = [mixture._step() for _ in range(60)]
    assert (np.diff(curve) < 1e-10).all() and curve[-1] < curve[0]
    # With nothing but the prior all components have the pooled covariance.
    mixture.prior_samples = np.inf
    mixture._step()
    np.testing.assert_allclose(mixture.covariances, mixture.covariances[:1].repeat(n_components, axis=0), rtol=1e-6)


@both_precisions
def test_integer_weights(dtype):
    rng = np.random.RandomState(2)
    x, times = blobs(300)[0].astype(dtype), rng.randint(0, 4, 300)
    few, many = start_of(x, times.astype(float), 3), start_of(np.repeat(x, times, axis=0), None, 3)
    few.samples.prior = many.samples.prior
    for _ in range(3):
        assert abs(few._step() - many._step()) < 1e-4
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(few, name), getattr(many, name), rtol=tolerance, atol=tolerance)


def test_far_component():
    x = blobs(300)[0]
    mixture = start_of(x, None, 3)
    mixture.means[1] = 1e4
    for _ in range(5):
        assert np.isfinite(mixture._step())
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


def test_maximum_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(Mixture, "_step", lambda self: calls.append(1) or -float(len(calls)))  # each one is better
    mixture = start_of(blobs(100)[0], None, 2)
    mixture.fit(7)
    assert len(calls) == 7
