"""Files from before `FlowDensity` had its name load under the present names."""

from pathlib import Path

import numpy as np
import pytest

import nvpflow

DATA = Path(__file__).parents[1] / "data"
POINTS = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 0.5]])


def test_density():
    model = nvpflow.load(DATA / "before_flow_density.npz")
    assert type(model) is nvpflow.FlowDensity
    expected = nvpflow.FlowDensity(2, 4, coupling="affine", scale_bound=0.5, base="normal", max_iter=100, random_state=0)
    assert model.get_params() == expected.get_params() | {"batch_size": 256}  # the default of then
    np.testing.assert_allclose(model.score_samples(POINTS), [-2.3791692, -3.2887251, -3.4028141], rtol=1e-5)
    history = model.history_
    np.testing.assert_array_equal(history["validation_epoch"], np.arange(2, 101, 2))
    np.testing.assert_allclose(history["validation_nll"][:3], [3.62253673, 3.61240728, 3.59990432])
    assert len(history["train_nll"]) == model.best_iter_ == 100
    assert history["validation_nll"][-1] == pytest.approx(3.2234529461326065, abs=1e-12)


def test_detector():
    detector = nvpflow.load(DATA / "before_flow_density_detector.npz")
    assert type(detector.estimator_) is nvpflow.FlowDensity
    for model in (detector, detector.estimator_):
        assert (model.coupling, model.scale_bound, model.validation_fraction) == ("affine", None, None)
    np.testing.assert_allclose(detector.score_samples(POINTS), [-3.0034976, -3.2732210, -3.8823733], rtol=1e-5)
    assert detector.offset_ == pytest.approx(-4.750433921813965) and list(detector.history_) == ["train_nll"]


@pytest.mark.parametrize("name", ["before_flow_density", "before_flow_density_detector"])
def test_save_again(name, tmp_path):
    model = nvpflow.load(DATA / f"{name}.npz")
    model.save(tmp_path / "model.npz")
    again = nvpflow.load(tmp_path / "model.npz")
    assert type(again) is type(model) and again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.score_samples(POINTS), model.score_samples(POINTS))
    for curve, expected in zip(again.history_.values(), model.history_.values(), strict=True):
        np.testing.assert_array_equal(curve, expected)


def test_train_further(tmp_path):
    model = nvpflow.load(DATA / "before_flow_density.npz").set_params(warm_start=True, max_iter=1, learning_rate=1e-9)
    X = np.random.default_rng(0).normal(size=(200, 2)) @ [[1, 2], [0, 1]]
    before = model.score(X)
    assert model.fit(X).score(X) == pytest.approx(before, abs=1e-3)
