"""FlowDensity(base="student_t"): heavy tails, dependent columns, contexts, what is kept, and what needs another base."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training import start
from nvpflow._training.warm_start import are_identity


def log_t(x, df=3):
    """Log-density of independent t distributions."""
    return nvpflow.StudentTBase(x.shape[1], df, dtype="float64").log_prob(x)


def gap(model, x, expected):
    return float(np.mean(expected - model.score_samples(x)))


def fitted(x, **parameters):
    return nvpflow.FlowDensity(base="student_t", random_state=0, **parameters).fit(x)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_heavy_tails(dim):
    """The gap over N(0, I) is above 0.09 here."""
    x, fresh = (np.random.default_rng(i).standard_t(3, (n, dim)) for i, n in enumerate((1000, 20_000)))
    x, fresh = 5 * x + 100, 5 * fresh + 100
    model = fitted(x, max_iter=50)
    assert gap(model, fresh, log_t((fresh - 100) / 5) - dim * np.log(5)) < 0.004 * dim
    assert (abs(model.flow_.base.df - 3) < 1).all()
    assert model.best_iter_ == 0  # independent columns need no layers


def test_columns_that_a_linear_map_mixes():
    mixing = np.array([[1, 0, 0], [2, 1, 0], [-3, 1, 0.5]])
    x, fresh = (np.random.default_rng(i).standard_t(3, (n, 3)) for i, n in enumerate((1000, 20_000)))
    model = fitted(x @ mixing.T, max_iter=50, batch_size=256)
    assert gap(model, fresh @ mixing.T, log_t(fresh) - np.log(0.5)) < 0.02


def test_layers_stay_where_they_help():
    rng = np.random.default_rng(0)
    x = rng.standard_t(4, (600, 2))
    x[:, 1] += np.minimum(x[:, 0] ** 2, 9)
    model = fitted(x, max_iter=300)
    assert model.best_iter_ > 0
    base_alone = fitted(x, max_iter=1, learning_rate=1e-12)
    assert model.score(x) > base_alone.score(x) + 0.3


def test_layers_that_are_not_clearly_better_are_given_up(monkeypatch):
    monkeypatch.setattr(start, "LEAST_GAIN", 1e9)
    x = np.random.default_rng(0).standard_t(4, (600, 2))
    x[:, 1] += np.minimum(x[:, 0] ** 2, 9)
    model = fitted(x, max_iter=300)
    assert model.best_iter_ == 0 and are_identity(model.flow_.layers)


def test_extreme_values_do_not_set_the_scale():
    x = np.random.default_rng(0).standard_t(0.8, (1000, 1))
    assert np.abs(x).max() > 900
    model = fitted(x, max_iter=50)
    assert gap(model, x, log_t(x, 0.8)) < 0.01 and 0.7 < model.flow_.base.df[0] < 0.9


def test_context():
    rng = np.random.default_rng(0)
    context = rng.normal(size=(800, 1))
    x = 2 * context + np.exp(0.3 * context) * rng.standard_t(3, (800, 1))
    expected = log_t((x - 2 * context) / np.exp(0.3 * context)) - 0.3 * context[:, 0]
    model = nvpflow.FlowDensity(base="student_t", random_state=0, max_iter=100).fit(x, context=context)
    assert float(np.mean(expected - model.score_samples(x, context=context))) < 0.05


def test_normal_latent_points():
    x = np.random.default_rng(0).standard_t(2, (1000, 2)) @ [[1, 1], [0, 1]]
    model = fitted(x, max_iter=20, latent="normal", dtype="float64")
    z = model.transform(x)
    assert (np.abs(z.mean(axis=0)) < 0.1).all() and (np.abs(z.std(axis=0) - 1) < 0.1).all() and np.abs(z).max() < 5
    np.testing.assert_allclose(model.inverse_transform(z), x, rtol=1e-9, atol=1e-9)


def test_columns_of_few_values_have_finite_densities():
    rng = np.random.default_rng(0)
    x = np.stack([np.where(rng.random(500) < 0.7, 0, rng.normal(size=500)), rng.normal(size=500)], axis=1)
    with pytest.warns(UserWarning, match="repeat few values"):
        model = fitted(x, max_iter=20)
    assert np.isfinite(model.score_samples(x)).all()


def test_files_averages_and_warm_starts(tmp_path):
    x = np.random.default_rng(0).standard_t(3, (300, 2))
    model = fitted(x, max_iter=10, n_models=2)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(nvpflow.load(tmp_path / "model.npz").score_samples(x), model.score_samples(x))
    model = fitted(x, max_iter=10)
    before = model.score(x)
    model.set_params(warm_start=True, max_iter=2).fit(x + 7)
    assert isinstance(model.flow_.base, nvpflow.StudentTBase) and model.score(x + 7) > before - 0.05
    model.set_params(base="auto")
    with pytest.raises(ValueError, match="base student_t -> normal"):
        model.fit(x)


def test_pieces():
    x = np.random.default_rng(0).standard_t(2, (1000, 2))
    model = nvpflow.FlowDensity(base="student_t", random_state=0)
    for first in range(0, 1000, 250):
        model.partial_fit(x[first : first + 250])
    assert gap(model, x, log_t(x, 2)) < 0.1


def test_a_column_given_others():
    x = np.random.default_rng(0).standard_t(3, (1000, 2))
    model = fitted(x, max_iter=10)
    grid = np.array([-30.0, -3, 0, 1, 30])
    given = model.conditional({0: 2.0})
    alone = model.score_samples(np.column_stack([np.full(5, 2.0), grid])) - model.marginal([0]).score_samples([[2.0]])
    np.testing.assert_allclose(given.score_samples(grid[:, np.newaxis]), alone, atol=0.03)
    angles = np.pi * ((np.arange(4000) + 0.5) / 4000 - 0.5)  # the first column, integrated as its tangent
    rows = np.column_stack([np.tile(np.tan(angles), 5), np.repeat(grid, 4000)])
    joint = np.exp(model.score_samples(rows)).reshape(5, 4000) / np.cos(angles) ** 2 * np.pi
    found = model.marginal([1]).score_samples(grid[:, np.newaxis])
    np.testing.assert_allclose(found, np.log(joint.mean(axis=1)), atol=0.05)
    assert given.cdf([0.0])[0] == pytest.approx(0.5, abs=0.05)


def test_missing_cells():
    x = np.random.default_rng(0).standard_t(3, (400, 2))
    x[::5, 1] = np.nan
    model = fitted(x, max_iter=10, missing="marginalize")
    whole = x[~np.isnan(x).any(axis=1)]
    assert gap(model, whole, log_t(whole)) < 0.05
    only_first = np.column_stack([whole[:, 0], np.full(len(whole), np.nan)])
    assert gap(model, only_first, log_t(whole[:, :1])) < 0.05


def test_a_regressor_refuses_the_base():
    x = np.random.default_rng(0).standard_t(3, (50, 2))
    with pytest.raises(ValueError, match="base must not be 'student_t' in a FlowRegressor"):
        nvpflow.FlowRegressor(base="student_t").fit(x[:, :1], x[:, 1])
