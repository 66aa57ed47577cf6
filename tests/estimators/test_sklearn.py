"""The estimators with scikit-learn: its checks, searches, pipelines and metadata routing."""

import inspect
import pickle
import warnings

import numpy as np
import pytest

import nvpflow

sklearn = pytest.importorskip("sklearn", minversion="1.6")
from sklearn.base import clone, is_outlier_detector  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

X = np.random.RandomState(0).normal(size=(90, 2)) @ [[1.0, 2.0], [0.0, 0.5]]
SMALL = dict(n_layers=2, hidden_dim=8, max_iter=100, random_state=0)


def make(cls=nvpflow.FlowDensity, **parameters):
    return cls(**SMALL | parameters)


CLASSES = nvpflow.FlowDensity, nvpflow.FlowOutlierDetector
DETERMINISTIC = dict(dtype="float64", validation_fraction=None, noise=0, batch_size=None)


ENSEMBLE = dict(n_models=2, max_iter=20)


@pytest.mark.parametrize("options", [DETERMINISTIC, {}, ENSEMBLE], ids=["deterministic", "default", "ensemble"])
@pytest.mark.parametrize("cls", CLASSES)
def test_check_estimator(cls, options):
    with warnings.catch_warnings():
        # scikit-learn would rather have its own base class, and its checks use what it deprecates itself.
        warnings.filterwarnings("ignore", "Estimator .* does not inherit from", UserWarning)
        warnings.filterwarnings("ignore", "X has .* rows for .* columns", UserWarning)
        warnings.filterwarnings("ignore", "column.* of X repeat few values", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        results = estimator_checks.check_estimator(make(cls, **options), on_skip=None, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] not in ("passed", "skipped")}
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert not failed, failed
    assert len(results) > 40 and skipped <= {"check_array_api_input"}  # which wants an environment variable


# Checks of scikit-learn's own estimators, which check_estimator leaves out.
@pytest.mark.parametrize("name", [
    "check_dataframe_column_names_consistency",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_set_output_transform_polars",
    "check_estimators_partial_fit_n_features",
    "check_get_feature_names_out_error",
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning", "ignore::FutureWarning")
def test_transformer_checks(name):
    pytest.importorskip("pandas"), pytest.importorskip("polars")
    getattr(estimator_checks, name)("FlowDensity", make(max_iter=2))


def test_detector_feature_name_checks():
    pytest.importorskip("pandas")
    estimator_checks.check_dataframe_column_names_consistency("FlowOutlierDetector", make(nvpflow.FlowOutlierDetector))


def test_grid_search():
    search = GridSearchCV(
        make(), {"hidden_dim": [2, (4, 4)], "coupling": ["affine", "additive"], "scale_bound": [1.0, None]}, cv=3
    ).fit(X)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.best_estimator_.get_params().items() >= search.best_params_.items()
    assert search.score(X) == search.best_estimator_.score(X)


def test_cross_validation():
    scores = cross_val_score(make(), X, cv=3)
    expected = make().fit(X[30:]).score(X[:30])  # the first fold: KFold does not shuffle
    assert scores.shape == (3,) and scores[0] == expected


def test_pipelines():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b"], index=np.arange(90) + 7)
    density = make_pipeline(StandardScaler(), make()).fit(frame)
    assert density.score_samples(frame).shape == (90,) and np.isfinite(density.score(frame))
    assert "FlowDensity" in density._repr_html_()
    search = GridSearchCV(density, {"flowdensity__hidden_dim": [2, 4]}, cv=2).fit(frame)
    assert search.best_params_["flowdensity__hidden_dim"] in (2, 4)

    both = make_pipeline(make(), StandardScaler()).set_output(transform="pandas")
    z = both.fit_transform(frame)
    assert z.columns.tolist() == both.get_feature_names_out().tolist() == ["flowdensity0", "flowdensity1"]
    assert z.index.tolist() == frame.index.tolist()
    with sklearn.config_context(transform_output="polars"):
        assert type(make().fit(X).transform(X)).__module__.startswith("polars")


def test_ensembles():
    """An average of densities is no transformer: it can only be the last step."""
    model = make(n_models=2, max_iter=20)
    assert not hasattr(clone(model), "transform") and clone(model).get_params() == model.get_params()
    density = make_pipeline(StandardScaler(), model).set_output(transform="default").fit(X)
    assert np.isfinite(density.score(X)) and not hasattr(density, "transform")
    with pytest.raises(TypeError, match="should be transformers"):
        make_pipeline(model, StandardScaler()).fit(X)
    search = GridSearchCV(make(max_iter=20), {"n_models": [1, 2, 3]}, cv=2).fit(X)
    assert search.cv_results_["mean_test_score"].std() > 0 and search.best_params_["n_models"] in (1, 2, 3)
    expected = make(n_models=2, max_iter=20).fit(X[30:]).score(X[:30])
    assert cross_val_score(model, X, cv=3)[0] == expected


def test_weights_and_contexts():
    """Searches and pipelines pass them on to fit, split like X."""
    weight, context = np.arange(1.0, 91.0), X[:, :1] + 1
    search = GridSearchCV(make(), {"hidden_dim": [2, 4]}, cv=2).fit(X, sample_weight=weight)
    width = search.best_params_["hidden_dim"]
    expected = make(hidden_dim=width).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(search.best_estimator_.score_samples(X), expected.score_samples(X))
    first = make(hidden_dim=width).fit(X[45:], sample_weight=weight[45:])
    scores = first.score(X[:45], sample_weight=weight[:45]), first.score(X[:45])  # older ones do not weight the score
    assert search.cv_results_["split0_test_score"][search.best_index_] in scores

    pipeline = make_pipeline(StandardScaler(), make())
    pipeline.fit(X, flowdensity__context=context, flowdensity__sample_weight=weight)
    scaled = pipeline[0].transform(X)
    expected = make().fit(scaled, context=context, sample_weight=weight)
    np.testing.assert_array_equal(
        pipeline[1].score_samples(scaled, context=context), expected.score_samples(scaled, context=context)
    )


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


METHODS = {"fit", "partial_fit", "score", "transform", "inverse_transform", "predict", "decision_function"}
CONTEXT, WEIGHT = X[:, :1] + 1, np.linspace(0.5, 1.5, len(X))


@pytest.mark.usefixtures("routing")
@pytest.mark.filterwarnings("ignore:.* of context leave the range of training")
class TestMetadataRouting:
    def test_cross_validation(self):
        model = make(max_iter=3)
        model.set_fit_request(context=True).set_score_request(context=True, sample_weight="weight")
        scores = cross_val_score(model, X, cv=2, params={"context": CONTEXT, "weight": WEIGHT})
        for score, (train, test) in zip(scores, KFold(2).split(X)):
            fitted = make(max_iter=3).fit(X[train], context=CONTEXT[train])
            assert score == fitted.score(X[test], context=CONTEXT[test], sample_weight=WEIGHT[test])

    def test_search(self):
        model = make(max_iter=3).set_fit_request(context=True).set_score_request(context=True)
        search = GridSearchCV(model, {"hidden_dim": [2, 8]}, cv=2).fit(X, context=CONTEXT)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.score(X, context=CONTEXT) == search.best_estimator_.score(X, context=CONTEXT)

    def test_pipeline(self):
        model = make(max_iter=3).set_fit_request(context=True, sample_weight=False)
        model.set_transform_request(context=True).set_inverse_transform_request(context=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), model)
        pipeline.fit(X, context=CONTEXT, sample_weight=WEIGHT)
        scaled = StandardScaler().fit(X, sample_weight=WEIGHT).transform(X)
        latent = pipeline.transform(X, context=CONTEXT)
        np.testing.assert_array_equal(latent, make(max_iter=3).fit(scaled, context=CONTEXT).transform(scaled, context=CONTEXT))
        np.testing.assert_allclose(pipeline.inverse_transform(latent, context=CONTEXT), X, atol=1e-3)

    def test_outlier_detector(self):
        detector = make(nvpflow.FlowOutlierDetector, max_iter=3).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), detector).fit(X, sample_weight=WEIGHT)
        scaled = StandardScaler().fit_transform(X)
        expected = make(nvpflow.FlowOutlierDetector, max_iter=3).fit(scaled, sample_weight=WEIGHT)
        np.testing.assert_array_equal(pipeline.decision_function(X), expected.decision_function(scaled))

    def test_unrequested_metadata(self):
        with pytest.raises(ValueError, match="context.* are passed .*but are not explicitly set as requested"):
            cross_val_score(make(), X, params={"context": CONTEXT})
        model = make().set_fit_request(context=True).set_score_request(context=None)
        with pytest.raises(ValueError, match="FlowDensity.score"):
            cross_val_score(model, X, params={"context": CONTEXT})


