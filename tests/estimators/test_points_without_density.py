"""Estimators and points without a density: those are outliers, and a fit that gives its samples none is an error."""

import warnings

import numpy as np
import pytest

import nvpflow

R, Detector = nvpflow.FlowDensity, nvpflow.FlowOutlierDetector
X = np.random.default_rng(0).normal(size=(300, 2))
FAR = np.array([[10, -10], [1e3, -1e3], [1e30, 1e30], [-3e38, 3e38]])


@pytest.fixture(scope="module", params=["float32", "float64"])
def detector(request):
    return Detector(
        coupling="affine",
        scale_bound=None,
        base="normal",
        contamination=0.05,
        max_iter=100,
        dtype=request.param,
        random_state=0,
    ).fit(X)


def test_far_points(detector):
    np.testing.assert_array_equal(detector.predict(FAR), [-1] * 4)
    assert (detector.decision_function(FAR) < 0).all()
    assert not np.isnan(detector.score_samples(FAR)).any()


def without_density(model):
    """A point that the model gives no density."""
    grid = np.geomspace(1, 3e38, 200)
    points = np.vstack([np.outer(grid, sign) for sign in ([1, -1], [1, 1], [-1, 1], [-1, -1])])
    bad = points[model.score_samples(points) == -np.inf]
    assert len(bad)
    return bad[:1]


def test_point_without_density(detector):
    point = without_density(detector)
    assert detector.decision_function(point)[0] == -np.inf
    assert detector.predict(point)[0] == -1
    model, both = detector.estimator_, np.vstack([X[:1], point])
    assert model.score(both) == -np.inf
    # A sample of weight 0 is as good as absent.
    assert model.score(both, sample_weight=[1, 0]) == pytest.approx(model.score(X[:1]))


def threshold(monkeypatch, scores, contamination):
    """That of a detector whose training samples have these log-densities."""

    class Flow(nvpflow.Flow):
        def log_prob(self, x, context=None):
            return np.array(scores, float)

    def make(self, data, *others):
        self.flow_, self.origin_ = Flow([nvpflow.ActNorm(2)]), np.zeros(2)

    monkeypatch.setattr(R, "_fit_data", make)
    x = np.random.default_rng(0).normal(size=(len(scores), 2))
    return Detector(contamination=contamination).fit(x).offset_


