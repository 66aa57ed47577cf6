"""FlowOutlierDetector with a context."""

import io

import numpy as np
import pytest

import nvpflow
from nvpflow import FlowOutlierDetector

RNG = np.random.default_rng(0)
C = RNG.uniform(0, 10, size=(2000, 1))
X = 3 * C + RNG.normal(size=(2000, 1))


@pytest.fixture(scope="module")
def detector():
    return FlowOutlierDetector(max_iter=30, random_state=0).fit(X, context=C)


def test_usual_values_in_unusual_contexts(detector):
    x = np.array([[3.0], [3.0], [27.0], [27.0]])  # all of them usual without a context
    np.testing.assert_array_equal(detector.predict(x, context=[[1], [9], [9], [1]]), [1, -1, 1, -1])


def test_share_outside(detector):
    assert np.mean(detector.predict(X, context=C) == -1) == pytest.approx(0.05, abs=0.01)
    share = FlowOutlierDetector(max_iter=30, contamination=0.2, random_state=0).fit_predict(X, context=C)
    assert np.mean(share == -1) == pytest.approx(0.2, abs=0.002)


def test_auto_is_over_the_contexts_of_training():
    """A tenth of the contexts has a density that is a hundred times lower: all of these and no others are outside of 90 %."""
    wide = np.repeat([0.0, 1.0], [1950, 50])[:, None]
    x = RNG.normal(size=(2000, 1)) * np.where(wide, 100, 1)
    detector = FlowOutlierDetector(max_iter=60, coupling="affine", random_state=0).fit(x, context=wide)
    rows = RNG.normal(size=(2000, 1)) * np.where(wide, 100, 1)
    assert np.mean(detector.predict(rows, context=wide) == -1) == pytest.approx(0.05, abs=0.02)


def test_scores_are_those_of_the_density(detector):
    scores = detector.score_samples(X[:5], context=C[:5])
    np.testing.assert_array_equal(scores, detector.estimator_.score_samples(X[:5], context=C[:5]))
    np.testing.assert_array_equal(detector.decision_function(X[:5], context=C[:5]), scores - detector.offset_)
    np.testing.assert_array_equal(
        detector.score_samples(X[:5], context=[4.0]), detector.score_samples(X[:5], context=[[4.0]] * 5)
    )


def test_far_contexts_are_clipped(detector):
    with pytest.warns(UserWarning, match="context leave the range of training in 1 of 1 rows"):
        detector.predict([[0.0]], context=[[100.0]])


def test_context_is_needed(detector):
    with pytest.raises(ValueError, match="context must be given"):
        detector.predict(X)
    with pytest.raises(ValueError, match="was fitted without"):
        FlowOutlierDetector(max_iter=2).fit(X).predict(X, context=C)


def test_weights_draw_contexts():
    weight = np.where(C[:, 0] < 5, 1.0, np.sqrt(2))
    detector = FlowOutlierDetector(max_iter=10, random_state=0).fit(X, context=C, sample_weight=weight)
    assert np.average(detector.predict(X, context=C) == -1, weights=weight) == pytest.approx(0.05, abs=0.015)


def test_file(detector):
    file = io.BytesIO()
    detector.save(file)
    file.seek(0)
    twin = nvpflow.load(file)
    assert twin.offset_ == detector.offset_
    np.testing.assert_array_equal(twin.predict(X, context=C), detector.predict(X, context=C))


def test_names_of_the_context():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(C, columns=["age"])
    detector = FlowOutlierDetector(max_iter=3, random_state=0).fit(X, context=frame)
    assert list(detector.context_feature_names_in_) == ["age"]
    with pytest.raises(ValueError, match="feature names of context should match"):
        detector.predict(X, context=frame.rename(columns={"age": "size"}))
    file = io.BytesIO()
    detector.save(file)
    file.seek(0)
    assert list(nvpflow.load(file).context_feature_names_in_) == ["age"]


def test_routing():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with sklearn.config_context(enable_metadata_routing=True):
        detector = FlowOutlierDetector(max_iter=3, random_state=0)
        detector.set_fit_request(context=True).set_predict_request(context=True).set_decision_function_request(context=True)
        pipeline = make_pipeline(StandardScaler(), detector).fit(X, context=C)
        labels, decisions = pipeline.predict(X, context=C), pipeline.decision_function(X, context=C)
    np.testing.assert_array_equal(labels == 1, decisions >= 0)


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_interruption(contamination):
    """As that of a density, it leaves the best parameters so far, and a threshold for them."""

    def interrupt(epoch, *nll):
        if epoch == 3:
            raise KeyboardInterrupt

    detector = FlowOutlierDetector(max_iter=50, contamination=contamination, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(X, context=C, callback=interrupt)
    assert detector.n_iter_ == 3 and np.isfinite(detector.offset_)
    share = 0.05 if contamination == "auto" else contamination
    assert np.mean(detector.predict(X, context=C) == -1) == pytest.approx(share, abs=0.02)
