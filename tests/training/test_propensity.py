"""Weights by which complete rows that are held out stand for all rows."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.propensity import inverse_propensity
from nvpflow._training.split import split
from nvpflow._training.stacking import _weight_of_judged
from nvpflow._training.start import Start


def table(n=4000, seed=0):
    """A column that is missing where the other, skewed one is large, as a rule; and those rows."""
    rng = np.random.default_rng(seed)
    other = rng.lognormal(size=n)
    chance = 1 / (1 + np.exp(-2 * np.log(other)))
    return np.column_stack([other, rng.normal(size=n)]), rng.random(n) < chance, 1 / (1 - chance)


def test_weights_are_those_of_the_mechanism():
    x, incomplete, expected = table()
    found = inverse_propensity(x, incomplete, None)
    usual = expected < 20
    assert np.corrcoef(np.log(found[usual]), np.log(expected[usual]))[0, 1] > 0.99
    np.testing.assert_allclose(np.median(found / expected), 1, atol=0.1)


def test_a_mechanism_with_two_sides():
    x = np.random.default_rng(0).normal(size=(4000, 1))
    incomplete = np.random.default_rng(1).random(4000) < np.where(np.abs(x[:, 0]) > 1, 0.9, 0.1)
    found = inverse_propensity(x, incomplete, None)
    assert found[np.abs(x[:, 0]) > 2].mean() > 3 * found[np.abs(x[:, 0]) < 0.5].mean()


def test_counts_are_as_repeated_rows():
    x, incomplete, _ = table(500)
    counts = np.random.default_rng(2).integers(1, 4, 500)
    repeated = np.repeat(np.arange(500), counts)
    found = inverse_propensity(x[repeated], incomplete[repeated], None)
    weighted = inverse_propensity(x, incomplete, counts.astype(float))
    np.testing.assert_allclose(weighted[repeated], found, rtol=0.2)  # the ranks differ


@pytest.mark.parametrize("seed", range(3))
def test_gaps_at_random_need_no_weights(seed):
    rng = np.random.default_rng(seed)
    assert inverse_propensity(rng.normal(size=(2000, 4)), rng.random(2000) < 0.4, None) is None


@pytest.mark.parametrize("constant", [0.0, 1e300])
def test_awkward_columns(constant):
    x, incomplete, _ = table(300)
    x = np.column_stack([x[:, 0], np.full(300, constant), 1e-300 * x[:, 1], x[:, 0] > 1])
    assert np.isfinite(inverse_propensity(x, incomplete, None)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_held_out_rows_stand_for_all(weighted):
    x, incomplete, _ = table()
    weight = np.random.default_rng(3).uniform(0.5, 1.5, len(x)) if weighted else None
    training, validation = split(nvpflow.FlowDensity()._settings(), Data(x, None, weight), 0, incomplete)
    assert not np.isin(validation.x[:, 1], x[incomplete, 1]).any()
    scores, whole = np.log(validation.x[:, 0]), np.average(np.log(x[:, 0]), weights=weight)
    assert scores.mean() < whole - 0.5  # complete rows alone
    assert np.average(scores, weights=validation.for_all) == pytest.approx(whole, abs=0.15)
    assert np.average(np.log(training.x[:, 0]), weights=training.weight) == pytest.approx(whole, abs=0.05)
    mask = np.append(np.zeros(len(training.x), bool), np.ones(len(validation.x), bool))
    found = _weight_of_judged(training.and_those(validation), validation, [np.flatnonzero(mask), np.flatnonzero(~mask)])
    np.testing.assert_array_equal(found[: len(validation.x)], validation.for_all)
    others = np.ones(len(training.x)) if weight is None else training.with_others
    np.testing.assert_array_equal(found[len(validation.x) :], others)


def test_layers_must_be_better_for_all_rows():
    """They moved a column to where rows are complete."""
    start = Start.__new__(Start)
    start.settings = nvpflow.FlowDensity()._settings()
    gain, many = np.append(np.full(900, 0.1), np.full(100, -0.5)), np.append(np.ones(900), np.full(100, 9.0))
    data = Data(gain[:, np.newaxis])
    for for_all, is_better in ((None, True), (np.ones(1000), True), (many, False)):
        start.validation = data._replace(for_all=for_all)
        assert start._is_better(gain, np.zeros(1000)) == is_better
