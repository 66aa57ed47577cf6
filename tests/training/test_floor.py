"""A floor of broad normals: rows far out have a density also behind margins and below layers."""

from dataclasses import replace

import numpy as np
import pytest

import nvpflow
from nvpflow._training import broad
from nvpflow._training.build import count_couplings
from nvpflow._training.dataset import Data
from nvpflow._training.margins import AS_IT_IS, BY_QUANTILES, Margins
from nvpflow._training.standardize import Units
from nvpflow._training.tails import Tails
from nvpflow.mixture_base import MixtureBase


def heavy(n, seed=0):
    """Three columns, log-normal with a deviation of 2 in logarithms, which depend on each other."""
    rng = np.random.default_rng(seed)
    return np.exp(2 * rng.normal(size=(n, 3)) @ np.linalg.cholesky(0.5 * np.eye(3) + 0.5).T)


class OfLayers(nvpflow.FlowDensity):
    """The layers stay, whatever held-out samples say."""

    def _settings(self):
        return replace(super()._settings(), keeps_layers=True)


def samples(n=200):
    return np.random.default_rng(0).normal(size=(n, 2)) + np.random.default_rng(1).choice([-3.0, 3.0], n)[:, np.newaxis]


def layers(**options):
    return OfLayers(n_layers=2, hidden_dim=4, max_iter=3, random_state=0, **options)


def test_behind_margins():
    x = heavy(200)
    model = nvpflow.FlowDensity(random_state=0).fit(x)
    assert len(model.flow_.layers) > count_couplings(model.flow_) + 1  # it has margins
    assert model.score_samples([[30 * x[:, 0].max(), *np.median(x, axis=0)[1:]]])[0] > -60  # -6000 without
    assert model.sample(20_000, random_state=0).max() < 50 * x.max()


def test_below_layers():
    x = samples()
    model = layers().fit(x)
    assert model.best_iter_ > 0
    far = x.mean(axis=0) + 30 * x.std(axis=0) * np.array([[1, 0], [0, -1], [1, 1]])
    assert (model.score_samples(far) > -35).all()  # -400 without


def test_a_refit_adds_none():
    model = layers(warm_start=True).fit(samples())
    before = model.flow_.base.n_components
    model.fit(samples(250))
    assert model.flow_.base.n_components == before


def test_behind_a_bound_it_is_narrow():
    x = np.exp(samples())
    model = layers(support=["positive", "real"]).fit(x)
    assert model.best_iter_ > 0
    widest = np.sqrt(model.flow_.base.covariances.max(axis=0).diagonal())
    assert widest[0] < 4 < 16 < widest[1]
    assert model.sample(20_000, random_state=0)[:, 0].max() < 20 * x[:, 0].max()


def test_none_over_a_normal():
    assert layers(base="normal").fit(samples()).flow_.base is None


@pytest.mark.parametrize("support", ["positive", nvpflow.Integer(0)])
def test_other_columns_have_one_beside_a_bound(support):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) * [1, 1, 0.001]
    x[:, 2] += x[:, 0] + x[:, 1]
    size = np.exp(rng.normal(size=500))
    x = np.column_stack([x, size if support == "positive" else np.floor(size)])
    x[:, 0] += rng.choice([-5.0, 5.0], 500)
    model = nvpflow.FlowDensity(support={3: support}, random_state=0).fit(x)
    off_the_tie = np.array([[x[0, 0], 0.0, x[0, 0] + 1, 2.0]])
    assert model.score_samples(off_the_tie)[0] > -50  # -25,000 without


def test_limits_of_half_lines_beside_a_margin():
    """Margins only scale such columns, by numbers that are part of their units: samples had 10 times the data's deviation."""
    rng = np.random.default_rng(0)
    x = np.column_stack([3 * rng.normal(size=600), rng.exponential(size=600)])
    margins = Margins.fit(x, None, np.array([AS_IT_IS, BY_QUANTILES]), np.dtype(np.float32))
    units = Units.of(Data(x), True, False, np.dtype(np.float32), margins=margins)
    far = x[:1] + [[np.log(2), 0]]  # twice as far from the bound
    moved = (units.standardize(far) - units.standardize(x[:1]))[0, 0]
    assert moved == pytest.approx(np.log(2) / units.whole_deviation[0], rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_density(dtype):
    base = MixtureBase([0.3, 0.7], [[0, 0], [1, 2]], [np.eye(2), 2 * np.eye(2)], dtype=dtype)
    tails = Tails(np.full(2, 3.0), np.array([np.inf, 5.0]), np.full(2, np.inf))
    whole = broad.with_floor(base, np.zeros((1, 2)), tails)
    assert whole.dtype == dtype and whole.weights.sum() == pytest.approx(1)
    z = np.random.default_rng(0).normal(size=(100, 2))
    np.testing.assert_allclose(whole.log_prob(z), base.log_prob(z), atol=2e-5)
    of_floor = whole.weights[2:], whole.covariances[2:]
    assert of_floor[0].sum() == pytest.approx(broad.SHARE_OF_FLOOR, rel=1e-4)
    np.testing.assert_allclose(np.sqrt(of_floor[1][:, [0, 1], [0, 1]]), [[2, 2], [4, 4], [8, 5], [16, 5], [32, 5]], rtol=1e-5)
    assert broad.with_floor(whole, np.zeros((1, 2)), tails) is whole
