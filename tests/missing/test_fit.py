"""Fits to samples with missing cells."""

import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.split import split

NAN = np.nan
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(800, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
HOLES = np.where(RNG.random(POINTS.shape) < 0.3, NAN, POINTS)
MARGINALIZE = {"missing": "marginalize", "random_state": 0, "max_iter": 10}


def true_log_density(x):
    inverse = np.linalg.inv([[1, 0.9], [0.9, 1]])
    return -0.5 * np.einsum("ni,ij,nj->n", x, inverse, x) - 0.5 * np.log(0.19) - np.log(2 * np.pi)


def gap(model, n=20_000):
    x = np.random.default_rng(9).normal(size=(n, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
    return true_log_density(x).mean() - model.score(x)


def test_density_of_complete_rows():
    """The gap is that of complete data, and much smaller than after filling with means."""
    means = np.where(np.isnan(HOLES), np.nanmean(HOLES, axis=0), HOLES)
    assert gap(nvpflow.FlowDensity(**MARGINALIZE).fit(HOLES)) < 0.03
    assert gap(nvpflow.FlowDensity(random_state=0, max_iter=10).fit(means)) > 0.1


def test_absence_that_depends_on_what_is_there():
    """The second column is missing where the first is large: complete rows alone are another distribution."""
    x = np.random.default_rng(1).normal(size=(2000, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
    holes = x.copy()
    holes[x[:, 0] > 0.5, 1] = NAN
    alone = nvpflow.FlowDensity(random_state=0, max_iter=10).fit(holes[~np.isnan(holes).any(axis=1)])
    assert gap(nvpflow.FlowDensity(**MARGINALIZE).fit(holes)) < 0.05 < 0.3 < gap(alone)


def test_nothing_missing_is_the_plain_fit():
    plain = nvpflow.FlowDensity(random_state=0, max_iter=10).fit(POINTS)
    assert np.array_equal(nvpflow.FlowDensity(**MARGINALIZE).fit(POINTS).score_samples(POINTS), plain.score_samples(POINTS))


@pytest.mark.parametrize("n_models", [1, 2])
def test_reproducible_to_the_bit(n_models):
    first, second = (nvpflow.FlowDensity(**MARGINALIZE, n_models=n_models).fit(HOLES) for _ in range(2))
    assert np.array_equal(first.score_samples(HOLES), second.score_samples(HOLES))
    assert np.array_equal(first.impute(HOLES), second.impute(HOLES))


def test_members_have_draws_of_their_own():
    options = MARGINALIZE | {"n_models": 2, "validation_fraction": None, "base": "mixture"}
    first, second = nvpflow.FlowDensity(**options).fit(HOLES).flow_
    assert not np.allclose(first.base.means, second.base.means)


def test_rows_without_values_are_left_out():
    empty = np.full((30, 2), NAN)
    known = HOLES[~np.isnan(HOLES).all(axis=1)]
    weight = np.random.default_rng(0).random(len(known))
    for extra in (None, weight):
        more = None if extra is None else np.append(extra, np.ones(30))
        model = nvpflow.FlowDensity(**MARGINALIZE).fit(np.vstack([known, empty]), sample_weight=more)
        other = nvpflow.FlowDensity(**MARGINALIZE).fit(known, sample_weight=extra)
        assert model.n_samples_seen_ == len(known)
        assert np.array_equal(model.score_samples(POINTS), other.score_samples(POINTS))


def test_the_order_of_rows_does_not_matter():
    order = np.random.default_rng(3).permutation(len(HOLES))
    model, other = (nvpflow.FlowDensity(**MARGINALIZE).fit(x) for x in (HOLES, HOLES[order]))
    assert np.array_equal(model.score_samples(POINTS), other.score_samples(POINTS))


def test_context():
    context = np.random.default_rng(4).normal(size=(800, 1))
    model = nvpflow.FlowDensity(**MARGINALIZE).fit(HOLES + 2 * context, context=context)
    full = model.impute(HOLES + 2 * context, context=context)
    missing = np.isnan(HOLES)
    left = (full - 2 * context)[missing]
    assert np.isfinite(full).all() and 0.7 < left.std() < 1.3  # draws without the context would have deviation 2.2
    with pytest.raises(ValueError, match="context must be finite in float32, got NaN or infinity: nan in column 0, row 0"):
        model.fit(HOLES, context=np.full((800, 1), NAN))


def test_context_of_categories():
    category = np.random.default_rng(4).integers(0, 2, (800, 1))
    options = MARGINALIZE | {"context_support": {0: "category"}}
    model = nvpflow.FlowDensity(**options).fit(HOLES + 5 * category, context=category)
    full = model.impute(HOLES + 5 * category, context=category) - 5 * category
    assert full[np.isnan(HOLES)].std() < 1.5  # 2.7 without the context
    assert np.isfinite(model.score_samples(HOLES, context=category)).all()


def test_supports():
    x = np.c_[np.exp(POINTS[:, 0]), np.random.default_rng(0).poisson(np.exp(POINTS[:, 1])), POINTS[:, 0] % 6.28]
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.2, NAN, x)
    model = nvpflow.FlowDensity(**MARGINALIZE, support=["positive", nvpflow.Integer(0), "angle"]).fit(x)
    samples = model.sample(2000)
    assert (samples[:, :2] >= 0).all() and (samples[:, 1] == np.floor(samples[:, 1])).all()
    assert np.isfinite(model.score(x))
    with pytest.raises(ValueError, match=r"column 0 of X must be in \[0, inf\), its support, got -1 in row 0"):
        model.fit(np.vstack([[[-1, 1, NAN]], x]))


def test_warm_start_and_files(tmp_path):
    model = nvpflow.FlowDensity(**MARGINALIZE, warm_start=True).fit(HOLES)
    model.fit(HOLES)
    assert gap(model) < 0.05
    model.save(tmp_path / "model.npz")
    for twin in (nvpflow.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert twin.missing == "marginalize"
        assert np.array_equal(twin.score_samples(HOLES), model.score_samples(HOLES))


def test_generator_advances_as_without_missing_cells():
    model = nvpflow.FlowDensity(**MARGINALIZE | {"random_state": np.random.default_rng(0)})
    assert not np.array_equal(model.fit(HOLES).score_samples(POINTS), model.fit(HOLES).score_samples(POINTS))


def test_complete_rows_are_held_out_first():
    data, incomplete = Data(np.arange(200.0).reshape(100, 2)), np.arange(100) < 40
    settings = nvpflow.FlowDensity(validation_fraction=0.2)._settings()
    validation = split(settings, data, 0, incomplete)[1]
    assert (validation.x[:, 0] >= 80).all() and len(validation.x) == 20
    few = np.arange(100) < 90  # of ten complete rows, five are held out
    validation = split(settings, data, 0, few)[1]
    assert (validation.x[:, 0] >= 180).sum() == 5 and len(validation.x) == 20


@pytest.mark.parametrize("weighted", [False, True])
def test_training_makes_up_for_complete_rows_that_are_held_out(weighted):
    x, incomplete = np.random.default_rng(0).normal(size=(200, 2)), np.arange(200) < 160
    weight = np.random.default_rng(1).uniform(0.5, 2, 200) if weighted else None
    training, validation = split(nvpflow.FlowDensity()._settings(), Data(x, None, weight), 0, incomplete)
    is_complete = np.isin(training.x[:, 0], x[~incomplete, 0])
    of_all = np.ones(200) if weight is None else weight
    share = training.weight[is_complete].sum() / training.weight.sum()
    assert share == pytest.approx(of_all[~incomplete].sum() / of_all.sum())
    together = training.and_those(validation)
    if weighted:
        np.testing.assert_array_equal(np.sort(together.weight), np.sort(weight))
    else:
        assert together.weight is None


@pytest.mark.parametrize("base", ["auto", "normal"])
def test_a_column_without_gaps_has_its_distribution_where_others_have_gaps_because_of_it(base):
    """A checkerboard, whose second column is often missing where the first is positive."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(3000, 2))
    x[:, 1] = x[:, 1] % 1 + 2 * rng.integers(0, 2, 3000) - 2 + np.floor(x[:, 0]) % 2
    x[(x[:, 0] > 0) & (rng.random(3000) < 0.9), 1] = NAN
    model = nvpflow.FlowDensity(base=base, missing="marginalize", random_state=0).fit(x)
    assert model.best_iter_ > 0
    assert abs(np.mean(model.sample(20_000, random_state=0)[:, 0] > 0) - np.mean(x[:, 0] > 0)) < 0.03


def test_many_rows_with_gaps_because_of_another_column():
    """Of so many rows mixtures read a part, and are then not fitted to those that are held out."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=40_000)
    x = np.where((y > 0) & (rng.random(len(y)) < 0.9), NAN, y + rng.normal(size=len(y)))
    samples = nvpflow.FlowDensity(missing="marginalize", random_state=0).fit(np.c_[x, y]).sample(100_000, random_state=0)
    assert abs(np.mean(samples[:, 1] > 0) - np.mean(y > 0)) < 0.02
    assert abs(samples[:, 0].mean()) < 0.05


def test_columns_that_no_row_has_together_warn():
    pandas = pytest.importorskip("pandas")
    x = np.column_stack([POINTS, POINTS[:, 0]])
    x[:400, 0], x[400:, 2] = NAN, NAN
    with pytest.warns(UserWarning, match="no row of X has values of both columns 'a' and 'c': what they say of each other"):
        nvpflow.FlowDensity(**MARGINALIZE).fit(pandas.DataFrame(x, columns=list("abc")))
    x[0, 0] = 1.0
    nvpflow.FlowDensity(**MARGINALIZE).fit(x)


class TestErrors:
    def test_the_default_names_column_row_and_parameter(self):
        pandas = pytest.importorskip("pandas")
        message = r"got NaN or infinity: nan in column {}, row {}, and \d+ more\. .*missing='marginalize'"
        row, column = np.argwhere(np.isnan(HOLES))[0]
        with pytest.raises(ValueError, match=message.format(column, row)):
            nvpflow.FlowDensity().fit(HOLES)
        with pytest.raises(ValueError, match=message.format(repr("ab"[column]), row)):
            nvpflow.FlowDensity().fit(pandas.DataFrame(HOLES, columns=["a", "b"]))
        model = nvpflow.FlowDensity(max_iter=2).fit(POINTS)
        for method in (model.score_samples, model.score, model.transform, model.grad_log_prob, model.partial_fit):
            with pytest.raises(ValueError, match=r"nan in column 1, row 0\. To allow missing values"):
                method([[1, NAN]])

    def test_infinity_is_no_missing_value(self):
        for model in (nvpflow.FlowDensity(), nvpflow.FlowDensity(**MARGINALIZE)):
            with pytest.raises(ValueError, match=r"X must be finite in float32, got NaN or infinity: inf in column 0, row 1$"):
                model.fit([[1, 2], [np.inf, 3], [3, 4]])

    def test_a_column_without_values(self):
        with pytest.raises(ValueError, match=r"X must have values in every column, and column 1 has none$"):
            nvpflow.FlowDensity(**MARGINALIZE).fit(np.c_[POINTS[:, 0], np.full(800, NAN)])

    def test_methods_for_complete_rows(self):
        model = nvpflow.FlowDensity(**MARGINALIZE).fit(HOLES)
        before = model.score_samples(POINTS)
        for method in (model.transform, model.grad_log_prob, model.partial_fit):
            with pytest.raises(ValueError, match="needs complete rows even with missing='marginalize'; `impute` fills them"):
                method(HOLES)
        assert np.array_equal(model.score_samples(POINTS), before)

    def test_too_few_rows_with_values(self):
        with pytest.raises(ValueError, match="X has 1 sample"):
            nvpflow.FlowDensity(**MARGINALIZE).fit([[1, 2], [NAN, NAN]])


def test_constant_columns_have_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"kind": ["a", "b"] * 10, "x": np.arange(20.0), "year": [2013.0, np.nan] * 10})
    with pytest.raises(ValueError, match=r"^X must have no constant column, got one in column\(s\) 'year': "):
        nvpflow.FlowDensity(missing="marginalize").fit(frame)
