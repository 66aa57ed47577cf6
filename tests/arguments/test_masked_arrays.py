"""Masked arrays: masked elements are an error in every argument."""

import numpy as np
import pytest

import nvpflow
from nvpflow import datasets, plot

R = nvpflow.FlowDensity
X = np.random.default_rng(0).normal(size=(40, 2))
WEIGHT = np.ones(40)


def masked(array):
    """With its last element masked."""
    mask = np.zeros(np.shape(array), bool)
    mask.flat[-1] = True
    return np.ma.masked_array(array, mask=mask)


@pytest.fixture(scope="module")
def model():
    return R(n_layers=2, hidden_dim=4, max_iter=2, random_state=0).fit(X)


@pytest.fixture(scope="module")
def conditional():
    return R(n_layers=2, hidden_dim=4, max_iter=2, random_state=0).fit(X, context=X)


MODEL_CALLS = {
    "X": [
        lambda m, a: R(max_iter=1).fit(a(X)),
        lambda m, a: R(max_iter=1).partial_fit(a(X)),
        lambda m, a: nvpflow.FlowOutlierDetector(max_iter=1).fit(a(X)),
        lambda m, a: m.score_samples(a(X)),
        lambda m, a: m.score(a(X)),
        lambda m, a: m.transform(a(X)),
    ],
    "Z": [lambda m, a: m.inverse_transform(a(X))],
    "x": [
        lambda m, a: m.flow_.log_prob(a(X)),
        lambda m, a: m.flow_.log_prob(a(X.astype("float32"))),  # which needs no conversion
        lambda m, a: m.flow_.inverse(a(X)),
        lambda m, a: m.flow_.nll(a(X)),
        lambda m, a: m.flow_.nll_and_grad(a(X)),
        lambda m, a: m.flow_.inverse_vjp(a(X), X, None),
        lambda m, a: m.flow_.copy().fit(a(X), max_iter=1),
        lambda m, a: m.flow_.log_prob([a(row) for row in X]),
        lambda m, a: datasets.moons_log_density(a(X)),
    ],
    "z": [lambda m, a: m.flow_.forward(a(X)), lambda m, a: m.flow_.layers[0].forward(a(X))],
    "grad_x": [lambda m, a: m.flow_.forward_vjp(X, a(X), None)],
    "grad_log_det": [lambda m, a: m.flow_.forward_vjp(X, None, a(WEIGHT))],
    "sample_weight": [
        lambda m, a: R(max_iter=1).fit(X, sample_weight=a(WEIGHT)),
        lambda m, a: m.score(X, sample_weight=a(WEIGHT)),
        lambda m, a: m.flow_.nll(X, None, a(WEIGHT)),
        lambda m, a: m.flow_.copy().fit(X, None, a(WEIGHT), max_iter=1),
    ],
    "validation_data": [lambda m, a: m.flow_.copy().fit(X, max_iter=1, validation_data=a(X))],
    "noise": [lambda m, a: m.flow_.copy().fit(X, max_iter=1, noise=a([0.1, 0.1]))],
    "mask": [lambda m, a: nvpflow.CouplingLayer(2, 4, a([1, 0]))],
    "permutation": [lambda m, a: nvpflow.Permutation(2, a([1, 0]))],
    "weights": [lambda m, a: nvpflow.MixtureBase(a([1.0]), [[0, 0]], [np.eye(2)])],
    "means": [lambda m, a: nvpflow.MixtureBase([1.0], a([[0, 0]]), [np.eye(2)])],
    "grad": [lambda m, a: nvpflow.Adam(np.ones(2)).step(a(np.ones(2)))],
    "parameters": [lambda m, a: nvpflow.Adam(a(np.ones(2)))],
    "state dict entry": [
        lambda m, a: m.flow_.copy().load_state_dict({key: a(value) for key, value in m.flow_.state_dict().items()})
    ],
}


@pytest.mark.parametrize("name, call", [(name, call) for name, calls in MODEL_CALLS.items() for call in calls])
def test_masked_samples(model, name, call):
    with pytest.raises(ValueError, match=rf"^{name}.* must have no masked elements"):
        call(model, masked)
    call(model, np.ma.masked_array)  # none is masked


CONTEXT_CALLS = [
    lambda m, a: R(max_iter=1).fit(X, context=a(X)),
    lambda m, a: m.score_samples(X, context=a(X)),
    lambda m, a: m.sample(3, context=a(X[0])),
    lambda m, a: m.flow_.log_prob(X, a(X)),
    lambda m, a: m.flow_.sample(40, context=a(X)),
]


@pytest.mark.parametrize("call", CONTEXT_CALLS)
def test_masked_context(conditional, call):
    with pytest.raises(ValueError, match="^context must have no masked elements"):
        call(conditional, masked)
    call(conditional, np.ma.masked_array)


def test_masked_points_in_figures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    with pytest.raises(ValueError, match="^data must have no masked elements"):
        plot.samples(masked(X), X)


def test_masked_arrays_without_mask(model):
    expected = model.score_samples(X).tobytes()
    assert model.score_samples(np.ma.masked_array(X, mask=np.zeros_like(X, bool))).tobytes() == expected
    assert model.score_samples(masked(np.vstack([X, X]))[: len(X)]).tobytes() == expected
