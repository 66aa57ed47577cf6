"""Tables of many angles: the sum over windings leaves out what does not count."""

import numpy as np
import pytest

import nvpflow
from nvpflow.supports import _wrapped_mixture

TURN = 2 * np.pi


def coupled(n, q, rng):
    """Each angle near the one before it."""
    steps = np.column_stack([rng.uniform(0, TURN, n), rng.vonmises(0, 3, (n, q - 1))])
    return np.cumsum(steps, axis=1) % TURN


@pytest.fixture(scope="module")
def model():
    """Four angles and a bounded column, by an average of mixtures without layers."""
    rng = np.random.default_rng(0)
    X = np.column_stack([coupled(300, 4, rng), rng.uniform(size=300)])
    return nvpflow.FlowDensity(support=["angle"] * 4 + [(0, 1)], max_iter=1, random_state=0).fit(X)


def test_density_is_that_of_the_sum_over_all_windings(model, monkeypatch):
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.uniform(-9, 9, (100, 4)), rng.uniform(size=100)])
    X[0, 4], X[1, 4] = 2, 0  # outside, and on a bound
    ours = model.score_samples(X)
    assert model.best_iter_ == 0
    monkeypatch.setattr(_wrapped_mixture, "LEAST_ANGLES", 9)
    np.testing.assert_allclose(ours, model.score_samples(X), rtol=1e-4, atol=1e-3)
    assert ours[0] == -np.inf and np.isfinite(ours[1:]).all()


def test_few_terms_are_kept(model, monkeypatch):
    """The core is not asked: with six angles it would evaluate 15,625 points for a row."""
    monkeypatch.setattr(nvpflow.Flow, "log_prob", None)
    assert np.isfinite(model.score_samples(np.full((3, 5), 0.5))).all()
