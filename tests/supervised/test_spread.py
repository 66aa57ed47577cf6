"""Repeated values are spread alike in all classes."""

import numpy as np
import pytest

import nvpflow
from nvpflow.supervised._spread import spread

RNG = np.random.default_rng(0)
ALL = np.ones(1, bool)


def moved(x):
    x = np.asarray(x, float)[:, np.newaxis]
    return np.abs(spread(x, ALL, 0) - x)[:, 0]


def test_distinct_values_stay():
    x = RNG.normal(size=(200, 1))
    assert spread(x, ALL, 0) is x
    assert spread(np.zeros((5, 1)), ALL, 0).tolist() == [[0.0]] * 5


def test_zeros_are_narrow_and_others_stay():
    x = np.where(RNG.random(1000) < 0.4, 0.0, np.exp(RNG.normal(size=1000)))
    found = moved(x)
    assert (found[x > 0] == 0).all() and (found[x == 0] > 0).mean() > 0.99
    assert (x[x > 0] < found.max()).mean() < 0.025  # within 2 % of the others


def test_values_of_a_lattice_fill_it():
    x = RNG.poisson(3, 1000)
    found = moved(x)
    assert 0.49 < found.max() <= 0.5
    x = np.where(x > 6, 100, x)  # no value is wider than two gaps
    assert moved(x).max() <= 1.0


def test_copies_stay_copies_beside_distinct_values():
    number = RNG.normal(size=300)
    x = np.column_stack([number, np.rint(number)])
    twice = np.concatenate([x, x])
    found = spread(twice, np.ones(2, bool), 0)  # both columns repeat now
    assert not (found[:300] == found[300:]).any()
    x = np.concatenate([x, x[:10]])
    found = spread(x, np.ones(2, bool), 0)
    np.testing.assert_array_equal(found[:10], found[300:])
    assert (found[:, 0] == x[:, 0]).all() and (found[:, 1] != x[:, 1]).mean() > 0.99


def test_missing_cells_and_other_columns_stay():
    x = np.column_stack([RNG.poisson(3, 100).astype(float), RNG.poisson(3, 100)])
    x[::7, 0] = np.nan
    found = spread(x, np.array([True, False]), 0)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(x))
    np.testing.assert_array_equal(found[:, 1], x[:, 1])


@pytest.mark.parametrize("seed", [0, 1])
def test_classes_that_differ_in_their_zeros(seed):
    """Heights of peaks on zero are no probabilities: by these the loss was 0.08 nats above the best."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 3400)
    is_zero = rng.random((3400, 4)) < np.where(y, 0.3, 0.6)[:, np.newaxis]
    x = np.where(is_zero, 0.0, np.exp(rng.normal(size=(3400, 4))))
    model = nvpflow.FlowClassifier(random_state=seed).fit(x[:400], y[:400])
    log_odds = np.where(is_zero, np.log(0.3 / 0.6), np.log(0.7 / 0.4)).sum(axis=1)
    best = np.logaddexp(0, np.where(y, -log_odds, log_odds))[400:].mean()
    assert model.log_loss(x[400:], y[400:]) < best + 0.06
