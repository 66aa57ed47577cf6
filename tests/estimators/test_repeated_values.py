"""The warning about columns of real numbers in which few values repeat."""

import warnings

import numpy as np
import pytest

import nvpflow

rng = np.random.default_rng
NORMAL = rng(0).normal(size=1000)
QUICK = {"max_iter": 1, "n_layers": 1, "hidden_dim": 4, "random_state": 0}


def fit(*columns, **options):
    return nvpflow.FlowDensity(**QUICK | options).fit(np.column_stack(columns))


@pytest.mark.parametrize("column", [
    rng(1).integers(0, 5, 1000),
    rng(1).integers(1, 13, 1000) / 12,
    np.where(rng(1).random(1000) < 0.6, 0, NORMAL),
    4 + rng(1).exponential(0.5, 1000).round(1),
], ids=["five", "months", "zeros", "magnitudes"])  # fmt: skip
def test_few_values_warn(column):
    with pytest.warns(UserWarning, match=r"column\(s\) 1 of X repeat few values.*'integer'.*'category'"):
        fit(NORMAL, column)
    with pytest.warns(UserWarning, match=r"column\(s\) 0, 2 of X repeat"):
        fit(column, NORMAL, 1 - column[::-1])


@pytest.mark.parametrize("column", [
    rng(1).normal(5, 1, 1000).round(1),
    rng(1).normal(40, 15, 1000).round(),
    np.where(rng(1).random(1000) < 0.3, 0, NORMAL),
], ids=["tenths", "ages", "some zeros"])  # fmt: skip
def test_rounded_values_do_not_warn(column):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(NORMAL, column)


def test_groups_are_no_copies():
    x = np.column_stack([NORMAL, 4 + rng(1).exponential(0.5, 1000).round(1)])
    with pytest.warns(UserWarning, match=r"column\(s\) 1 of X repeat few values"):
        nvpflow.FlowDensity(**QUICK).fit(x, groups=np.arange(1000) // 100)


def test_declared_columns_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(NORMAL, rng(1).integers(0, 5, 1000), support={1: "integer"})
        fit(NORMAL, rng(1).integers(0, 8, 1000), support={1: nvpflow.Angle(0, 8)})


def test_names_are_in_the_message():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"height": NORMAL, "rooms": rng(1).integers(1, 5, 1000)})
    with pytest.warns(UserWarning, match=r"column\(s\) 'rooms' of X repeat few values"):
        nvpflow.FlowDensity(**QUICK).fit(frame)


def test_values_on_a_bound_have_a_warning_of_their_own():
    with pytest.warns(UserWarning, match="equal a bound") as caught:
        fit(np.where(rng(1).random(1000) < 0.6, 0, np.abs(NORMAL)), support=["positive"])
    assert len(caught) == 1


def test_weights_count():
    column = np.concatenate([np.zeros(100), NORMAL])
    weights = np.concatenate([np.full(100, 20.5), np.ones(1000)])
    model = nvpflow.FlowDensity(**QUICK)
    with pytest.warns(UserWarning, match="repeat few values"):
        model.fit(column[:, None], sample_weight=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(column[:, None])
