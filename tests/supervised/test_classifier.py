"""FlowClassifier: Bayes' rule, the pool that held-out rows choose, tables, weights and files."""

import io

import numpy as np
import pytest

import nvpflow

RNG = np.random.default_rng(0)
Y = np.array(["a", "b", "c"])[RNG.integers(0, 3, 120)]
X = RNG.normal(size=(120, 3))
X[:, 0] += 2 * (Y == "a")
SMALL = dict(n_layers=1, hidden_dim=4, max_iter=5, random_state=0)


def make(**parameters):
    return nvpflow.FlowClassifier(**SMALL | dict(n_folds=2) | parameters)


def test_bayes_rule():
    """Without held-out rows, posterior log-odds are those of densities and priors."""
    model = make(n_folds=None, priors=[0.5, 0.25, 0.25]).fit(X, Y)
    log_p = np.stack([density.score_samples(X) for density in model.densities_], axis=1) + np.log([0.5, 0.25, 0.25])
    log_p = log_p.astype(np.float64)
    expected = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_log_proba(X), expected, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), np.array(["a", "b", "c"])[expected.argmax(axis=1)])
    assert model.pool_.tolist() == [1, 0] and model.score(X, Y) == (model.predict(X) == Y).mean()
    losses = -expected[np.arange(len(Y)), np.searchsorted(model.classes_, Y)]
    np.testing.assert_allclose(model.log_loss(X, Y), losses.mean(), rtol=1e-6)
    weight = np.arange(120.0)
    np.testing.assert_allclose(model.log_loss(X, Y, sample_weight=weight), np.average(losses, weights=weight), rtol=1e-6)
    assert model.log_loss(X[:1], ["d"]) == np.inf and model.score(X[:1], ["d"]) == 0


def test_two_classes():
    model = make(n_folds=None).fit(X, Y == "a")
    log_p = model.predict_log_proba(X)
    assert model.classes_.tolist() == [False, True] and model.predict(X).dtype == bool
    np.testing.assert_allclose(model.decision_function(X), log_p[:, 1] - log_p[:, 0])


def test_many_columns_do_not_make_it_overconfident():
    """About 90 rows of a class say little of 30 correlated columns."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    train = np.random.default_rng(0).permutation(len(x)) < 240
    pooled, alone = (make(n_folds=n).fit(x[train], y[train]) for n in (3, None))
    losses = [model.log_loss(x[~train], y[~train]) for model in (pooled, alone)]
    assert losses[0] < 0.15 and losses[1] > 0.2, losses
    assert pooled.pool_[0] < 0.6 and pooled.pool_[1] > 0 and pooled.shrinkage_[0] > 0


@pytest.mark.filterwarnings("ignore:.*repeat few values")
def test_columns_that_vary_in_held_out_rows_alone():
    """A column like the corner of a picture: one row has another value, and is held out in its turn."""
    x = np.column_stack([X, np.zeros(len(X)), X[:, 0] > 0])
    x[7, 3] = 1.0
    model = make(support=[None, None, None, None, "category"]).fit(x, Y)
    assert np.isfinite(model.predict_log_proba(x)).all() and model.pool_.any()
    alone = np.array([[0.0], [0.0], [0.0], [1.0]] * 2)  # the only column is constant where a class has no other value
    nvpflow.FlowClassifier(**SMALL, n_folds=2).fit(alone, [0, 0, 0, 0, 1, 1, 1, 1])


def test_folds_do_not_share_copies():
    from nvpflow._training.dataset import Data
    from nvpflow.supervised._folds import stratified_folds

    number = np.array([0.1, 0.1, 1.2, 2.3, 3.4, 4.5, 5.6, 5.6, 5.6])
    x, codes = np.stack([number, number > 2], axis=1), np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    folds = stratified_folds(Data(x), codes, 3, 0)
    assert folds[0] == folds[1] and (folds[codes == 1] == -1).all()
    assert sorted(np.bincount(folds[1:6])) == [1, 2, 2]
    np.testing.assert_array_equal(folds, stratified_folds(Data(x), codes, 3, 0))
    rounded = stratified_folds(Data(np.tile([[0.0, 0.0], [0.0, 1.0]], (6, 1))), np.zeros(12, int), 3, 0)
    assert (np.bincount(rounded) == 4).all()  # equal rows of whole numbers are different cases


def test_tables_of_categories_alone():
    """Their rows repeat. Held out with all that equal them, they would say nothing for the densities."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1400)
    x = (rng.random((1400, 3)) < np.where(y, 0.7, 0.3)[:, np.newaxis]).astype(float)
    model = make(support=["category"] * 3).fit(x[:400], y[:400])
    log_odds = ((2 * x[400:] - 1) * np.log(7 / 3)).sum(axis=1)
    best = np.logaddexp(0, np.where(y[400:], -log_odds, log_odds)).mean()
    assert model.log_loss(x[400:], y[400:]) < best + 0.03


