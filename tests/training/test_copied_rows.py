"""Rows that are copies of others, as weights and bootstrap samples make them, are held out together."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.copies import copies_of, distinct_rows
from nvpflow._training.dataset import Data, check_data
from nvpflow._training.stacking import parts_in_turn
from nvpflow._training.statistics import places_of_rows

RNG = np.random.default_rng(0)
SMOOTH = RNG.normal(size=(200, 3))


def test_copies_are_numbered_by_row():
    times = RNG.integers(1, 4, 200)
    x = np.repeat(SMOOTH, times, axis=0)
    row = copies_of(Data(x))
    assert len(np.unique(row)) == 200 and all(len(np.unique(x[row == k], axis=0)) == 1 for k in range(200))
    assert len(distinct_rows(x, *places_of_rows(x))) == 200


@pytest.mark.parametrize(
    "x",
    [
        SMOOTH,
        np.repeat(SMOOTH[:, :1], 2, axis=0),  # a rounded column looks like this as well
        np.round(np.repeat(SMOOTH, 3, axis=0) + 0.3 * RNG.normal(size=(600, 3))),  # different cases
        np.concatenate([SMOOTH, SMOOTH[:10]]),  # a few, which cannot do harm
    ],
    ids=["distinct", "one column", "rounded", "few"],
)
def test_no_copies(x):
    assert copies_of(Data(x)) is None and distinct_rows(x, *places_of_rows(x)) is x


def test_a_rounded_column_beside_a_smooth_one_does_not_hide_copies():
    x = np.repeat(np.stack([SMOOTH[:, 0], np.round(SMOOTH[:, 1])], axis=1), 2, axis=0)
    assert len(np.unique(copies_of(Data(x)))) == 200


@pytest.mark.parametrize("times", [2, 5])
def test_rounded_columns_tell_copies_together(times):
    """No column of a bootstrap sample of lengths in tenths is without equal values, and no two of its rows were equal before."""
    rows = np.round(RNG.normal(size=(300, 5)), 1)
    x = rows[RNG.integers(0, 300, 300 * times)]
    assert len(np.unique(copies_of(Data(x)))) == len(np.unique(x, axis=0)) == len(distinct_rows(x, *places_of_rows(x)))


def test_cases_of_determined_columns_are_no_copies():
    """Two of these columns and the third one know each other, so that rows equal in two of them are equal in all."""
    parts = RNG.binomial(9, [0.2, 0.4], (500, 2))
    x = np.column_stack([parts, parts.sum(axis=1)]).astype(float)
    assert copies_of(Data(x)) is None
    answers = RNG.integers(1, 6, (500, 1)) + RNG.integers(0, 2, (500, 4))
    assert copies_of(Data(answers.astype(float))) is None


def test_the_context_tells_copies_of_one_column():
    x, context = np.repeat(SMOOTH[:, :1], 2, axis=0), np.repeat(SMOOTH[:, 1:], 2, axis=0)
    assert len(np.unique(copies_of(Data(x, context)))) == 200


def test_parts_hold_out_all_copies_of_a_row():
    x = np.repeat(SMOOTH, 3, axis=0)[RNG.permutation(600)]
    row = copies_of(Data(x))
    masks = parts_in_turn(Data(x), 0, 5, 0)
    assert sum(mask.sum() for mask in masks) == 600
    for mask in masks:
        assert not np.isin(row[mask], row[~mask]).any()


@pytest.mark.parametrize("way", ["weights", "bootstrap"])
def test_copies_make_no_peaks(way):
    # The default was 3 nats below a normal distribution, of these weights, and every fresh row an outlier.
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(5), 0.5 + 0.5 * np.eye(5), size=4000)
    train, fresh, weight = x[:1000], x[1000:], None
    if way == "weights":
        weight = rng.integers(1, 4, 1000)
    else:
        train = train[rng.integers(0, 1000, 1000)]
    usual = nvpflow.FlowDensity(random_state=0).fit(x[:1000]).score(fresh)
    assert nvpflow.FlowDensity(random_state=0).fit(train, sample_weight=weight).score(fresh) > usual - 0.05


ROUNDED = np.round(np.stack([170 + 10 * SMOOTH[:, 0], 70 + 8 * SMOOTH[:, 0] + 6 * SMOOTH[:, 1]], axis=1))
FRESH = RNG.normal(size=(3000, 2))
ROUNDED_FRESH = np.round(np.stack([170 + 10 * FRESH[:, 0], 70 + 8 * FRESH[:, 0] + 6 * FRESH[:, 1]], axis=1))


@pytest.mark.parametrize("x, fresh", [(SMOOTH[:, :1], FRESH[:, :1]), (ROUNDED, ROUNDED_FRESH)], ids=["one column", "rounded"])
@pytest.mark.parametrize("least, most", [(1, 3), (50, 150)])
def test_weights_of_whole_numbers_make_no_peaks(x, fresh, least, most):
    # The copies were on both sides: 8 nats below, or 14 nats with rounded columns, and 95 % of fresh rows outliers.
    weight = np.random.default_rng(0).integers(least, most + 1, len(x))
    usual = nvpflow.FlowDensity(random_state=0).fit(x, sample_weight=weight * np.linspace(1, 1 + 1e-5, len(x)))
    counted = nvpflow.FlowDensity(random_state=0).fit(x, sample_weight=weight)
    assert counted.score(fresh) > usual.score(fresh) - 0.2
    detector = nvpflow.FlowOutlierDetector(contamination=0.05, random_state=0).fit(x, sample_weight=weight)
    assert np.mean(detector.predict(fresh) < 0) < 0.12


def test_copies_by_weights_are_known_through_splits_and_sorting():
    times = RNG.integers(1, 4, 200)
    data = check_data(ROUNDED, None, times, np.dtype("float32"))
    row = copies_of(data)
    assert len(data.x) == times.sum() and sorted(np.bincount(row).tolist()) == sorted(times.tolist())
    some = data.rows(slice(0, 50)).and_those(data.rows(slice(100, 150)))
    np.testing.assert_array_equal(some.copy_of, np.append(data.copy_of[:50], data.copy_of[100:150]))
    assert check_data(ROUNDED, None, np.ones(200), np.dtype("float32")).copy_of is None
