"""FlowOutlierDetector: held-out samples set the threshold, and have the labels."""

import numpy as np
import pytest

import nvpflow
import nvpflow.outliers
from nvpflow import _outlier_folds
from support.estimators import make

rng = np.random.default_rng(0)
MIXING = np.linalg.qr(rng.normal(size=(8, 8)))[0] * np.geomspace(0.1, 3, 8)
X, FRESH = rng.normal(size=(160, 8)) @ MIXING, rng.normal(size=(2000, 8)) @ MIXING


def detector(**options):
    parameters = {"contamination": 0.1, "max_iter": 10, "n_layers": 2, "base": "auto", "dtype": "float64"} | options
    return make(nvpflow.FlowOutlierDetector, **parameters)


def by_training_scores(model, x, **options):
    """The log-density that a tenth of the training samples are below."""
    return np.quantile(model.score_samples(x, **options), 0.1)


def test_share_of_fresh_samples():
    model = detector(validation_fraction=None, noise=0, max_iter=60, hidden_dim=32).fit(X)  # which overfits
    scores = model.score_samples(FRESH)
    assert 0.04 < (model.predict(FRESH) == -1).mean() < 0.16
    assert (scores < by_training_scores(model, X)).mean() > 0.25  # what it would be


def test_labels_of_training_samples():
    """They are those of held-out samples: the share is right, and planted outliers are among them."""
    x = np.r_[X[:150], rng.normal(size=(8, 8)) * 1.5]
    order = np.random.default_rng(1).permutation(len(x))
    model = detector(contamination=0.1)
    labels = model.fit_predict(x)
    assert (labels == -1).sum() == round(0.1 * len(x)) and (labels[150:] == -1).sum() >= 6
    assert (model.predict(x) == -1).sum() < 0.1 * len(x)
    np.testing.assert_array_equal(detector().fit_predict(x[order]), labels[order])


def test_few_and_many_samples_and_auto_keep_training_scores(monkeypatch):
    x = X[:, :1]
    monkeypatch.setattr(_outlier_folds, "MOST_ROWS", 159)
    monkeypatch.setattr(nvpflow.outliers, "fit_folds", None)  # is not called
    model = detector().fit(x)
    assert model.offset_ == pytest.approx(by_training_scores(model, x), abs=0.2)
    assert (model.predict(x) == -1).sum() == 16
    detector(contamination="auto").fit(X)
    detector().fit(X[:19])


def test_share_of_fresh_samples_of_rounded_columns():
    def draw(n, seed):
        rng = np.random.default_rng(seed)
        numbers = np.rint(rng.normal(size=(n, 3)) * [15, 10, 8] + [45, 50, 40]) * [1, 10, 1]
        return np.column_stack([numbers, rng.poisson(2, n)])

    x = draw(720, 0)
    with pytest.warns(UserWarning, match="repeat few values"):
        model = nvpflow.FlowOutlierDetector(contamination=0.1, random_state=0).fit(x)
    fresh = draw(4000, 1)
    assert 0.07 < (model.predict(fresh) == -1).mean() < 0.13
    assert (model.score_samples(fresh) < by_training_scores(model, x)).mean() > 0.13  # what it would be


@pytest.mark.parametrize("kind", ["missing", "context", "weights", "categories"])
def test_kinds_of_input(kind):
    x, given = X[:, :3].copy(), {}
    options = {"support": {2: "category"}} if kind == "categories" else {}
    if kind == "missing":
        x[::7, 1] = np.nan
        options["missing"] = "marginalize"
    elif kind == "context":
        given["context"] = X[:, 5:]
    elif kind == "weights":
        given["sample_weight"] = np.linspace(0, 2, len(x)) ** 0.5
    else:
        x[:, 2] = x[:, 2] > 0
    labels = detector(**options).fit_predict(x, **given)
    weight = given.get("sample_weight", np.ones(len(x)))
    assert np.average(labels == -1, weights=weight) == pytest.approx(0.1, abs=0.03)
    model = detector(**options).fit(x, **given)
    given.pop("sample_weight", None)
    if kind != "missing":  # where it is not a quantile of complete rows
        assert model.offset_ < by_training_scores(model, x, **given)


def test_repeatable():
    assert detector().fit(X).offset_ == detector(n_jobs=2).fit(X[::-1]).offset_


def test_interrupted_folds_leave_a_fitted_detector(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(nvpflow.outliers, "fit_folds", interrupt)
    model = detector()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert (model.predict(X) == -1).sum() == 16