def test_columns_and_categories_of_single_classes():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({
        "u": X[:, 0],
        "flat": 1.0,  # constant
        "step": np.where(Y == "b", 1.0, X[:, 1]),  # constant in a class
        "colour": np.where(Y == "a", "red", np.where(X[:, 1] > 0, "blue", "green")),  # a class has no other
        "k": RNG.poisson(3, 120),
    })  # fmt: skip
    model = make(support={"k": "integer"}).fit(frame, Y)
    assert model.score(frame, Y) > 0.9 and model.n_features_in_ == 5
    assert [density.n_features_in_ for density in model.densities_] == [4, 4, 4]
    with pytest.raises(ValueError, match="column 'colour' of X must be one of the categories"):
        model.predict(frame.assign(colour="black"))
    content = io.BytesIO()
    model.save(content)
    twin = nvpflow.load(io.BytesIO(content.getvalue()))
    np.testing.assert_array_equal(twin.predict_proba(frame), model.predict_proba(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        twin.predict(frame[["u", "step", "flat", "colour", "k"]])


def test_a_class_of_one_row():
    """Rows of other classes give its density a spread."""
    y = np.where(Y == "b", "b", "a")
    y[5] = "c"
    with pytest.warns(UserWarning, match="class 'c': X has 2 rows for 3 columns"):
        model = make().fit(X, y)
    assert model.classes_.tolist() == ["a", "b", "c"] and model.predict_proba(X)[:, 2].max() < 0.2
    assert np.isfinite(model.predict_log_proba(X)).all() and model.score(X, y) > 0.6


def test_missing_cells():
    x = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    model = make(missing="marginalize").fit(x, Y)
    assert model.pool_[1] == 0 and model.score(x, Y) > 0.4
    expected = model.pool_[0] * np.stack([d.score_samples(x) for d in model.densities_], axis=1) + np.log(model.priors_)
    found = model.decision_function(x)
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=1e-4)
    with pytest.raises(ValueError, match="X must be finite"):
        make().fit(x, Y)


def test_no_class_is_ruled_out_where_a_density_falls_off_without_bound():
    """One class lies on a curve without noise, and the row on it is a little beyond its end."""
    rng = np.random.default_rng(0)
    income = rng.uniform(1, 5, 100)
    x = np.concatenate([np.column_stack([income, 0.0012 / income]), rng.uniform([0.2, 0], [6, 0.6], size=(400, 2))])
    y = np.repeat(["no", "yes"], [100, 400])
    beyond = [[0.5, 0.0024]]
    model = nvpflow.FlowClassifier(random_state=0).fit(x, y)
    log_p = model.predict_log_proba(beyond)
    n = sum(density.n_samples_seen_ for density in model.densities_)
    assert log_p[0, 0] >= np.log(0.5 / n * model.priors_[0]) and np.exp(log_p).sum() == pytest.approx(1)
    assert model.decision_function(beyond)[0] > 10
    of_bayes = nvpflow.FlowClassifier(n_folds=None, random_state=0).fit(x, y)
    assert of_bayes.predict_log_proba(beyond)[0, 0] < -10


def test_every_number_of_threads_gives_the_same_bits():
    with pytest.warns(UserWarning, match="class 2: X has 12 rows for 13 columns"):
        one, two = (make(n_jobs=n).fit(*awkward()) for n in (1, 2))
    np.testing.assert_array_equal(one.predict_proba(awkward()[0]), two.predict_proba(awkward()[0]))


def awkward():
    x = np.random.default_rng(2).normal(size=(72, 13))
    return x, np.repeat([0, 1, 2], [30, 30, 12])


def test_weights():
    weight = np.where(Y == "c", 0, RNG.integers(1, 3, 120))
    model, twin = make().fit(X, Y, sample_weight=weight), make().fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    assert model.classes_.tolist() == ["a", "b"] and model.n_samples_seen_ == np.count_nonzero(weight)
    np.testing.assert_allclose(model.priors_, [weight[c == Y].sum() / weight.sum() for c in "ab"])
    relative = make().fit(X, Y, sample_weight=np.sqrt(weight))
    assert relative.pool_.min() >= 0 and np.isfinite(relative.predict_proba(X)).all()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files(tmp_path, ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    model = make(support=[None, (-20, None), None], priors=[0.2, 0.3, 0.5]).fit(X, Y)
    model.save(tmp_path / f"model.{ending}")
    twin = nvpflow.load(tmp_path / f"model.{ending}")
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    assert twin.get_params() == model.get_params() | {"support": twin.support} and twin.support[1] == (-20, None)
    assert (
        twin.shrinkage_ == model.shrinkage_ and twin.n_iter_ == model.n_iter_ and twin.classes_.dtype == model.classes_.dtype
    )


@pytest.mark.parametrize("name, value, message", [
    ("priors", np.array([0.5, 0.6, -0.1]), "do not fit together"),
    ("pool", np.array([np.nan, 0.1]), "pool must be finite"),
    ("density.0", np.zeros(10, np.uint8), "density.0 must have dtype"),
    ("more", np.zeros(1), "must hold the arrays"),
])  # fmt: skip
def test_damaged_files(tmp_path, name, value, message):
    make().fit(X, Y).save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "model.npz", **arrays | {name: value})
    with pytest.raises(ValueError, match=message):
        nvpflow.load(tmp_path / "model.npz")


@pytest.mark.parametrize("y, message", [
    (None, "requires y to be passed"),
    (X[:, 0], "Unknown label type: continuous"),
    (Y[:5], "y must have one entry for each of 120 rows of X, got 5"),
    (np.zeros(120), "at least 2 classes, got one class"),
    (np.where(Y == "a", None, Y), "y must hold labels, got None"),
    (X, "y should be a 1d array"),
])  # fmt: skip
def test_bad_targets(y, message):
    model = make().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_there_is_no_command_for_it(tmp_path, capsys):
    make(n_folds=None).fit(X, Y).save(tmp_path / "model.npz")
    assert nvpflow.cli.main(["info", str(tmp_path / "model.npz")]) == 1
    assert "holds a FlowClassifier, for which there is no command" in capsys.readouterr().err


def test_bad_parameters():
    for options, message in [
        (dict(priors=[0.5, 0.6, -0.1]), "priors must be >= 0 and have the sum 1"),
        (dict(priors=[0.5, 0.5]), "priors must have an entry for each of 3 classes, got 2"),
        (dict(n_folds=1), "n_folds must be"),
        (dict(hidden_dim=0), "hidden_dim must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**options).fit(X, Y)
    with pytest.raises(TypeError, match="has no parameter 'warm_start'"):
        make(warm_start=True)
    with pytest.raises(nvpflow.NotFittedError):
        make().predict(X)
    with pytest.raises(ValueError, match="X must have a column that is not constant"):
        make().fit(np.ones((120, 2)), Y)
