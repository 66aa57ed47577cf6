"""Kernels at the samples compete with mixtures where samples and columns are few."""

import numpy as np
import pytest
from scipy.special import logsumexp

import nvpflow
from nvpflow._training import stacking
from nvpflow._training.broad import WIDTHS
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import BANDWIDTHS, MOST_KERNELS, Candidates
from nvpflow._training.stacking import stack_mixtures
from support.awkward import log_prob
from support.marks import both_precisions


def spirals(n, seed=0):
    """Two arms of 1.5 turns, with noise."""
    rng = np.random.default_rng(seed)
    t = 3 * np.pi * np.sqrt(rng.random(n)) * rng.choice([-1.0, 1.0], size=n)
    return np.column_stack([-t * np.cos(t), np.abs(t) * np.sin(t)]) / 3 + 0.1 * rng.normal(size=(n, 2))


def candidates(x, weight=None):
    """Those that are judged on the last ten rows."""
    units = ColumnUnits(x, weight)
    data = Data(units.standardize(x), None, weight)
    return Candidates(data, units, np.arange(len(x)) >= len(x) - 10, 1.0, [0])


def stacked(x, weight=None):
    data, n = Data(x, None, weight), round(0.8 * len(x))
    return stack_mixtures(data.rows(slice(n)), data.rows(slice(n, None)), 0, np.zeros(len(x)))


def shares_of_kernels(search):
    return {name: share for name, share in zip(search["candidate"], search["weight"]) if "kernels" in name and share > 0}


@both_precisions
@pytest.mark.parametrize("weighted", [False, True])
def test_density_of_kernels(weighted, dtype):
    x = spirals(60).astype(dtype)
    weight = np.linspace(0.5, 1.5, 60) if weighted else None
    part = candidates(x, weight)
    names = part.fit_kernels()
    assert len(names) == len(BANDWIDTHS)
    share = np.ones(50) if weight is None else weight[:50]
    squares = ((part.held_out.x[:, None].astype(float) - part.all.x.astype(float)) ** 2).sum(axis=2)
    for name, h in zip(names, BANDWIDTHS):
        exact = logsumexp(-squares / (2 * h**2), axis=1, b=share / share.sum()) - np.log(2 * np.pi * h**2)
        np.testing.assert_allclose(part.log_probs[name], exact, rtol=1e-4, atol=1e-4)


def test_few_samples_of_a_curve_gain_by_kernels(monkeypatch):
    x, held_out = spirals(50), spirals(5000, seed=1)
    stack = stacked(x)
    assert shares_of_kernels(stack.search)
    monkeypatch.setattr(Candidates, "most_kernels", 0)
    without = stacked(x)
    assert not any("kernels" in name for name in without.search["candidate"])
    assert log_prob(stack.base, held_out).mean() > log_prob(without.base, held_out).mean() + 0.05


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(spirals(MOST_KERNELS + 20), id="many rows"),
        pytest.param(np.hstack([spirals(60), spirals(60, seed=1)]), id="four columns"),
        pytest.param(spirals(60).round(1), id="repeated values"),
    ],
)
def test_no_kernels(x):
    assert candidates(x).fit_kernels() == []
    assert candidates(spirals(60)).fit_kernels()


def test_none_if_values_repeat_in_some_parts():
    x = spirals(50)
    x[:6, 0] = x[0, 0]
    search = stacked(x).search
    assert not any("kernels" in name for name in search["candidate"])


def test_parts_share_the_kernels_of_a_sample(monkeypatch):
    """They are one component, with the density of the average of the parts."""
    x, points = spirals(50), spirals(500, seed=1)
    stack = stacked(x)
    monkeypatch.setattr(stacking, "_merged", lambda base: base)
    apart = stacked(x)
    n_kernels = len(shares_of_kernels(stack.search))
    n_twins = apart.base.n_components - stack.base.n_components
    # Each sample is in nine of ten parts, and each part has the same broad normals.
    assert n_twins == n_kernels * (9 * 50 - 50) + 9 * len(WIDTHS)
    np.testing.assert_allclose(log_prob(stack.base, points), log_prob(apart.base, points), rtol=1e-5, atol=1e-5)


def test_fitted_density_with_kernels(tmp_path):
    x = spirals(50)
    model = nvpflow.FlowDensity(random_state=0).fit(x)
    assert shares_of_kernels(model.search_)
    assert model.search_["weight"].sum() == pytest.approx(1)
    again = nvpflow.FlowDensity(random_state=0, n_jobs=2).fit(x)
    np.testing.assert_array_equal(again.score_samples(x), model.score_samples(x))
    model.save(tmp_path / "model.npz")
    loaded = nvpflow.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))
    assert np.isfinite(model.sample(100, random_state=0)).all()


def test_kernels_compete_again_in_a_warm_start():
    x = spirals(50)
    model = nvpflow.FlowDensity(random_state=0, warm_start=True, max_iter=5).fit(x)
    assert shares_of_kernels(model.fit(x).search_)


def test_no_kernels_of_context_and_samples():
    x = spirals(60)
    search = nvpflow.FlowDensity(random_state=0, max_iter=5, base="mixture").fit(x[:, :1], context=x[:, 1:]).search_
    given = [name for name in search["candidate"] if "given the context" in name]
    assert given and not any("kernels" in name for name in given)
