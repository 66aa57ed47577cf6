"""Where three or more columns are open below trained layers, densities by draws are one function, whose mass is 1."""

import numpy as np
import pytest

from nvpflow import Angle, FlowDensity, Integer
from nvpflow.missing import _marginal
from nvpflow.queries import _lines
from support.tables_of_kinds import table_of_all_kinds

LAYERS = {"base": "normal", "n_layers": 4, "max_iter": 20}
STEPS = np.linspace(-14, 14, 6001)


def trapezoid(slopes):
    return slopes * np.convolve(np.diff(STEPS), [0.5, 0.5])


SHARES = 1 / (1 + np.exp(-STEPS))
TURN = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
RULES = {  # values with all of the mass, and their weights in sums
    "real": (STEPS, trapezoid(np.ones(len(STEPS)))),
    "share": (SHARES, trapezoid(SHARES * (1 - SHARES))),
    "positive": (np.exp(STEPS), trapezoid(np.exp(STEPS))),
    "angle": (TURN, np.full(len(TURN), 2 * np.pi / len(TURN))),
    "count": (np.arange(100.0), np.ones(100)),
    "kind": (np.array(["a", "b", "c"], dtype=object), np.ones(3)),
}


def curved(n, seed):
    x = np.random.default_rng(seed).normal(size=(n, 5))
    for i in range(1, 5):
        x[:, i] += np.sin(2 * x[:, i - 1])
    return x


@pytest.fixture(scope="module", params=[0, 1])
def model(request):
    return FlowDensity(random_state=request.param, **LAYERS).fit(curved(800, request.param))


@pytest.fixture(scope="module")
def mixed():
    support = {"share": "unit", "positive": "positive", "angle": Angle(), "count": Integer(0), "kind": "category"}
    return FlowDensity(support=support, random_state=0, **LAYERS | {"n_layers": 2}).fit(table_of_all_kinds())


def test_marginals_and_conditionals(model):
    x, weights = RULES["real"]
    for given in ({}, {0: np.array([-1.5, 0.0, 0.3, 2.0])}, {2: 0.5, 4: np.array([-1.0, 1.0])}):
        found = model.conditional(given, 1)
        p = np.atleast_2d(found.pdf(x))
        assert found.method == "importance"
        np.testing.assert_allclose(p @ weights, 1, atol=1e-4)
        np.testing.assert_allclose((p * x) @ weights, found.mean(), atol=1e-3)
        np.testing.assert_allclose(np.sqrt((p * x**2) @ weights - found.mean() ** 2), found.std(), atol=2e-3)
        below = np.cumsum(p * weights, axis=1) - 0.5 * p * weights
        np.testing.assert_allclose(below, np.atleast_2d(found.cdf(x)), atol=2e-4)
        ends = np.atleast_2d(found.interval(0.9))
        np.testing.assert_allclose(
            [np.interp(end, x, row) for end, row in zip(ends, below)], [[0.05, 0.95]] * len(p), atol=2e-4
        )


def test_posteriors_on_a_grid_with_all_of_the_mass_are_the_conditionals(model):
    rows, grid = curved(3, 9), np.linspace(-12, 12, 3001)
    rows[:, 2:] = np.nan
    found = model.posterior(rows, 1, grid)
    np.testing.assert_allclose(found, model.conditional({0: rows[:, 0]}, 1).pdf(grid), atol=1e-4)


@pytest.mark.parametrize("column", list(RULES))
def test_columns_of_all_kinds(mixed, column):
    x, weights = RULES[column]
    given = {"real": np.array([-0.5, 0.5])} if column != "real" else {"share": np.array([0.3, 0.6])}
    for found in (mixed.marginal(column), mixed.conditional(given, column)):
        p = np.atleast_2d(found.pdf(x))
        assert found.method == "importance"
        np.testing.assert_allclose(p @ weights, 1, atol=1e-4)
        if column in ("share", "positive"):
            np.testing.assert_allclose((p * x) @ weights, found.mean(), atol=2e-3)
            below = np.cumsum(p * weights, axis=1) - 0.5 * p * weights
            np.testing.assert_allclose(below, np.atleast_2d(found.cdf(x)), atol=2e-4)


COARSE = np.linspace(-5, 5, 81)


@pytest.mark.parametrize(("first", "second"), [("real", "share"), ("kind", "positive"), ("angle", "count")])
def test_two_free_columns(mixed, first, second):
    axes = {
        "real": (COARSE, np.full(81, 0.125)),
        "angle": (TURN[::160], np.full(25, 2 * np.pi / 25)),
        "share": (SHARES[::2], RULES["share"][1][::2] * 2),
    }
    (x, of_x), (y, of_y) = axes.get(first, RULES[first]), axes.get(second, RULES[second])
    found = mixed.conditional({"positive": 1.0, "kind": "a"} if first != "kind" else {"real": 0.3}, [first, second])
    assert found.method == "importance"
    assert abs(of_x @ found.pdf((x, y)) @ of_y - 1) < 1e-4


def test_errors_are_not_underestimated(model, monkeypatch):
    given = {0: np.linspace(-2, 2, 24)}
    found, x = model.conditional(given, 1), np.linspace(-5, 5, 50)
    below = found.cdf(x)
    monkeypatch.setattr(_lines, "N_POINTS", (1021,))
    monkeypatch.setattr(_lines, "GOOD_DRAWS", np.inf)
    worst = np.abs(below - model.conditional(given, 1).cdf(x)).max(axis=1)
    assert (worst < 3 * found.error).all() and (worst < found.error).mean() > 0.5
    assert 0.0005 < found.error.max() < 0.03


def test_a_density_without_anything_given_has_different_shifts():
    shifts = _marginal.shifts_of(np.empty((1, 0)), 4, 3)
    assert len(np.unique(shifts)) == shifts.size


def test_a_row_has_the_result_of_itself_alone(model):
    many, one = model.conditional({0: np.linspace(-2, 2, 7)}, 3), model.conditional({0: np.linspace(-2, 2, 7)[[4]]}, 3)
    np.testing.assert_allclose(many.interval(0.9)[[4]], one.interval(0.9), rtol=1e-6)
