"""The means that FlowRegressor predicts are those of its own draws, also of skewed targets, behind maps of single columns."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.margins import is_spline_of_margins
from nvpflow.missing._columns import split_layers

N = 1000
X = np.random.default_rng(0).normal(size=(N, 2))


def skewed(kind, seed=1):
    rng, scale = np.random.default_rng(seed), np.exp(X[:, 0] / 2)
    return {
        "log-normal": lambda: scale * np.exp(rng.normal(size=N)),
        "exponential": lambda: rng.exponential(scale),
        "chi-squared": lambda: scale * rng.normal(size=N) ** 2,
    }[kind]()


def assert_means_are_those_of_draws(model):
    rows = X[:50]
    draws = model.sample(rows, 4000, random_state=0).astype(np.float64)
    errors = draws.std(axis=1) / np.sqrt(draws.shape[1])
    assert np.abs((model.predict(rows) - draws.mean(axis=1)) / errors).max() < 5


def fit(y, **parameters):
    return nvpflow.FlowRegressor(n_folds=None, random_state=0, **parameters).fit(X, y)


@pytest.mark.parametrize("kind", ["log-normal", "exponential", "chi-squared"])
def test_skewed_target(kind):
    model = fit(skewed(kind))
    assert any(is_spline_of_margins(layer) for layer in model.flow_.layers)
    assert_means_are_those_of_draws(model)


def test_several_skewed_targets():
    model = fit(np.column_stack([skewed("log-normal"), skewed("exponential", 2)]))
    assert any(is_spline_of_margins(layer) for layer in model.flow_.layers) and not split_layers(model.flow_)[0]
    assert_means_are_those_of_draws(model)


def test_several_targets_with_supports():
    """Without trained layers their means are sums over cells, as that of one target is."""
    counts = np.random.default_rng(3).poisson(np.exp(X[:, 1] / 2)).astype(float)
    model = fit(np.column_stack([skewed("exponential"), counts]), support=[(0, None), nvpflow.Integer(0)])
    assert_means_are_those_of_draws(model)
