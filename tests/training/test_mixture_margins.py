"""Margins that follow mixtures: columns with several modes that depend little on each other."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.margin_search import search_margins
from nvpflow._training.margins import AS_IT_IS, BY_MIXTURE, BY_QUANTILES, Margins

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def modes(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    return 0.3 * rng.normal(size=(n, dim)) + 2 * rng.integers(0, 2, (n, dim))


def log_density(x):
    return (logsumexp([stats.norm.logpdf(x, mode, 0.3) for mode in (0, 2)], axis=0) - np.log(2)).sum(axis=1)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(random_state=0).fit(modes(500, 8))


def test_many_columns_with_two_modes(model):
    fresh = modes(5000, 8, seed=1)
    assert np.mean(log_density(fresh) - model.score_samples(fresh)) < 0.12  # 0.73 between quantiles
    draws = model.sample(5000, random_state=0)
    assert np.mean(np.abs(draws - 1) < 0.25) < 0.02  # between the modes


@pytest.mark.parametrize("far", [2, 8])
def test_one_column(far):
    rng = np.random.default_rng(0)
    x = 0.3 * rng.normal(size=(20_000, 1)) + far * rng.integers(0, 2, (20_000, 1))
    exact = logsumexp([stats.norm.logpdf(x[:, 0], mode, 0.3) for mode in (0, far)], axis=0) - np.log(2)
    margins = Margins.fit(x[:2000], None, np.array([BY_MIXTURE]), SINGLE)
    y, log_slope = margins.inverse(x)
    of_normal = stats.norm.logpdf(y[:, 0], scale=margins.inverse(x[:2000])[0].std())
    assert np.mean(exact - of_normal - log_slope) < 0.05  # by quantiles 0.17 and 0.5
    within = margins.inverse(np.sort(x[:200], axis=0))[0]
    assert (np.diff(within[:, 0]) > 0).all()


def test_slopes_are_derivatives():
    margins = Margins.fit(modes(300, 2), None, np.array([BY_MIXTURE, BY_QUANTILES]), DOUBLE)
    x, h = modes(50, 2, seed=1), 1e-6
    slopes = [
        (margins.inverse(x + step)[0] - margins.inverse(x - step)[0])[:, i] / (2 * h) for i, step in enumerate(h * np.eye(2))
    ]
    np.testing.assert_allclose(np.log(slopes).sum(axis=0), margins.inverse(x)[1], atol=1e-4)


def test_layers_know_the_shapes():
    x, shapes = modes(300, 3), np.array([BY_MIXTURE, AS_IT_IS, BY_QUANTILES])
    margins = Margins.fit(x, None, shapes, DOUBLE)
    np.testing.assert_array_equal(margins.shapes, shapes)
    np.testing.assert_array_equal(margins.columns, [True, False, True])
    again = Margins.from_layers(margins.layers(0.0), 0.0, DOUBLE)
    np.testing.assert_array_equal(again.shapes, shapes)
    np.testing.assert_allclose(again.inverse(x)[0], margins.inverse(x)[0], atol=1e-12)
    alone = Margins.fit(x, None, np.full(3, BY_MIXTURE), DOUBLE)
    assert len(alone.stages) == 1


def test_where_they_are_looked_for():
    x = modes(600, 4)
    np.testing.assert_array_equal(search_margins(Data(x), 0, SINGLE).shapes, BY_MIXTURE)
    assert search_margins(Data(modes(600, 2)), 0, SINGLE) is None  # a mixture of both has few modes
    x[:, 0] = np.round(x[:, 0], 1)  # a mixture would follow the values
    assert search_margins(Data(x), 0, SINGLE).shapes[0] != BY_MIXTURE


def test_refit_keeps_them(model, tmp_path):
    model.save(tmp_path / "model.npz")
    loaded = nvpflow.load(tmp_path / "model.npz").set_params(warm_start=True)
    loaded.fit(modes(700, 8, seed=2) + 0.5)
    fresh = modes(3000, 8, seed=3)
    assert np.mean(log_density(fresh) - loaded.score_samples(fresh + 0.5)) < 0.12