def test_requestable_metadata():
    for cls in CLASSES:
        for method in METHODS:
            arguments = inspect.signature(getattr(cls, method, lambda: None)).parameters
            takes = arguments.keys() & {"context", "sample_weight", "callback"}
            assert takes == set(cls._consumes.get(method, ())), method
            assert bool(takes) == hasattr(cls, f"set_{method}_request")


def test_requests():
    model = make().set_fit_request(context=True, sample_weight="w").set_fit_request(sample_weight=False)
    for unfit in (1, "not a name", ["context"]):
        with pytest.raises(ValueError, match="context must be True, False, None or another name, got "):
            model.set_fit_request(callback=True, context=unfit)
    for twin in (clone(model), pickle.loads(pickle.dumps(model))):
        routed = twin.get_metadata_routing().fit.requests
        assert routed == {"context": True, "sample_weight": False, "callback": None}


def test_clone():
    model = make(hidden_dim=[4, 4]).set_output(transform="pandas").fit(X)
    twin = clone(model)
    assert twin.get_params() == model.get_params() and not hasattr(twin, "flow_")
    assert type(twin.fit(X).transform(X)).__name__ == "DataFrame"


def test_not_fitted_error():
    for estimator in (make(), make(nvpflow.FlowOutlierDetector)):
        for method in ("score_samples", "predict", "transform", "decision_function"):
            if hasattr(estimator, method):
                with pytest.raises(NotFittedError) as caught:
                    getattr(estimator, method)(X)
                assert isinstance(caught.value, nvpflow.NotFittedError)
                again = pickle.loads(pickle.dumps(caught.value))
                assert isinstance(again, NotFittedError) and isinstance(again, nvpflow.NotFittedError)
                assert str(again) == f"this {type(estimator).__name__} is not fitted yet: call fit first"
        with pytest.raises(NotFittedError):
            check_is_fitted(estimator)
        check_is_fitted(estimator.fit(X))


def test_tags():
    assert is_outlier_detector(make(nvpflow.FlowOutlierDetector)) and not is_outlier_detector(make())
    assert sklearn.utils.get_tags(make()).estimator_type == "density_estimator"
