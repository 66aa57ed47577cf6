"""Methods of estimators and flows besides fit: gradients of the log-density, samples, keywords."""

import numpy as np
import pytest

import nvpflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)) * [1, 5, 0.2] + [0, 10, -1]
C = RNG.uniform(size=(200, 2))
OPTIONS = {"n_layers": 3, "hidden_dim": 8, "max_iter": 20, "random_state": 0}


def differences(log_prob, x, step=1e-5):
    """Central differences of a log-density of rows, with steps in units of the columns' deviations."""
    steps = np.diag(step * x.std(axis=0))
    return np.stack([(log_prob(x + h) - log_prob(x - h)) / (2 * h.sum()) for h in steps], axis=1)


MODELS = {
    "mixture": dict(base="mixture"),
    "normal": dict(base="normal"),
    "affine": dict(coupling="affine"),
    "no bound": dict(coupling="affine", scale_bound=None, base="normal"),
    "additive": dict(coupling="additive", base="normal"),
    "not standardised": dict(base="mixture", standardize=False, activation="silu"),
}


@pytest.mark.parametrize("context", [None, C], ids=["", "context"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient(name, context):
    model = nvpflow.FlowDensity(**OPTIONS | MODELS[name], dtype="float64").fit(X, context=context)
    found = model.grad_log_prob(X, context=context)
    expected = differences(lambda x: model.score_samples(x, context=context), X)
    close = np.isclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert found.shape == X.shape and close.mean() > 0.99  # at the kinks of ReLU differences are none


def test_gradient_of_normal_distribution():
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    base = nvpflow.MixtureBase([1], [mean], [covariance], dtype="float64")
    flow = nvpflow.Flow([nvpflow.Permutation(2, [0, 1], dtype="float64")], base=base)
    x = RNG.normal(size=(50, 2))
    np.testing.assert_allclose(flow.grad_log_prob(x), -(x - mean) @ np.linalg.inv(covariance), rtol=1e-10)


def test_gradient_of_far_points():
    """Responsibilities are computed from logarithms: nothing overflows, and the nearest component decides."""
    base = nvpflow.MixtureBase([1, 1], [[-3.0], [3.0]], [[[1.0]], [[1.0]]], dtype="float64")
    flow = nvpflow.Flow([nvpflow.Permutation(1, [0], dtype="float64")], base=base)
    np.testing.assert_allclose(flow.grad_log_prob([[1e6], [-1e6], [0.0]])[:, 0], [3 - 1e6, 1e6 - 3, 0], rtol=1e-12)


def test_gradient_in_single_precision():
    model = nvpflow.FlowDensity(**OPTIONS).fit(X)
    twin = nvpflow.FlowDensity(**OPTIONS, dtype="float64").fit(X)
    twin.flow_.parameters[:] = model.flow_.parameters
    found = model.grad_log_prob(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, twin.grad_log_prob(X), rtol=1e-3, atol=1e-3 * np.abs(found).max())


def test_gradient_without_density():
    flow = nvpflow.Flow([nvpflow.ActNorm(1)])
    flow.parameters[0] = -80
    grad = flow.grad_log_prob([[1e30], [0.0]])
    assert np.isneginf(flow.log_prob([[1e30]])).all() and np.isnan(grad[0, 0]) and grad[1, 0] == 0


def test_gradient_with_an_origin():
    model = nvpflow.FlowDensity(**OPTIONS).fit(X)
    with pytest.warns(UserWarning, match="subtract the mean first"):
        moved = nvpflow.FlowDensity(**OPTIONS).fit(X + 1e8)
    np.testing.assert_allclose(moved.grad_log_prob(X + 1e8), model.grad_log_prob(X), rtol=0.1, atol=0.2)


@pytest.mark.parametrize("context", [None, C], ids=["", "context"])
def test_sample_and_score_samples(context):
    model = nvpflow.FlowDensity(**OPTIONS).fit(X, context=context)
    samples, log_density = model.sample_and_log_prob(200, 3, context=context)
    np.testing.assert_array_equal(samples, model.sample(200, 3, context=context))
    np.testing.assert_allclose(log_density, model.score_samples(samples, context=context), atol=1e-3)


def test_empty_samples():
    density = nvpflow.FlowDensity(**OPTIONS).fit(X)
    conditional = nvpflow.FlowDensity(**OPTIONS).fit(X, context=C)
    assert density.sample(0).shape == density.flow_.sample(0).shape == density.flow_.base.sample(0).shape == (0, 3)
    assert [part.shape for part in density.sample_and_log_prob(0)] == [(0, 3), (0,)]
    for context in (C[:0], C[0], C[:1]):
        assert conditional.sample(0, context=context).shape == (0, 3)
    for sample in (density.sample, density.flow_.sample, density.flow_.base.sample):
        with pytest.raises(ValueError, match="n_samples must be at least 0, got -1"):
            sample(n_samples=-1)
        with pytest.raises(TypeError, match="n_samples must be an integer, got 1.5"):
            sample(n_samples=1.5)


def test_context_is_a_keyword():
    model = nvpflow.FlowDensity(**OPTIONS).fit(X, context=C)
    for method in (model.score_samples, model.transform, model.inverse_transform, model.grad_log_prob):
        with pytest.raises(TypeError, match="positional argument"):
            method(X, C)
    with pytest.raises(TypeError, match="positional argument"):
        model.score(X, None, C)
    with pytest.raises(TypeError, match="positional argument"):
        model.sample(200, 0, C)


@pytest.mark.parametrize("y", [C, C.astype(np.float32), C.tolist(), C[:, :1]], ids=["array", "single", "lists", "column"])
def test_y_mistaken_for_context(y):
    fitted = nvpflow.FlowDensity(**OPTIONS).fit(X)
    detector, expected = nvpflow.FlowOutlierDetector(**OPTIONS), fitted.flow_.parameters.copy()
    calls = fitted.fit, fitted.partial_fit, fitted.fit_transform, fitted.score, detector.fit, detector.fit_predict
    for call in calls:
        with pytest.raises(ValueError, match=r"y is ignored, got real numbers of shape \(200, .*as context="):
            call(X, y)
    np.testing.assert_array_equal(fitted.flow_.parameters, expected)
    assert not hasattr(detector, "estimator_")


@pytest.mark.parametrize(
    "y",
    [None, C[:, 0], np.ones((200, 1), int), ["a"] * 200, [[1], [2, 3]], object()],
    ids=["none", "labels", "integers", "texts", "ragged", "object"],
)
def test_y_is_ignored(y):
    expected = nvpflow.FlowDensity(**OPTIONS | {"max_iter": 1}).fit(X)
    found = nvpflow.FlowDensity(**OPTIONS | {"max_iter": 1}).fit(X, y)
    np.testing.assert_array_equal(found.flow_.parameters, expected.flow_.parameters)


def test_mixture_log_prob():
    weights, means = [1, 3], [[0.0, 1.0], [2.0, -1.0]]
    covariances = [[[1.0, 0.3], [0.3, 0.5]], [[2.0, 0.0], [0.0, 1.0]]]
    base = nvpflow.MixtureBase(weights, means, covariances, dtype="float64")
    z = RNG.normal(size=(20, 2))
    expected = 0.0
    for weight, mean, covariance in zip([0.25, 0.75], np.array(means), np.array(covariances)):
        squares = np.einsum("ni,ij,nj->n", z - mean, np.linalg.inv(covariance), z - mean)
        expected = expected + weight * np.exp(-squares / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
    np.testing.assert_allclose(base.log_prob(z), np.log(expected), rtol=1e-12)
    assert base.log_prob(np.empty((0, 2))).shape == (0,)
    for wrong in (z[0], z[:, :1], np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"z must have shape \(n, 2\), got"):
            base.log_prob(wrong)
    with pytest.raises(TypeError):
        base.log_prob([["a", "b"]])


def test_flow_len_and_iteration():
    layers = [nvpflow.Permutation(3), nvpflow.SplineCoupling(3, 4), nvpflow.ActNorm(3)]
    flow = nvpflow.Flow(layers)
    assert len(flow) == 3 and list(flow) == layers
    assert flow[0] is layers[0] and flow[-1] is layers[2] and flow[1:] == tuple(layers[1:])
    with pytest.raises(IndexError):
        flow[3]
    with pytest.raises(TypeError):
        flow["0"]


def test_detector_callback_and_history():
    told = []

    def callback(*epoch):
        told.append(epoch)
        if epoch[0] == 7:
            raise StopIteration

    detector = nvpflow.FlowOutlierDetector(**OPTIONS).fit(X, callback=callback)
    assert detector.n_iter_ == len(told) == 7
    np.testing.assert_array_equal([nll for _, nll, _ in told], detector.history_["train_nll"])
    np.testing.assert_array_equal([nll for _, _, nll in told], detector.history_["validation_nll"])
    assert len(detector.fit_predict(X, callback=callback)) == 200
    with pytest.raises(TypeError, match="callback must be callable, got 3"):
        nvpflow.FlowOutlierDetector(**OPTIONS).fit(X, callback=3)
