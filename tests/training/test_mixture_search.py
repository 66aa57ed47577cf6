"""The mixture that starts a flow: known mixtures, and awkward data.

NumPy's warnings are errors here, as all are.
"""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.mixture_search import MOST_ROWS, fit_mixture
from support.awkward import AWKWARD, blobs, log_prob
from support.marks import both_precisions


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


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", AWKWARD)
@both_precisions
def test_awkward_data(name, weighted, dtype):
    x = AWKWARD[name]().astype(dtype)
    weight = np.random.RandomState(0).lognormal(0, 3, len(x)) if weighted else None
    base = fit_mixture(x, weight, 0)
    assert base.n_components <= max(1, len(x) // 2)
    assert np.isfinite(base.parameters).all() and base.dtype == np.dtype(dtype)
    assert (base.weights > 0).all() and (np.linalg.eigvalsh(base.covariances)[:, -1] > 0).all()
    flow = nvpflow.Flow([nvpflow.Permutation(x.shape[1], dtype=dtype)], base=base.copy())
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
        base = fit_mixture(x, weight, seed)
        assert np.isfinite(base.parameters).all(), seed


def test_interruption(monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("nvpflow._core.em", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit_mixture(blobs(100)[0], None, 0)


def test_some_of_many_rows():
    """The rows that are read come from all of them, even where these are sorted."""
    x = np.sort(np.random.RandomState(0).normal(size=(10 * MOST_ROWS, 1)), axis=0)
    base = fit_mixture(x, None, 0)
    held_out = np.random.RandomState(1).normal(size=(2000, 1))
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    assert log_prob(base, held_out).mean() > -entropy - 0.05
