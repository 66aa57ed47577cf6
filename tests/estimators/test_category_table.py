"""The joint table of categories: exact probabilities, margins, conditional draws, and how near they come to the truth."""

import itertools

import numpy as np
import pytest

from nvpflow.supports._combinations import Combinations
from nvpflow.supports._joint_table import JointTable
from nvpflow.supports._latent_classes import LatentClasses

SIZES = (4, 3, 3)


def dependent(n, rng):
    """A chain of three columns."""
    first = rng.integers(4, size=n)
    second = np.where(rng.random(n) < 0.8, first % 3, rng.integers(3, size=n))
    return np.stack([first, second, np.where(rng.random(n) < 0.7, second, 0)], axis=1)


def fitted(codes, sizes, weight=None):
    return JointTable.fit(Combinations.of(codes, weight, sizes))


def with_classes(table):
    """The same table with all three models."""
    known, seen = table.known, table._seen
    classes = LatentClasses.fit(seen, table._tree.margins, 2, 1.0)
    weights = np.array([0.3, 0.3, 0.4])
    return JointTable(known, table.pseudo_counts, weights, table.parents, table.strengths, classes, table.n_fitted)


@pytest.fixture(params=["all values seen", "unseen values", "weights", "latent classes", "one column"])
def table(request):
    rng = np.random.default_rng(0)
    codes = dependent(200, rng)
    if request.param == "one column":
        return fitted(codes[:, :1], (6,))
    if request.param == "weights":
        return fitted(codes, SIZES, rng.uniform(0.1, 2, 200))
    sizes = (6, 3, 4) if request.param == "unseen values" else SIZES
    made = fitted(codes, sizes)
    return with_classes(made) if request.param == "latent classes" else made


def everything(table):
    rows = np.array(list(itertools.product(*map(range, table.known.sizes))))
    return rows, np.exp(table.log_prob(rows))


def test_total_mass_is_one(table):
    p = everything(table)[1]
    assert p.sum() == pytest.approx(1, abs=1e-12) and (p > 0).all()


def test_margins_are_sums(table):
    rows, p = everything(table)
    for given in itertools.product([False, True], repeat=rows.shape[1]):
        some = np.unique(np.where(given, rows, -1), axis=0)
        sums = [p[((row < 0) | (rows == row)).all(axis=1)].sum() for row in some]
        np.testing.assert_allclose(np.exp(table.log_prob(some)), sums, rtol=1e-10)


@pytest.mark.parametrize("given", [None, -1])
def test_draws(table, given):
    """Draws given the last column, or given nothing, have the probabilities that the table says."""
    rows, p = everything(table)
    start = np.full((20_000, rows.shape[1]), -1)
    if given is not None:
        start[:, given] = table.known.codes[0, given]
        p = np.where(rows[:, given] == start[0, given], p, 0)
    drawn = table.complete(start, np.random.default_rng(1))
    shares = Combinations.of(drawn, None, table.known.sizes)
    found = np.zeros(len(rows))
    for code, count in zip(shares.codes, shares.counts):
        found[(rows == code).all(axis=1)] = count / len(drawn)
    np.testing.assert_allclose(found, p / p.sum(), atol=0.015)


def test_more_draws_change_none_before_them(table):
    few, many = (table.sample(n, np.random.default_rng(0)) for n in (5, 50))
    np.testing.assert_array_equal(few, many[:5])


def test_independent_columns_are_near_the_product():
    rng = np.random.default_rng(0)
    shares = [rng.dirichlet(np.ones(size)) for size in (300, 4, 3, 2, 5)]

    def draw(n):
        return np.stack([rng.choice(len(p), n, p=p) for p in shares], axis=1)

    held_out = draw(5000)
    truth = sum(np.log(p[column]) for p, column in zip(shares, held_out.T))
    for n, most in ((50, 0.9), (1000, 0.2), (10_000, 0.03)):
        table = fitted(draw(n), (300, 4, 3, 2, 5))
        assert np.mean(truth - table.log_prob(held_out)) < most


def test_columns_that_determine_each_other():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(30))

    def draw(n):
        return np.repeat(rng.choice(30, n, p=shares)[:, np.newaxis], 2, axis=1)

    held_out = draw(5000)
    for n, most in ((50, 0.9), (1000, 0.1), (10_000, 0.005)):
        table = fitted(draw(n), (30, 30))
        assert np.mean(np.log(shares[held_out[:, 0]]) - table.log_prob(held_out)) < most
    draws = table.sample(1000, rng)
    assert np.mean(draws[:, 0] == draws[:, 1]) > 0.99


def test_latent_classes_are_found():
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(6, 0.3), size=(3, 5))

    def draw(n):
        places = (tables[rng.integers(3, size=n)].cumsum(axis=-1) < rng.random((n, 5, 1))).sum(axis=-1)
        return np.minimum(places, 5)

    held_out = draw(5000)
    truth = np.log(np.mean([np.prod([t[j, held_out[:, j]] for j in range(5)], axis=0) for t in tables], axis=0))
    table = fitted(draw(3000), (6,) * 5)
    assert table.classes is not None and len(table.classes.shares) == 3
    assert np.mean(truth - table.log_prob(held_out)) < 0.03


def test_weights_count_as_rows():
    rng = np.random.default_rng(0)
    codes, times = dependent(50, rng), rng.integers(1, 4, size=50)
    rows, weighted = fitted(np.repeat(codes, times, axis=0), SIZES), Combinations.of(codes, times, SIZES)
    np.testing.assert_array_equal(rows.known.counts, weighted.counts)


def test_counts_add_up():
    rng = np.random.default_rng(0)
    codes = dependent(300, rng)
    table = fitted(codes[:100], SIZES)
    for part in (codes[100:120], codes[120:]):
        table = table.updated(Combinations.of(part, None, SIZES))
    whole = Combinations.of(codes, None, SIZES)
    np.testing.assert_array_equal(table.known.codes, whole.codes)
    np.testing.assert_allclose(table.known.counts, whole.counts)
    np.testing.assert_allclose(table.known.own, 1)
    np.testing.assert_allclose(everything(table)[1], everything(fitted(codes, SIZES))[1], atol=0.01)


def test_unseen_values_have_the_stated_probability():
    table = fitted(np.array([[0], [0], [1], [1], [2], [3]]), (6,))
    g, p = table.pseudo_counts[0], everything(table)[1]
    np.testing.assert_allclose(p[4:], g / (6 + 6 * g), rtol=1e-12)
