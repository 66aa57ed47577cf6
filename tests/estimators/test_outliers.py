"""FlowOutlierDetector: its threshold, scores, parameters and warm start."""

import inspect
import re

import numpy as np
import pytest

import nvpflow
from support.estimators import FRESH, X, make


class TestFlowOutlierDetector:
    def test_contamination(self):
        for share in (0.1, 0.5, 1 / 300):
            labels = make(nvpflow.FlowOutlierDetector, contamination=share).fit_predict(X)
            assert (labels == -1).sum() == round(share * len(X))

    def test_auto_contamination(self):
        """5 % of fresh samples and of the model's own are outside of the 95 % region."""
        detector = make(nvpflow.FlowOutlierDetector, hidden_dim=16, max_iter=200).fit(X)
        assert 0.02 < (detector.predict(FRESH) == -1).mean() < 0.09
        own = detector.estimator_.sample(20_000, random_state=1)
        assert (detector.predict(own) == -1).mean() == pytest.approx(0.05, abs=0.008)

    def test_detects_outliers(self):
        far = X[:20] + [0.0, 8.0]
        detector = make(nvpflow.FlowOutlierDetector, max_iter=100, contamination=0.05).fit(X)
        assert (detector.predict(far) == -1).all() and (detector.predict(FRESH) == 1).mean() > 0.9

    def test_scores(self):
        detector = make(nvpflow.FlowOutlierDetector).fit(X)
        scores, decision = detector.score_samples(FRESH), detector.decision_function(FRESH)
        np.testing.assert_array_equal(scores, make().fit(X).score_samples(FRESH))
        np.testing.assert_array_equal(decision, scores - detector.offset_)
        np.testing.assert_array_equal(detector.predict(FRESH), np.where(decision < 0, -1, 1))
        assert detector.n_iter_ == 20 and len(detector.history_["train_nll"]) == 20

    def test_parameters(self):
        ours, theirs = (inspect.signature(cls).parameters for cls in (nvpflow.FlowOutlierDetector, nvpflow.FlowDensity))
        assert {name: ours[name].default for name in theirs} == {name: theirs[name].default for name in theirs}
        assert ours.keys() - theirs.keys() == {"contamination"}
        detector = nvpflow.FlowOutlierDetector(3, hidden_dim=(4, 4), contamination=0.2)
        assert repr(detector) == "FlowOutlierDetector(contamination=0.2, hidden_dim=(4, 4), n_layers=3)"
        with pytest.raises(TypeError, match="unexpected keyword argument 'layers'"):
            nvpflow.FlowOutlierDetector(layers=3)
        with pytest.raises(ValueError, match="Invalid parameter 'layers' for FlowOutlierDetector; valid"):
            detector.set_params(layers=3)

    def test_warm_start(self):
        detector = make(nvpflow.FlowOutlierDetector, warm_start=True).fit(X)
        expected = detector.flow_.copy()
        detector.set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(X)
        np.testing.assert_allclose(detector.flow_.parameters, expected.parameters, atol=1e-9)

    @pytest.mark.parametrize("bad, error, message", [
        (0.0, ValueError, "contamination must be finite and > 0, got 0.0"),
        (0.6, ValueError, "contamination must be at most 0.5, got 0.6"),
        (np.nan, ValueError, "contamination must be finite"),
        ("legacy", ValueError, "contamination must be one of 'auto', got 'legacy'"),
        (None, TypeError, "contamination must be a real number, got None"),
    ])  # fmt: skip
    def test_bad_contamination(self, bad, error, message):
        detector = make(nvpflow.FlowOutlierDetector).fit(X)
        before = detector.decision_function(X)
        with pytest.raises(error, match=re.escape(message)):
            detector.set_params(contamination=bad).fit(X)
        np.testing.assert_array_equal(detector.decision_function(X), before)
        with pytest.raises(ValueError, match="X has 1 features, but FlowOutlierDetector is expecting 2"):
            detector.predict(X[:, :1])


def test_a_refused_fold_leaves_the_detector_as_it_was(monkeypatch):
    from nvpflow import outliers

    x = np.random.default_rng(0).normal(size=(60, 2))
    detector = nvpflow.FlowOutlierDetector(contamination=0.1, max_iter=3, random_state=0).fit(x)
    before = detector.estimator_, detector.offset_

    def refuse(*_):
        raise ValueError("of a fold")

    monkeypatch.setattr(outliers, "fit_folds", refuse)
    with pytest.raises(ValueError, match="of a fold"):
        detector.fit(2 * x)
    assert (detector.estimator_, detector.offset_) == before
