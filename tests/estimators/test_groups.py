"""Samples of one group are held out together."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import check_data
from nvpflow._training.split import split
from support.estimators import make

DIM, N_OBJECTS, TIMES = 5, 100, 20
RNG = np.random.default_rng(0)
OBJECTS = RNG.normal(size=(N_OBJECTS, DIM))
X = np.repeat(OBJECTS, TIMES, axis=0) + 0.05 * RNG.normal(size=(N_OBJECTS * TIMES, DIM))
GROUPS = np.repeat([f"object {i}" for i in range(N_OBJECTS)], TIMES)
FRESH = np.random.default_rng(1).normal(size=(4000, DIM))


def gap(model):
    return -0.5 * np.mean(FRESH**2) * DIM - 0.5 * DIM * np.log(2 * np.pi) - model.score(FRESH)


def test_repeated_measurements_are_not_followed_one_by_one():
    assert gap(nvpflow.FlowDensity(random_state=0).fit(X)) > 5
    assert gap(nvpflow.FlowDensity(random_state=0).fit(X, groups=GROUPS)) < 0.3


def test_neighbours_in_a_chain():
    rng, n, time = np.random.default_rng(0), 10_000, 100
    slope = np.exp(-1 / time)
    chain = np.empty((n, DIM))
    chain[0] = rng.normal(size=DIM)
    for i in range(1, n):
        chain[i] = slope * chain[i - 1] + np.sqrt(1 - slope**2) * rng.normal(size=DIM)
    assert gap(nvpflow.FlowDensity(random_state=0).fit(chain)) > 1
    assert gap(nvpflow.FlowDensity(random_state=0).fit(chain, groups=np.arange(n) // (2 * time))) < 0.3


@pytest.mark.parametrize(
    "weight", [None, RNG.integers(1, 3, len(X)), RNG.uniform(0.5, 2, len(X))], ids=["equal", "whole", "real"]
)
def test_no_group_is_on_both_sides(weight):
    data = check_data(X, None, weight, np.dtype(np.float32), groups=GROUPS)
    training, validation = split(make()._settings(), data, 0)
    assert not np.isin(validation.copy_of, training.copy_of).any()
    assert 0.05 < len(validation.x) / len(data.x) < 0.35


def test_few_groups_of_different_sizes():
    data = check_data(X, None, None, np.dtype(np.float32), groups=np.arange(len(X)) < 300)
    training, validation = split(make()._settings(), data, 0)
    assert len(validation.x) == 300 and len(training.x) == len(X) - 300


@pytest.mark.parametrize("sizes", [[500, 500], [940, 20, 20, 20], [980, 10, 10], [250, 750]])
def test_a_group_with_nearly_all_rows(sizes):
    """Or the only one that is left when the other is held out."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    assert gap(nvpflow.FlowDensity(random_state=0).fit(FRESH[:1000], groups=groups)) < 0.2


def test_the_order_of_the_rows_and_the_names_of_the_groups_do_not_matter():
    order = RNG.permutation(len(X))
    first = make(random_state=0).fit(X, groups=GROUPS)
    second = make(random_state=0).fit(X[order], groups=np.unique(GROUPS, return_inverse=True)[1][order] * -1.5)
    np.testing.assert_array_equal(first.score_samples(FRESH), second.score_samples(FRESH))


def test_with_missing_cells_and_an_ensemble():
    x = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    x[5] = np.nan  # a row that says nothing
    model = make(missing="marginalize", n_models=2, random_state=0).fit(x, groups=GROUPS)
    assert np.isfinite(model.score_samples(FRESH)).all()


@pytest.mark.parametrize(
    "groups, error, message",
    [
        (GROUPS[:-1], ValueError, r"groups must have shape \(2000,\), one label for each row, got \(1999,\)"),
        (np.zeros(len(X)), ValueError, "groups must have at least 2 different labels, so that some are held out, got one"),
        (np.r_[np.nan, np.arange(len(X) - 1)], ValueError, "groups must have no missing labels, got NaN in row 0"),
        (np.array([None, *GROUPS[1:]], object), TypeError, "groups must be labels of one type that can be sorted"),
    ],
)
def test_errors(groups, error, message):
    model = make().fit(X[:100])
    before = model.score_samples(FRESH)
    with pytest.raises(error, match=message):
        model.fit(X, groups=groups)
    np.testing.assert_array_equal(model.score_samples(FRESH), before)


def test_tables_in_batches_have_no_groups(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match="groups needs a table in memory"):
        make().fit(tmp_path / "x.npy", groups=GROUPS)
