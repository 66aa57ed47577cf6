"""Training a flow together with its MixtureBase."""

import numpy as np
import pytest

import nvpflow
from support.mixtures import EYE, bare_flow, flow_over


@pytest.mark.parametrize("dim", [1, 3, 5])
def test_one_component(dim):
    rng = np.random.RandomState(0)
    x = rng.normal(size=(400, dim)) @ (np.eye(dim) + 0.3 * rng.normal(size=(dim, dim))) + rng.normal(size=dim)
    weight = rng.uniform(size=400)
    for w in (None, weight):
        flow = bare_flow(nvpflow.MixtureBase([1], [np.zeros(dim)], [np.eye(dim)], dtype="float64"))
        flow.fit(x, sample_weight=w, max_iter=1500, learning_rate=0.05, schedule="cosine")
        mean, covariance = np.average(x, axis=0, weights=w), np.cov(x.T, aweights=w, ddof=0).reshape(dim, dim)
        np.testing.assert_allclose(flow.base.means[0], mean, atol=1e-4)
        np.testing.assert_allclose(flow.base.covariances[0], covariance, atol=1e-3)
        assert np.abs(flow.nll_and_grad(x, None, w)[1]).max() < 1e-4


def test_conditional_flow():
    """Two clusters that shift with the context: layers learn the shift, the base the clusters."""
    rng = np.random.RandomState(0)
    context, sign = rng.normal(size=(1000, 1)), rng.choice([-3.0, 3.0], (1000, 1))
    x = np.hstack([sign + 2 * context + 0.3 * rng.normal(size=(1000, 1)), rng.normal(size=(1000, 1))])
    base = nvpflow.MixtureBase([1, 1], [[-1, 0], [1, 0]], [EYE] * 2)
    layers = [nvpflow.AdditiveCoupling(2, 16, [0, 1], context_dim=1, random_state=0), nvpflow.ActNorm(2)]
    flow = nvpflow.Flow(layers, base=base)
    history = flow.fit(x, context, max_iter=600, learning_rate=0.02, schedule="cosine")
    entropy = np.log(2) + np.log(2 * np.pi * np.e) + np.log(0.3)
    assert history["train_nll"][0] > entropy + 1 and abs(flow.nll(x, context) - entropy) < 0.15
    samples = flow.sample(4000, random_state=0, context=[1.5])[:, 0]
    assert np.abs(np.abs(samples - 3) - 3).mean() < 0.5 and abs((samples > 3).mean() - 0.5) < 0.1


def test_keeps_best_start():
    rng = np.random.RandomState(0)
    x, held_out = rng.normal(size=(10, 2)), rng.normal(size=(500, 2))
    truth = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype="float64"))
    flow = truth.copy()
    before = flow.parameters.copy()
    history = flow.fit(x, validation_data=held_out, max_iter=30, learning_rate=0.1)
    assert len(history["validation_nll"]) == 30
    assert history["validation_nll"].min() > truth.nll(held_out) == flow.nll(held_out)
    np.testing.assert_array_equal(flow.parameters, before)
    # Patience counts from there.
    history = flow.fit(x, validation_data=held_out, max_iter=30, learning_rate=0.1, n_iter_no_change=4)
    assert len(history["validation_nll"]) == 4
    np.testing.assert_array_equal(flow.parameters, before)


def test_interrupted_fit_keeps_best_start():
    rng = np.random.RandomState(0)
    flow = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype="float64"))
    before = flow.parameters.copy()

    def interrupt(epoch, train_nll, validation_nll):
        if epoch == 3:
            raise KeyboardInterrupt

    options = {"max_iter": 30, "learning_rate": 0.1, "validation_data": rng.normal(size=(500, 2)), "callback": interrupt}
    with pytest.raises(KeyboardInterrupt):
        flow.fit(rng.normal(size=(10, 2)), **options)
    np.testing.assert_array_equal(flow.parameters, before)


def test_parts_equal_whole():
    rng = np.random.RandomState(0)
    x, held_out = rng.normal(size=(100, 2)) + 1, rng.normal(size=(50, 2)) + 1
    options = {"max_iter": 12, "learning_rate": 0.02, "batch_size": 20, "validation_data": held_out, "random_state": 3}
    flow, parts, state = flow_over(2), flow_over(2), nvpflow.TrainingState()
    whole = flow.fit(x, **options)["validation_nll"]
    curve = [parts.fit(x, **options, pause_after=4, state=state)["validation_nll"] for _ in range(3)]
    np.testing.assert_array_equal(np.concatenate(curve), whole)
    np.testing.assert_array_equal(parts.parameters, flow.parameters)
