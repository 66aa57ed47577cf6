"""Few rows for many columns, and linearly dependent columns: a sensible density and a warning."""

import warnings

import numpy as np
import pytest

import nvpflow

R, rng = nvpflow.FlowDensity, np.random.default_rng
FEW = "X has .* rows for .* columns"


@pytest.mark.filterwarnings(f"ignore:{FEW}")
@pytest.mark.parametrize("n, dim", [(20, 20), (10, 20), (30, 50), (5, 3), (60, 50)])
@pytest.mark.parametrize("state", range(3))
def test_fewer_rows_than_columns(state, n, dim):
    x = rng(state).normal(size=(n + 1000, dim))
    model, normal = (R(random_state=state, base=base).fit(x[:n]) for base in ("auto", "normal"))
    assert model.score(x[n:]) > normal.score(x[n:]) - 1
    assert -model.score(x[n:]) < 0.5 * dim * (1 + np.log(2 * np.pi)) * (1 + 3 / n**0.5)


def correlated(n, dim, state):
    return rng(state).normal(size=(n, dim)) @ rng(5).normal(size=(dim, dim))


def independent(n, dim, state):
    return rng(state).normal(size=(n, dim))


def chain(n, dim, state):
    """Each column has a correlation of 0.7 with the next."""
    covariance = 0.7 ** np.abs(np.subtract.outer(range(dim), range(dim)))
    return independent(n, dim, state) @ np.linalg.cholesky(covariance).T


@pytest.mark.filterwarnings(f"ignore:{FEW}")
@pytest.mark.parametrize(
    "make, n, dim", [(correlated, 30, 20), (independent, 40, 50), (independent, 100, 50), (chain, 15, 20)]
)
def test_as_good_as_ledoit_and_wolf(make, n, dim):
    """Their covariance (2004) is shrunk to equal variances: those of columns in one unit, or of standardised columns."""
    covariance = pytest.importorskip("sklearn.covariance")
    losses = []
    for state in range(3):
        x = make(n + 1000, dim, state)
        mean, deviation = x[:n].mean(axis=0), x[:n].std(axis=0)
        in_deviations = covariance.LedoitWolf().fit((x[:n] - mean) / deviation).score((x[n:] - mean) / deviation)
        others = covariance.LedoitWolf().fit(x[:n]).score(x[n:]), in_deviations - np.log(deviation).sum()
        losses.append(max(others) - R(random_state=state).fit(x[:n]).score(x[n:]))
    assert np.mean(losses) < 0.05


@pytest.mark.filterwarnings(f"ignore:{FEW}")
def test_columns_in_other_units_are_not_shrunk_to_one_variance():
    x = independent(540, 50, 0)
    models = [R(random_state=0).fit(x[:40] * scale) for scale in (1, 1e-3, np.geomspace(1, 300, 50))]
    ways = ["normal, shrunk to one variance" in model.search_["candidate"] for model in models]
    assert ways == [True, True, False]
    assert models[0].score(x[40:]) == pytest.approx(models[1].score(x[40:] * 1e-3) + 50 * np.log(1e-3), abs=0.01)
    assert (
        models[0].score(x[40:])
        > models[2].score(x[40:] * np.geomspace(1, 300, 50)) + np.log(np.geomspace(1, 300, 50)).sum() + 0.2
    )


@pytest.mark.filterwarnings(f"ignore:{FEW}")
def test_detector():
    x = rng(0).normal(size=(1030, 20))
    flagged = nvpflow.FlowOutlierDetector(random_state=0).fit(x[:30]).predict(x[30:]) == -1
    assert flagged.mean() < 0.4


@pytest.mark.parametrize("n", [2, 20])
def test_few_rows_warn(n):
    with pytest.warns(UserWarning, match=f"X has {n} rows for 20 columns: too few"):
        R(max_iter=1, n_layers=2, hidden_dim=4).fit(rng(0).normal(size=(n, 20)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        R(max_iter=1, n_layers=2, hidden_dim=4).fit(rng(0).normal(size=(21, 20)))


@pytest.mark.filterwarnings("error")
def test_repeated_rows():
    z = rng(2).normal(size=(310, 15))
    with pytest.warns(UserWarning, match="X has 5 distinct rows for 15 columns: too few"):
        model = R(random_state=1).fit(np.repeat(z[:5], 4, axis=0))
    assert model.score(z[5:]) > -60
    weighted = R(random_state=1)
    with pytest.warns(UserWarning, match="X has 20 rows for 20 columns"):
        weighted.fit(rng(0).normal(size=(20, 20)), sample_weight=np.full(20, 3))
    assert weighted.score(rng(1).normal(size=(1000, 20))) > -33


@pytest.mark.filterwarnings("ignore:column.* repeat few values")
def test_pixels_do_not_warn_of_dependent_columns():
    """Columns that are nearly always zero are not determined by others."""
    datasets = pytest.importorskip("sklearn.datasets")
    x = datasets.load_digits().data
    R(max_iter=1, n_layers=2, hidden_dim=4).fit(x[:, x.std(axis=0) > 0])


X = rng(0).normal(size=(500, 3)) * [1, 100, 1e-3] + [0, 1, 5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("column, names", [
    (X[:, 0], "3"),
    (1e6 * X[:, 1] - 3, "3"),
    (X[:, 0] + 2 * X[:, 1] - 1000 * X[:, 2], "3"),
    (np.stack([X[:, 1], X.sum(axis=1)], axis=1), "3, 4"),
])  # fmt: skip
def test_dependent_columns_warn(column, names, dtype):
    both = np.column_stack([X, column])
    with pytest.warns(UserWarning, match=rf"column\(s\) {names} of X are linear combinations") as caught:
        R(max_iter=1, n_layers=2, hidden_dim=4, dtype=dtype).fit(both)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_rows_far_out_may_leave_fewer_than_columns():
    x = rng(2).normal(size=(30, 25))
    x[np.arange(10), np.arange(10)] = 1e9  # ten rows far out, each in another column
    model = nvpflow.FlowDensity(max_iter=1, random_state=0).fit(x)
    assert np.isfinite(model.score_samples(x)).all()


def test_warning_has_column_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(copy=X[:, 1])
    for model in (R, nvpflow.FlowOutlierDetector):
        with pytest.warns(UserWarning, match=r"column\(s\) 'copy' of X are linear combinations") as caught:
            model(max_iter=1, n_layers=2, hidden_dim=4).fit(frame)
        assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize("column", [
    X[:, 0] + 0.01 * rng(1).normal(size=500),  # a correlation of .9999
    X[:, 0] ** 2,
    np.where(np.arange(500) == 7, 1e9, rng(1).normal(size=500)),
])  # fmt: skip
def test_independent_columns_do_not_warn(column):
    both = np.column_stack([X, column])
    both[7] *= 1e6  # a stray row is no line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*orders of magnitude that float32")
        R(max_iter=1, n_layers=2, hidden_dim=4).fit(both)
