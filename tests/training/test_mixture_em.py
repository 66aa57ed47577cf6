"""Mixtures fitted by EM: steps against plain NumPy, known mixtures, and awkward data.

NumPy's warnings are errors here, as all are.
"""

import numpy as np
import pytest
from scipy.special import logsumexp

import nvpflow
from nvpflow._training.covariances import LEAST_RELATIVE, PRIOR_SAMPLES
from nvpflow._training.mixture_em import (
    MAX_ITER,
    _Mixture,
    _Samples,
    fit_mixture,
    refit_mixture,
)
from support.marks import both_precisions, every_dim


def blobs(n=2000, seed=0):
    """Samples of three normal distributions in the plane, which overlap a little, and these."""
    rng = np.random.RandomState(seed)
    weights, means = np.array([0.5, 0.3, 0.2]), np.array([[-4.0, 0], [3, 3], [3, -3]])
    covariances = np.array([[[1, 0.6], [0.6, 1]], [[0.5, 0], [0, 2]], [[1, -0.9], [-0.9, 1]]])
    labels = rng.choice(3, n, p=weights)
    x = np.array([rng.multivariate_normal(means[k], covariances[k]) for k in labels])
    return x, weights, means, covariances


def joint_log_prob(x, weights, means, covariances):
    """(K, n): log of weight times density."""
    result = []
    for weight, mean, covariance in zip(weights, means, covariances):
        root = np.linalg.cholesky(covariance)
        u = np.linalg.solve(root, (x - mean).T)
        determinant = np.log(np.diag(root)).sum()
        result.append(np.log(weight) - determinant - 0.5 * (u**2).sum(axis=0) - 0.5 * len(mean) * np.log(2 * np.pi))
    return np.array(result)


def log_prob(base, x):
    return logsumexp(joint_log_prob(x, base.weights, base.means, base.covariances), axis=0)


def start_of(x, weight, n_components, seed=0):
    """A mixture that EM has not reached yet."""
    rng = np.random.RandomState(seed)
    mixture, dim = _Mixture(_Samples(x, weight), n_components), x.shape[1]
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


# -- steps --


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
    mixture.samples.prior.share = 0
    curve = [mixture._step() for _ in range(60)]
    assert (np.diff(curve) < 1e-10).all() and curve[-1] < curve[0]
    # With nothing but the prior all components have the pooled covariance.
    mixture.samples.prior.share = 1e9
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


# -- known data --


@both_precisions
def test_known_mixture(dtype):
    x, weights, means, covariances = blobs(20_000)
    base = fit_mixture(x.astype(dtype), None, 0)
    assert base.n_components == 3 and base.dtype == np.dtype(dtype)
    order = np.linalg.norm(base.means - means[:, None], axis=2).argmin(axis=1)
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(base.weights[order], weights, atol=0.02)
    np.testing.assert_allclose(base.means[order], means, atol=0.1)
    np.testing.assert_allclose(base.covariances[order], covariances, atol=0.12)
    refit = refit_mixture(base, x.astype(dtype))
    assert log_prob(refit, x).mean() > log_prob(base, x).mean() - 1e-5


@pytest.mark.parametrize("scale, offset", [(1e6, 0), (1e-6, 0), (1, 1e4), (1e3, -1e6), ([1e-3, 1e3], [5, -5])])
@both_precisions
def test_unit_invariance(scale, offset, dtype):
    x, held_out = blobs(1000)[0], blobs(1000, seed=1)[0]
    plain = fit_mixture(x.astype(dtype), None, 0)
    base = fit_mixture((x * scale + offset).astype(dtype), None, 0)
    assert base.n_components == plain.n_components == 3
    change = np.log(np.broadcast_to(scale, 2)).sum()
    expected, found = log_prob(plain, held_out), log_prob(base, held_out * scale + offset)
    np.testing.assert_allclose(found + change, expected, atol=0.02 if dtype == "float32" else 1e-6)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_against_scikit_learn(dim):
    sklearn = pytest.importorskip("sklearn.mixture")
    rng = np.random.RandomState(dim)
    centers = 8 * np.arange(4)[:, None] if dim == 1 else 8 * np.eye(max(4, dim))[:4, :dim]
    both = centers[rng.choice(len(centers), 4000)] + rng.normal(size=(4000, dim))
    x, held_out = both[:2000], both[2000:]
    base = fit_mixture(x, None, 0)
    other = sklearn.GaussianMixture(base.n_components, n_init=5, random_state=0).fit(x)
    assert abs(log_prob(base, x).mean() - other.score(x)) < 0.02
    assert log_prob(base, held_out).mean() > other.score(held_out) - 0.02
    others = [sklearn.GaussianMixture(k, n_init=2, random_state=0).fit(x) for k in (2, 3, 4, 6)]
    assert base.n_components == min(others, key=lambda other: other.bic(x)).n_components


def test_seed():
    x, weight = blobs(400)[0], np.random.RandomState(0).uniform(size=400)
    for w in (None, weight):
        one, same = fit_mixture(x, w, 3), fit_mixture(x, w, 3)
        np.testing.assert_array_equal(one.parameters, same.parameters)
    assert 2 <= fit_mixture(x, weight, 3).n_components <= 4


