"""nvpflow.integrations.pyod: PyOD's own conventions for detectors, and what FlowDensity adds."""

import inspect
import pickle

import numpy as np
import pytest

import nvpflow

pytest.importorskip("pyod", reason="needs PyOD: pip install nvpflow[pyod]")

from pyod.models.base import BaseDetector
from pyod.utils.data import generate_data
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from nvpflow.integrations.pyod import FlowDetector

SHARE, FLOOR = 0.1, 0.8  # those of PyOD's tests of its own detectors
X, X_NEW, Y, Y_NEW = generate_data(n_train=200, n_test=100, n_features=2, contamination=SHARE, random_state=42)


def make(**parameters):
    return FlowDetector(**{"max_iter": 30, "contamination": SHARE, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def detector():
    return make().fit(X)


class TestConventions:
    """What PyOD's repository tests of each of its detectors."""

    def test_is_a_detector(self, detector):
        assert isinstance(detector, BaseDetector)
        for name in ("decision_scores_", "labels_", "threshold_", "_mu", "_sigma"):
            assert getattr(detector, name) is not None

    def test_training_scores(self, detector):
        assert detector.decision_scores_.shape == (len(X),)
        np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
        assert detector.labels_.sum() == SHARE * len(X)

    def test_scores(self, detector):
        scores = detector.decision_function(X_NEW)
        assert scores.shape == (len(X_NEW),) and scores.dtype == np.float64
        assert roc_auc_score(Y_NEW, scores) >= FLOOR

    def test_labels(self, detector):
        labels = detector.predict(X_NEW)
        np.testing.assert_array_equal(labels, detector.decision_function(X_NEW) > detector.threshold_)
        assert set(labels) == {0, 1}

    @pytest.mark.parametrize("method", ["linear", "unify"])
    def test_probabilities(self, detector, method):
        shares = detector.predict_proba(X_NEW, method=method)
        assert shares.shape == (len(X_NEW), 2) and shares.min() >= 0 and shares.max() <= 1
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert roc_auc_score(Y_NEW, shares[:, 1]) >= FLOOR

    def test_unknown_method(self, detector):
        with pytest.raises(ValueError):
            detector.predict_proba(X_NEW, method="something")

    def test_confidence(self, detector):
        labels, confidence = detector.predict(X_NEW, return_confidence=True)
        assert labels.shape == confidence.shape == (len(X_NEW),)
        assert confidence.min() >= 0 and confidence.max() <= 1
        shares, same = detector.predict_proba(X_NEW, method="linear", return_confidence=True)
        np.testing.assert_array_equal(same, confidence)
        assert shares.max() <= 1

    def test_rejection(self, detector):
        labels, stats = detector.predict_with_rejection(X_NEW, c_r=0.1, return_stats=True)
        assert set(labels) <= {-2, 0, 1} and len(stats) == 3

    @pytest.mark.filterwarnings("ignore::FutureWarning")  # PyOD has deprecated the two methods
    def test_fit_predict(self):
        labels = make(max_iter=5).fit_predict(X)
        assert labels.shape == (len(X),) and set(labels) == {0, 1}
        assert make(max_iter=5).fit_predict_score(X, Y) >= FLOOR
        assert make(max_iter=5).fit_predict_score(X, Y, scoring="prc_n_score") >= 0.5
        with pytest.raises(NotImplementedError):
            make(max_iter=5).fit_predict_score(X, Y, scoring="something")

    def test_ranks(self, detector):
        scores = detector.decision_function(X_NEW)
        ranks = detector._predict_rank(X_NEW)
        np.testing.assert_allclose(rankdata(ranks), rankdata(scores), atol=3.5)
        assert ranks.min() >= 0 and ranks.max() <= len(X)
        normalized = detector._predict_rank(X_NEW, normalized=True)
        assert normalized.min() >= 0 and normalized.max() <= 1.01

    def test_clone(self, detector):
        twin = clone(detector)
        assert twin.get_params() == detector.get_params() and not hasattr(twin, "detector_")
        np.testing.assert_array_equal(twin.fit(X).decision_scores_, detector.decision_scores_)

    def test_contamination(self):
        for share in (0, 0.7, -0.1):
            with pytest.raises(ValueError, match="contamination"):
                FlowDetector(contamination=share)


class TestFlowDetector:
    def test_scores_are_negative_log_densities(self, detector):
        model = nvpflow.FlowDensity(max_iter=30, random_state=0).fit(X)
        np.testing.assert_allclose(detector.decision_function(X_NEW), -model.score_samples(X_NEW), rtol=1e-6, atol=1e-6)

    def test_parameters(self):
        ours, theirs = (inspect.signature(cls).parameters for cls in (FlowDetector, nvpflow.FlowDensity))
        assert set(ours) == {*theirs, "contamination", "cv"}
        assert all(ours[name].default == theirs[name].default for name in theirs)
        assert FlowDetector(8, 16).set_params(n_models=2).get_params()["hidden_dim"] == 16

    def test_invalid_arguments(self, detector):
        for wrong in ({"n_layers": 0}, {"cv": 1}):
            with pytest.raises(ValueError, match=f"{min(wrong)} must be at least"):
                make(**wrong).fit(X)
        with pytest.raises(ValueError, match="3 features"):
            detector.decision_function(np.zeros((2, 3)))
        with pytest.raises(nvpflow.NotFittedError):
            make().decision_function(X)

    def test_training_scores_are_held_out(self, detector):
        """A density of 20 columns ranks its own outliers last; folds put that right."""
        rng = np.random.default_rng(0)
        y = np.r_[np.zeros(200), np.ones(20)]
        wide = rng.normal(size=(220, 20)) * np.where(y == 1, 3, 1)[:, None]
        own, held_out = (roc_auc_score(y, make(max_iter=5, cv=cv).fit(wide).decision_scores_) for cv in (None, 5))
        assert held_out > 0.95 > 0.5 > own
        alone = make(cv=None).fit(X)
        np.testing.assert_array_equal(alone.decision_scores_, alone.decision_function(X))
        assert (detector.decision_scores_ != alone.decision_scores_).all()

    @pytest.mark.filterwarnings("ignore:column.* repeat few values")
    def test_lone_values_stay_in_training(self):
        """A column that one row alone keeps from being constant."""
        lone = np.c_[X, np.arange(len(X)) == 7]
        detector = make(max_iter=5).fit(lone)
        assert detector.decision_scores_[7] == detector.decision_function(lone)[7]

    def test_frames(self, detector):
        pandas = pytest.importorskip("pandas")
        framed = make().fit(pandas.DataFrame(X, columns=["a", "b"]))
        np.testing.assert_array_equal(framed.decision_scores_, detector.decision_scores_)

    def test_failed_fit_changes_nothing(self):
        detector = make(max_iter=5).fit(X)
        scores, fitted = detector.decision_scores_, detector.detector_
        with pytest.raises(ValueError, match="finite"):
            detector.fit(np.full((10, 2), np.nan))
        assert detector.decision_scores_ is scores and detector.detector_ is fitted

    def test_pickle(self, detector):
        twin = pickle.loads(pickle.dumps(detector))
        np.testing.assert_array_equal(twin.decision_function(X_NEW), detector.decision_function(X_NEW))

    def test_points_without_density(self):
        """Outside of the support: the largest score, and probabilities that are numbers."""
        positive = np.exp(X / 8)
        detector = make(support=["positive", "positive"]).fit(positive)
        outside = np.array([[-1.0, 1.0], [1.0, 1.0]])
        scores = detector.decision_function(outside)
        assert np.isfinite(scores).all() and scores[0] > 1e38 > scores[1]
        for method in ("linear", "unify"):
            assert detector.predict_proba(outside, method=method)[0, 1] == pytest.approx(1)

    def test_missing_cells(self):
        """The score of a row with a missing cell is on the scale of complete rows."""
        holes = X.copy()
        holes[::4, 0] = np.nan
        detector = make(missing="marginalize").fit(holes)
        labels = detector.predict(np.array([[np.nan, X[0, 1]], [np.nan, 1e3]]))
        np.testing.assert_array_equal(labels, [0, 1])

    def test_warm_start(self):
        cold = make(max_iter=5, batch_size=256, cv=None, base="normal").fit(X)
        warm = make(max_iter=5, batch_size=256, cv=None, base="normal", warm_start=True).fit(X).fit(X)
        assert warm.decision_scores_.mean() < cold.decision_scores_.mean() - 0.05

    def test_threshold_object(self):
        """An object of PyThresh, here a small stand-in, sets the threshold."""

        class Half:
            def fit(self, scores):
                self.thresh_ = float(np.median(scores))
                self.labels_ = self.predict(scores)

            def predict(self, scores):
                return (scores > self.thresh_).astype(int)

        detector = make(max_iter=5, contamination=Half()).fit(X)
        assert detector.labels_.sum() == len(X) / 2
        assert detector.predict(X_NEW).sum() > 10
