"""Margins: maps of single columns that are learnt from the samples, in front of mixture and layers."""

import numpy as np
import pytest
from scipy import stats

import nvpflow
from nvpflow._training.build import count_couplings
from nvpflow._training.dataset import Data
from nvpflow._training.margin_search import search_margins
from nvpflow._training.margins import Margins

SINGLE = np.dtype(np.float32)


def skewed(n=800, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.exponential(size=n), rng.uniform(size=n), rng.normal(size=n)], axis=1)


def log_density(x):
    return -x[:, 0] + stats.norm.logpdf(x[:, 2])


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(random_state=0, missing="marginalize").fit(skewed())


# -- the maps --


def test_columns_become_normal():
    x = skewed(4000)
    y = Margins.fit(x, None, np.array([True, True, False]), SINGLE).inverse(x)[0]
    for column in y.T[:2]:
        assert stats.kstest((column - column.mean()) / column.std(), "norm").statistic < 0.02
    np.testing.assert_allclose(np.corrcoef(y[:, 2], x[:, 2])[0, 1], 1, rtol=1e-12)


def test_log_det_is_that_of_differences():
    x, step = skewed(300), 1e-6
    margins = Margins.fit(x, None, np.array([True, True, True]), SINGLE)
    slopes = (margins.inverse(x + step)[0] - margins.inverse(x - step)[0]) / (2 * step)
    np.testing.assert_allclose(margins.inverse(x)[1], np.log(slopes).sum(axis=1), atol=1e-3)


def test_weights_make_the_margin():
    x = np.random.default_rng(0).exponential(size=(4000, 1))
    weight = np.exp(-x[:, 0])  # those of an exponential distribution of rate 2
    y = Margins.fit(x, weight / weight.mean(), np.array([True]), SINGLE).inverse(x)[0][:, 0]
    share = weight / weight.sum()
    mean = share @ y
    z = (y - mean) / np.sqrt(share @ (y - mean) ** 2)
    order = np.argsort(z)
    assert np.abs(np.cumsum(share[order]) - stats.norm.cdf(z[order])).max() < 0.03


@pytest.mark.parametrize("origin", [0.0, 3.0])
def test_layers_and_back(origin):
    x = skewed(300)
    margins = Margins.fit(x, None, np.array([True, False, True]), SINGLE)
    layers = margins.layers(origin)
    y, log_det = nvpflow.Flow(layers).inverse((x - origin).astype(SINGLE))
    np.testing.assert_allclose(y, margins.inverse(x)[0], atol=1e-4)
    np.testing.assert_allclose(log_det, margins.inverse(x)[1], atol=1e-2)
    same = Margins.from_layers(layers, origin, SINGLE)
    np.testing.assert_allclose(same.inverse(x)[0], margins.inverse(x)[0], atol=1e-4)
    assert (same.columns == [True, False, True]).all() and same.n_layers == len(layers)


# -- whether they pay --


def test_they_pay_for_skewed_columns_only():
    assert search_margins(Data(skewed()), 0, SINGLE).columns.tolist() == [True, True, False]


def test_they_do_not_pay_where_margins_say_little():
    normal = np.random.default_rng(0).normal(size=(500, 3))
    assert search_margins(Data(normal), 0, SINGLE) is None
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * np.random.default_rng(1).normal(size=(1000, 2))
    assert search_margins(Data(circle), 0, SINGLE) is None


def test_columns_of_frequent_values_are_left_alone():
    x = skewed()
    x[::5, 0] = 0
    assert search_margins(Data(x), 0, SINGLE).columns.tolist() == [False, True, False]


def test_broad_normals_stay_near_behind_them():
    """One unit along the tail of a margin may be many deviations of the column."""
    rng = np.random.default_rng(3)
    x = np.stack([rng.exponential(size=300) ** 2, rng.normal(size=300)], axis=1)
    margins = Margins.fit(x, None, np.array([True, False]), SINGLE)
    np.testing.assert_array_equal(margins.widest, [1.5, np.inf])


def test_few_rows_and_constant_columns_have_none():
    assert search_margins(Data(skewed(30)), 0, SINGLE) is None
    with pytest.raises(ValueError, match="constant column"):
        nvpflow.FlowDensity(random_state=0).fit(np.append(skewed(200), np.ones((200, 1)), axis=1))


# -- fitted models --


def test_bounds_and_skewness_cost_little(model):
    fresh = skewed(5000, seed=1)
    gap = np.mean(log_density(fresh) - model.score_samples(fresh))
    assert gap < 0.1  # 0.29 without margins
    assert len(model.flow_.layers) == count_couplings(model.flow_) + 5


def test_points_beyond_the_samples_have_a_density(model):
    far = np.array([[-1.0, 0.5, 0.0], [1.0, -0.5, 0.0], [1.0, 2.0, 0.0], [20.0, 0.5, 0.0]])
    scores = model.score_samples(far)
    assert (scores > -40).all() and (scores < -5).all()


def test_density_integrates_to_one():
    x = skewed(500)[:, :1]
    model = nvpflow.FlowDensity(random_state=0).fit(x)
    assert len(model.flow_.layers) > count_couplings(model.flow_) + 1
    grid = np.linspace(-30, 60, 200_001)
    density = np.exp(model.score_samples(grid[:, np.newaxis]))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=2e-3)


def test_marginals_are_exact(model):
    given = np.array([[0.7, np.nan, 0.3], [2.0, np.nan, -1.0]])
    grid = np.linspace(-3, 4, 20_001)
    for row, score in zip(given, model.score_samples(given)):
        x = np.column_stack([np.full(len(grid), row[0]), grid, np.full(len(grid), row[2])])
        assert np.log(np.trapezoid(np.exp(model.score_samples(x)), grid)) == pytest.approx(score, abs=5e-3)


def test_warm_start_moves_with_the_samples():
    x = skewed()
    model = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(x)
    before = model.score(x)
    after = model.fit(10 * x + 5).score(10 * x + 5) + x.shape[1] * np.log(10)
    assert after == pytest.approx(before, abs=0.05)


def test_warm_start_after_more_training():
    x = skewed()
    model = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(x)
    before = model.score(x)
    for _ in range(5):
        model.partial_fit(x)
    assert model.fit(x).score(x) == pytest.approx(before, abs=0.05)


def test_members_of_an_ensemble_share_an_origin():
    x = skewed() + [0, 0, 2.0**24]
    with pytest.warns(UserWarning, match="subtract the mean"):
        model = nvpflow.FlowDensity(random_state=0, n_models=2).fit(x)
    assert np.mean(log_density(x - [0, 0, 2.0**24]) - model.score_samples(x)) < 0.1


def test_search_shows_both_averages(model):
    scores = dict(zip(model.search_["candidate"].tolist(), model.search_["score"].tolist()))
    without, within = scores["average of mixtures, columns as they are"], scores["average of mixtures, margins of 2 columns"]
    assert within > without + 0.1
    assert model.search_["weight"].sum() == pytest.approx(1)