def test_weights():
    """Zero weight removes a cluster; half the weight halves its share."""
    x = np.vstack([np.random.RandomState(0).normal(size=(1000, 2)) + shift for shift in (-5, 5)])
    base = fit_mixture(x, np.repeat([1e-9, 2], 1000), 0)
    assert base.n_components == 1 and np.abs(base.means - 5).max() < 0.2
    base = fit_mixture(x, np.repeat([0.5, 1.5], 1000), 0)
    np.testing.assert_allclose(sorted(base.weights), [0.25, 0.75], atol=0.01)


def test_few_heavy_weights():
    x, weight = np.random.RandomState(0).normal(size=(2000, 2)), np.ones(2000)
    weight[:3] = 1e6
    assert fit_mixture(x, weight / weight.mean(), 0).n_components == 1


def test_one_heavy_point():
    x = blobs(700)[0]
    base = fit_mixture(np.vstack([x, [[0, 0]]]), np.append(np.ones(700), 300) * 701 / 1000, 0)
    assert base.n_components >= 4
    held_out = blobs(2000, seed=1)[0]
    gap = log_prob(fit_mixture(x, None, 0), held_out).mean() - (log_prob(base, held_out).mean() - np.log(0.7))
    assert gap < 0.1


# -- awkward data --


def correlated(correlation, n=1000):
    x = np.random.RandomState(0).normal(size=(n, 2))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    return x


def with_outlier(value):
    x = np.random.RandomState(0).normal(size=(500, 2))
    x[3] = value
    return x


def normal(*size):
    return np.random.RandomState(0).normal(size=size)


AWKWARD = {
    "one": lambda: normal(1, 3),
    "two": lambda: normal(2, 2),
    "two in one dimension": lambda: normal(2, 1),
    "three": lambda: normal(3, 5),
    "five": lambda: normal(5, 2),
    "one dimension": lambda: np.append(normal(500, 1) - 4, normal(500, 1) + 4)[:, None],
    "fewer than dimensions": lambda: normal(20, 40),
    "nearly the same": lambda: 1 + 1e-7 * normal(100, 2),
    "the same": lambda: np.full((100, 2), 0.1),
    "a constant column": lambda: np.hstack([normal(300, 2), np.full((300, 1), 0.1)]),
    "duplicates": lambda: np.repeat(normal(20, 2), 50, axis=0),
    "two values": lambda: np.random.RandomState(0).randint(0, 2, (500, 3)).astype(float),
    "many zeros": lambda: np.where(np.random.RandomState(1).uniform(size=(1000, 2)) < 0.3, 0, normal(1000, 2)),
    "an outlier": lambda: with_outlier(1e4),
    "an outlier beyond all": lambda: with_outlier(1e15),
    "correlated": lambda: correlated(0.9999),
    "a line": lambda: correlated(1),
    "five columns that are one": lambda: normal(1000, 1) * np.ones(5),
    "heavy tails": lambda: np.random.RandomState(0).standard_cauchy((1000, 3)),
    "heavier tails": lambda: np.random.RandomState(0).lognormal(0, 6, (1000, 2)),
    "scales": lambda: normal(500, 3) * [1e-8, 1, 1e8],
    "far from zero": lambda: normal(500, 2) + 1e6,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", AWKWARD)
@both_precisions
def test_awkward_data(name, weighted, dtype):
    x = AWKWARD[name]().astype(dtype)
    weight = np.random.RandomState(0).lognormal(0, 3, len(x)) if weighted else None
    base = fit_mixture(x, weight, 0)
    refit = refit_mixture(base, x, weight)
    for result in (base, refit):
        assert result.n_components == base.n_components <= max(1, len(x) // 2)
        assert np.isfinite(result.parameters).all() and result.dtype == np.dtype(dtype)
        assert (result.weights > 0).all() and (np.linalg.eigvalsh(result.covariances)[:, -1] > 0).all()
        flow = nvpflow.Flow([nvpflow.Permutation(x.shape[1], dtype=dtype)], base=result.copy())
        assert np.isfinite(flow.log_prob(x)).all()
        assert np.isfinite(flow.nll_and_grad(x)[1]).all()


@both_precisions
def test_random_awkward_data(dtype):
    """Tails, spikes, lines, scales and weights of all kinds."""
    for seed in range(12):
        rng = np.random.RandomState(seed)
        n, dim = rng.randint(1, 200), rng.randint(1, 6)
        x = (rng.normal(size=(n, dim)), rng.standard_cauchy((n, dim)), rng.randint(0, 4, (n, dim)) * 1.0)[seed % 3]
        if seed % 2:
            x = x @ rng.normal(size=(dim, 1 + dim // 2)) @ rng.normal(size=(1 + dim // 2, dim))
        x = (x * 10.0 ** rng.randint(-6, 6, dim) + rng.choice([0, 1e4])).astype(dtype)
        weight = rng.lognormal(0, rng.uniform(0, 6), n) if rng.uniform() < 0.5 else None
        base = refit_mixture(fit_mixture(x, weight, seed), x, weight)
        assert np.isfinite(base.parameters).all(), seed


def test_interruption(monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Mixture, "_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit_mixture(blobs(100)[0], None, 0)


def test_maximum_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(_Mixture, "_step", lambda self: calls.append(1) or -float(len(calls)))  # each one is better
    mixture = start_of(blobs(100)[0], None, 2)
    mixture.fit(7)
    assert len(calls) == 7
    mixture.fit(MAX_ITER)
    assert len(calls) == 7 + MAX_ITER
