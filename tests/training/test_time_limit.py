"""time_limit: training ends after the first epoch that ends later, and leaves a model as after max_iter."""

import time

import numpy as np
import pytest

import nvpflow
from support.estimators import FRESH, X, make

MANY = 10**7  # epochs that would take hours


@pytest.mark.parametrize("options", [{}, {"base": "normal"}, {"base": "normal", "n_init": 2}, {"validation_fraction": None}])
def test_a_long_limit_changes_nothing(options):
    model, limited = make(**options).fit(X), make(time_limit=1e6, **options).fit(X)
    np.testing.assert_array_equal(limited.flow_.parameters, model.flow_.parameters)
    np.testing.assert_array_equal(limited.history_["train_nll"], model.history_["train_nll"])
    assert limited.best_iter_ == model.best_iter_


@pytest.mark.parametrize("options", [
    {}, {"base": "normal"}, {"base": "normal", "n_init": 2}, {"validation_fraction": None}, {"n_jobs": 2, "batch_size": None},
    {"verbose": 1}, {"n_models": 2, "base": "normal"}, {"n_models": 2, "n_jobs": 2},
])  # fmt: skip
def test_training_ends(options):
    start = time.monotonic()
    model = make(max_iter=MANY, time_limit=0.3, **options).fit(X)
    assert time.monotonic() - start < 30  # room for a busy machine; without a limit it would not end
    assert 0 < model.n_iter_ < 2 * MANY and model.n_iter_ == len(model.history_["train_nll"])
    assert np.isfinite(model.score(FRESH)) and model.score(FRESH) > -5


@pytest.mark.parametrize("n_models", [1, 3])
def test_at_least_one_epoch(n_models):
    model = make(max_iter=MANY, time_limit=1e-9, n_models=n_models, base="normal").fit(X)
    assert model.n_iter_ == n_models and np.isfinite(model.score(X))
    assert n_models == 1 or len(model.flow_) == 3


def test_every_member_gets_a_share():
    model = make(max_iter=MANY, time_limit=1.2, n_models=3, base="normal").fit(X)
    epochs = np.bincount(model.history_["member"])
    assert len(epochs) == 3 and epochs.min() > 10


def test_layers_are_judged():
    """Those that do not improve on a mixture are the identity, as after all epochs: the mixture is fitted to all samples."""
    x = np.random.default_rng(0).normal(size=(300, 2))
    model = nvpflow.FlowDensity(max_iter=MANY, time_limit=0.3, random_state=0).fit(x)
    full = nvpflow.FlowDensity(max_iter=10, random_state=0).fit(x)
    assert model.best_iter_ == full.best_iter_ == 0
    np.testing.assert_array_equal(model.score_samples(x), full.score_samples(x))


def test_detector():
    detector = make(nvpflow.FlowOutlierDetector, max_iter=MANY, time_limit=0.2).fit(X)
    assert np.isfinite(detector.offset_) and detector.n_iter_ < MANY


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, "1", True])
def test_bad_limits(wrong):
    with pytest.raises((TypeError, ValueError), match="^time_limit must "):
        make(time_limit=wrong).fit(X)