@pytest.mark.parametrize("scores, contamination, expected", [
    ([-np.inf, -3, -2, -1], 0.25, -3.0),  # which counts as the lowest that there is
    ([-1, -np.inf, -2, -3], 0.375, -3.0),
    ([-np.inf, -3, -2, -1], 0.5, -2.5),
    ([-4, -3, -2, -1], 0.25, -3.5),
    ([np.nan, -3, -2, -1], 0.5, -2.5),
])  # fmt: skip
def test_thresholds(monkeypatch, scores, contamination, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert threshold(monkeypatch, scores, contamination) == expected


def test_threshold_with_many_points_without_density(monkeypatch):
    with pytest.warns(nvpflow.ConvergenceWarning, match="a share of 0.5 of the samples .*, more than 0.25, has no density"):
        assert threshold(monkeypatch, [-np.inf, -3, -np.inf, -1], 0.25) == -3
    with pytest.raises(ValueError, match="no sample has a density that is finite and not zero"):
        threshold(monkeypatch, [-np.inf] * 4, 0.25)


def test_threshold_of_draws_without_density(monkeypatch):
    """Draws without density: 1 % fall within the 5 %, 10 % exceed them."""

    def draw(flow, n, seed, context=None):
        log_prob = np.linspace(-10, -1, n).astype("float32")
        log_prob[: round(share * n)] = -np.inf
        return np.zeros((n, 2)), log_prob

    monkeypatch.setattr(nvpflow.Flow, "sample_and_log_prob", draw)
    make = Detector(max_iter=1, n_layers=1, random_state=0)
    share = 0.01
    assert make.fit(X).offset_ == pytest.approx(-10 + 9 * 0.05, abs=1e-3)
    share = 0.1
    with pytest.warns(nvpflow.ConvergenceWarning, match="more than 0.05, has no density"):
        assert make.fit(X).offset_ == pytest.approx(-10 + 9 * 0.1, abs=1e-3)


@pytest.mark.parametrize("dim", [2, 10, 20])
@pytest.mark.parametrize("n_layers", [12, 16])
def test_many_unbounded_layers_start_near_identity(n_layers, dim):
    """For ten seeds: 0.3 nats of each dimension at the most from the entropy, and a density for all fresh points."""
    x, fresh = np.random.default_rng(dim).normal(size=(2, 300, dim))
    for seed in range(10):
        model = R(
            n_layers, coupling="affine", scale_bound=None, base="normal", learning_rate=1e-6, random_state=seed
        ).partial_fit(x)
        scores = model.score_samples(fresh)
        assert np.isfinite(scores).all()
        assert scores.mean() > -dim * (0.5 * np.log(2 * np.pi * np.e) + 0.3)


@pytest.mark.parametrize("dim", [10, 20])
def test_many_unbounded_layers_train(dim):
    x, fresh = np.random.default_rng(dim).normal(size=(2, 300, dim))
    model = R(coupling="affine", scale_bound=None, base="normal", max_iter=10, random_state=0).fit(x)
    assert model.best_iter_ > 0 and np.isfinite(model.score_samples(fresh)).all()


def test_published_layer_initialisation():
    """In PyTorch's range, layers that one builds, and those of the estimator without standardisation, as the article has it."""
    layer = nvpflow.CouplingLayer(2, 64, scale="exp", random_state=0)
    article = R(
        8,
        64,
        coupling="affine",
        scale_bound=None,
        base="normal",
        standardize=False,
        noise=0,
        learning_rate=1e-20,
        batch_size=None,
    )
    for built in (layer, *article.partial_fit(X).flow_.layers):
        for *_, last in (built.s_net, built.b_net):
            assert 0.8 / 8 < np.abs(last.weight).max() <= 1 / 8
    near = R(
        8, 64, coupling="affine", scale_bound=None, base="normal", noise=0, learning_rate=1e-20, batch_size=None
    ).partial_fit(X)
    for built in near.flow_.layers[:8]:
        for *_, last in (built.s_net, built.b_net):
            assert 0.8 * 0.3 / 8 < np.abs(last.weight).max() <= 0.3 / 8


# Layers as published, without standardisation, that give values of 50 no density.
HOPELESS = {
    "n_layers": 16,
    "coupling": "affine",
    "scale_bound": None,
    "base": "normal",
    "standardize": False,
    "random_state": 0,
}
FIFTIES = 50 * np.random.default_rng(0).normal(size=(100, 10))


@pytest.mark.filterwarnings("ignore:training diverged")
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
@pytest.mark.parametrize("validation_fraction", [0.2, None])
def test_fit_without_density(fit, validation_fraction):
    model = R(max_iter=3, validation_fraction=validation_fraction, **HOPELESS)
    with pytest.raises(
        ValueError, match="the mean log-density of the samples is not finite .*: coupling='spline', a scale_bound"
    ):
        getattr(model, fit)(FIFTIES)
    assert vars(model).keys() == model.get_params().keys()
    detector = Detector(max_iter=3, validation_fraction=validation_fraction, **HOPELESS)
    with pytest.raises(ValueError, match="the mean log-density of the samples is not finite"):
        detector.fit(FIFTIES)
    assert not hasattr(detector, "offset_")


@pytest.mark.filterwarnings("ignore:training diverged")
def test_failed_fit_keeps_fitted_model():
    model = R(max_iter=3, n_layers=2, random_state=0).fit(X)
    before = vars(model).copy()
    with pytest.raises(ValueError, match="the mean log-density of the samples is not finite"):
        model.set_params(**HOPELESS).fit(FIFTIES)
    for name in ("flow_", "history_", "n_iter_", "n_features_in_"):
        assert getattr(model, name) is before[name]


@pytest.mark.parametrize("batch_size", [None, 100])
def test_partial_fit_without_density(batch_size):
    """Also by the last update, which no later batch would reveal."""
    model = R(coupling="affine", scale_bound=None, base="normal", noise=0, random_state=0).partial_fit(X)
    before = model.flow_.parameters.copy()
    with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged"):
        model.set_params(learning_rate=1e20, batch_size=batch_size).partial_fit(X)
    np.testing.assert_array_equal(model.flow_.parameters, before)
    assert np.isnan(model.history_["train_nll"][-1]) and np.isfinite(model.score(X))
