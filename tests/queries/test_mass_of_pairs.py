"""The mass of the density of free columns of any two kinds is 1, whatever the model and however it is computed."""

import itertools

import numpy as np
import pytest

from nvpflow import Angle, FlowDensity, Integer
from support.tables_of_kinds import table_of_all_kinds

KINDS = {"real": None, "share": "unit", "positive": "positive", "angle": Angle(), "count": Integer(0), "kind": "category"}
REAL = {"real", "share", "positive", "angle"}
PAIRS = list(itertools.combinations(KINDS, 2))
MODELS = {"mixture": {"max_iter": 5}, "layers": {"base": "normal", "n_layers": 2, "max_iter": 15}}
LEVELS = np.array([1e-7, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.12, 0.2, 0.3, 0.4])
NODES, WEIGHTS = np.polynomial.legendre.leggauss(6)


@pytest.fixture(scope="module")
def table():
    return table_of_all_kinds()


@pytest.fixture(scope="module", params=["mixture", "layers", "mixture, missing", "layers, missing"])
def model(table, request):
    name, *missing = request.param.split(", ")
    rows = table.copy()
    if missing:
        gaps = np.random.default_rng(1).random(rows.shape) < 0.1
        rows = rows.mask(gaps)
        rows["kind"] = rows["kind"].astype(object).where(~gaps[:, -1], None)
    options = {"missing": "marginalize"} if missing else {}
    support = {column: kind for column, kind in KINDS.items() if kind is not None}
    return FlowDensity(support=support, random_state=0, **MODELS[name], **options).fit(rows)


def grid_of(found, column, n_parts):
    """Values of a column that have all of its mass, and their weights in sums: of numbers Gauss-Legendre quadrature."""
    if column in ("count", "kind"):
        values = np.arange(70.0) if column == "count" else np.array(["a", "b", "c"], dtype=object)
        return values, np.ones(len(values))
    levels = np.r_[LEVELS, 0.5, 1 - LEVELS[::-1]]
    edges = np.linspace(0, 2 * np.pi, 19) if column == "angle" else np.unique(found.marginal(column).ppf(levels))
    edges = np.interp(np.linspace(0, len(edges) - 1, n_parts * (len(edges) - 1) + 1), np.arange(len(edges)), edges)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + NODES)).ravel(), (half * WEIGHTS).ravel()


def mass_of(found, columns):
    n_parts = 1 if len(REAL & set(columns)) == 2 else 4
    grids, weights = zip(*(grid_of(found, column, n_parts) for column in columns))
    p = found.pdf(grids[0] if len(columns) == 1 else grids)
    return weights[0] @ p if len(columns) == 1 else weights[0] @ p @ weights[1]


@pytest.mark.parametrize("columns", PAIRS + [(column,) for column in KINDS], ids="-".join)
def test_given_all_others(model, table, columns):
    """A mixture integrates out counts and angles in closed form: given ones are sums over cells and turns, which cost more."""
    known = set(KINDS) - set(columns) - ({"count", "angle"} if model.base == "auto" else set())
    found = model.conditional({other: table[other].iloc[3] for other in KINDS if other in known})
    found = found if len(found.columns) == len(columns) else found.marginal(list(columns))
    assert found.method in ("exact", "quadrature")
    assert abs(mass_of(found, columns) - 1) < 1e-4
    assert found.error < 1e-4


@pytest.mark.parametrize("columns", PAIRS, ids="-".join)
def test_all_others_integrated_out(model, columns):
    found = model.marginal(list(columns))
    if found.method == "exact":
        assert abs(mass_of(found, columns) - 1) < 1e-4


@pytest.mark.parametrize("given", [{"real": 0.5, "share": 0.4}, {"real": 0.5, "positive": [1.0, 2.0], "angle": 0.4}], ids=str)
def test_counts_and_categories_by_draws(model, given):
    p = model.conditional(given, ["kind", "count"]).pdf((["a", "b", "c"], np.arange(70)))
    np.testing.assert_allclose(p.sum(axis=(-1, -2)), 1, atol=1e-4)


def test_the_order_of_columns_does_not_matter(model, table):
    rows = table.drop(columns=["count", "kind"]).head(2)
    p = model.conditional(rows, ["kind", "count"]).pdf((["a", "b", "c"], np.arange(9)))
    swapped = model.conditional(rows, ["count", "kind"]).pdf((np.arange(9), ["a", "b", "c"]))
    np.testing.assert_allclose(p, swapped.transpose(0, 2, 1), atol=1e-12)


def test_a_category_and_a_number_with_another_one_open(model):
    """Another path for layers: the joint density is an integral, and so is its norm."""
    given, grid = {"share": 0.4, "positive": 1.0, "angle": 1.0}, np.linspace(-6, 6, 601)
    found = model.conditional(given, ["real", "kind"])
    p = found.pdf((grid, ["a", "b", "c"]))
    assert found.method in ("exact", "quadrature") and abs(np.trapezoid(p, grid, axis=0).sum() - 1) < 1e-4
    of_kinds = model.conditional(given, "kind")
    assert of_kinds.method in ("exact", "quadrature") and of_kinds.error < 1e-4
    np.testing.assert_allclose(of_kinds.pdf(["a", "b", "c"]), np.trapezoid(p, grid, axis=0), atol=1e-4)


def test_points_and_grids_agree(model):
    found = model.conditional({"share": 0.4, "positive": 1.0, "angle": 1.0}, ["kind", "count"])
    p = found.pdf((["a", "b"], np.arange(3)))
    points = [[kind, count] for kind in "ab" for count in range(3)]
    np.testing.assert_allclose(np.exp(found.score_samples(points)).reshape(2, 3), p, atol=1e-4)
