"""Whole numbers that leave out most numbers: a warning says what to divide by."""

import numpy as np
import pytest

import nvpflow

RNG = np.random.default_rng(0)
PRICES, SCORES, AGES = 10 * RNG.poisson(8, 200) + 9, 10 * RNG.integers(20, 80, 200), RNG.integers(17, 80, 200)


def fit(x, support):
    return nvpflow.FlowDensity(support=support, n_layers=2, hidden_dim=4, max_iter=1, random_state=0).fit(x)


def test_steps():
    with pytest.warns(UserWarning, match=r"0 \(multiples of 10, plus 9\), 2 \(multiples of 10\) of X hold whole numbers"):
        fit(np.column_stack([PRICES, AGES, SCORES]), [nvpflow.Integer(0), "integer", nvpflow.Integer(200, 800)])


def test_names_and_negative_numbers():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"price": PRICES - 200, "real": RNG.normal(size=200), "kind": RNG.choice(["a", "b"], 200)})
    with pytest.warns(UserWarning, match=r"'price' \(multiples of 10, plus 9\)"):
        fit(frame, {"price": "integer"})


def test_missing_cells():
    x = np.column_stack([SCORES.astype(float), RNG.normal(size=200)])
    x[::7, 0] = np.nan
    with pytest.warns(UserWarning, match=r"0 \(multiples of 10\)"):
        nvpflow.FlowDensity(support=["integer", None], missing="marginalize", max_iter=1, random_state=0).fit(x)


def test_few_values_share_a_step_by_chance():
    x = np.zeros(200)
    x[:8] = 2 * RNG.integers(1, 1000, 8)
    fit(np.column_stack([x, RNG.normal(size=200)]), ["integer", None])


@pytest.mark.parametrize("x", [AGES, AGES[:19] * 2, AGES % 2 * 10, RNG.poisson(0.1, 200)])
def test_no_steps(x):
    fit(np.column_stack([x, RNG.normal(size=len(x))]), ["integer", None])


def test_real_numbers_have_no_steps():
    fit(np.column_stack([10 * RNG.integers(0, 10**6, 200), RNG.normal(size=200)]), [(0, None), None])


SUBJECTS = np.array([3, 10, 15, 16, 19, 31, 51, 52, 63, 78, 79, 86])


def test_codes_far_apart():
    x = np.column_stack([RNG.choice(SUBJECTS, 600), RNG.normal(size=600)])
    with pytest.warns(UserWarning, match=r"column\(s\) 0 of X hold few whole numbers, which are far apart"):
        fit(x, {0: "integer"})
    fit(x, {0: "category"})


@pytest.mark.parametrize(
    "values",
    [np.arange(8), [0, 9], [0, 1, 3, 5, 10, 15, 20, 30, 40], RNG.integers(0, 10**6, 40)],
    ids=["counts", "two", "heaps", "many"],
)
def test_no_codes(values):
    x = np.random.default_rng(0).choice(values, size=(400, 1))
    nvpflow.FlowDensity(support={0: "integer"}, max_iter=2, random_state=0).fit(x)
