"""The classifier and the regressor with scikit-learn: its checks, searches, pipelines and metadata routing."""

import inspect
import pickle
import warnings

import numpy as np
import pytest

import nvpflow

sklearn = pytest.importorskip("sklearn", minversion="1.6")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

X = np.random.RandomState(0).normal(size=(60, 2))
LABELS = (X[:, 0] > 0).astype(int)
SMALL = dict(n_layers=1, hidden_dim=4, max_iter=20, random_state=0)
DETERMINISTIC = dict(dtype="float64", validation_fraction=None, noise=0, batch_size=None)
ESTIMATORS = [
    nvpflow.FlowClassifier(**SMALL | DETERMINISTIC, n_folds=2),
    nvpflow.FlowClassifier(**SMALL | dict(base="normal", batch_size=None), n_folds=None),
    nvpflow.FlowRegressor(**SMALL | DETERMINISTIC | dict(max_iter=50, base="normal")),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["pool", "no pool", "regressor"])
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        # scikit-learn would rather have its own base class, and its checks use what it deprecates itself.
        warnings.filterwarnings("ignore", "Estimator .* does not inherit from", UserWarning)
        warnings.filterwarnings("ignore", ".*[Xy] has .* rows for .* columns", UserWarning)
        warnings.filterwarnings("ignore", ".*column.* of [Xy] repeat few values", UserWarning)
        warnings.filterwarnings("ignore", ".* of X leave the range of training", UserWarning)
        warnings.filterwarnings("ignore", ".*of [Xy] are linear combinations of", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        results = estimator_checks.check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")}
    assert not failed, failed
    assert len(results) > 40 and {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}


def test_searches_and_pipelines():
    model = nvpflow.FlowClassifier(**SMALL | DETERMINISTIC, n_folds=2)
    scores = cross_val_score(make_pipeline(StandardScaler(), model), X, LABELS, cv=2, scoring="neg_log_loss")
    assert (scores > -0.69).all()
    search = GridSearchCV(model, {"n_folds": [None, 2]}, cv=2).fit(X, LABELS, sample_weight=np.ones(60))
    assert search.score(X, LABELS) == search.best_estimator_.score(X, LABELS)


@pytest.mark.filterwarnings("ignore:.* of X leave the range of training")
def test_regressor():
    model = nvpflow.FlowRegressor(**SMALL, base="normal")
    scores = cross_val_score(make_pipeline(StandardScaler(), model), X, X[:, 0] + 1, cv=2)
    assert is_regressor(model) and (scores > 0.8).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model.fit(X, X[:, 1]))).predict(X), model.predict(X))


def test_conventions():
    model = nvpflow.FlowClassifier(**SMALL | DETERMINISTIC, n_folds=2).fit(X, LABELS)
    assert is_classifier(model) and not hasattr(clone(model), "classes_") and clone(model).get_params() == model.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    for method in ("fit", "score", "predict"):
        arguments = inspect.signature(getattr(nvpflow.FlowClassifier, method)).parameters
        assert arguments.keys() & {"sample_weight"} == set(nvpflow.FlowClassifier._consumes.get(method, ()))
    with sklearn.config_context(enable_metadata_routing=True):
        weighted = make_pipeline(StandardScaler(), clone(model).set_fit_request(sample_weight=True))
        weighted[0].set_fit_request(sample_weight=False)
        weighted.fit(X, LABELS, sample_weight=np.linspace(1, 2, 60))
    assert "not fitted" in clone(model)._repr_html_() and "n_folds" in model._repr_html_()
