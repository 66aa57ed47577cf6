"""A user's program, for a type checker: every type that it asserts is that of the value, too (see test_types.py)."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import nvpflow
from nvpflow import datasets
from nvpflow.cli import tables
from nvpflow.progress import progress

Floats = npt.NDArray[np.floating[Any]]

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 2))

model = nvpflow.FlowDensity(2, [8, 8], max_iter=2, coupling="affine", scale_bound=None, dtype=np.float64, random_state=rng)
model.fit(X)
assert_type(model, nvpflow.FlowDensity)
assert_type(model.score_samples(X.tolist()), Floats)
assert_type(model.score(X), float)
assert_type(model.grad_log_prob(X), Floats)
assert_type(model.sample_and_log_prob(3), tuple[Floats, Floats])
assert_type(nvpflow.RealNVP(max_iter=2).fit(X), nvpflow.RealNVP)
assert_type(nvpflow.RealNVP.article(random_state=0), nvpflow.RealNVP)
assert_type(model.sample(3, random_state=np.random.SeedSequence(1)), Floats)
assert_type(model.inverse_transform(model.transform(X)), Floats)
assert_type(model.flow_, nvpflow.Flow | nvpflow.FlowEnsemble)
assert_type(model.score_samples(X, return_std=True), tuple[Floats, Floats])
assert_type(model.history_["train_nll"], Floats)
assert_type(model.n_features_in_, int)
assert_type(model.set_params(tol=0.1).partial_fit(X), nvpflow.FlowDensity)
assert_type(model.set_fit_request(context=True), nvpflow.FlowDensity)

weights, labels = np.ones(50), X[:, :1]
of_context = nvpflow.FlowDensity(2, 8, n_bins=4, n_init=1, max_iter=2, warmup=3, average=0)
assert_type(of_context.fit(X, context=labels, sample_weight=weights), nvpflow.FlowDensity)
assert_type(of_context.score_samples(X, context=labels), Floats)
assert_type(of_context.score(X, context=labels, sample_weight=weights), float)
assert_type(of_context.sample(3, context=[0.5]), Floats)
assert_type(of_context.inverse_transform(of_context.transform(X, context=labels), context=labels), Floats)
assert_type(of_context.partial_fit(X, context=labels, sample_weight=weights), nvpflow.FlowDensity)

detector = nvpflow.FlowOutlierDetector(2, 8, max_iter=2, contamination=0.1).fit(X, sample_weight=weights)
assert_type(detector.predict(X), npt.NDArray[np.integer[Any]])
assert_type(detector.decision_function(X), npt.NDArray[np.float64])

layer = nvpflow.CouplingLayer(2, 8, mask=[True, False], activation="silu", networks="shared")
assert_type(layer.s_net[0].weight, Floats)
assert_type(layer.mask, npt.NDArray[np.uint8])
assert_type(layer.hidden_dim, tuple[int, ...])
assert_type(layer.copy(), nvpflow.CouplingLayer)
assert_type(nvpflow.LULinear(2).matrix, Floats)

flow = nvpflow.Flow([layer, nvpflow.Permutation(2, [1, 0]), nvpflow.SplineCoupling(2), nvpflow.ActNorm(2)])
flow.n_jobs = -1
assert_type(flow.n_jobs, int)
assert_type(len(flow), int)
assert_type(flow.grad_log_prob(X), Floats)
assert_type(flow.forward(X), tuple[Floats, Floats])
assert_type(flow.nll_and_grad(X, sample_weight=np.ones(50)), tuple[float, Floats])
assert_type(flow.forward_vjp(X, None, None), tuple[Floats, Floats])
assert_type(flow.trace(X, inverse=True), Floats)
assert_type(flow.summary(), str)
assert_type(flow.parameters, Floats)
assert_type(flow.dtype, np.dtype[np.floating[Any]])
flow.parameters[:] *= 0.5

conditional = nvpflow.Flow([nvpflow.CouplingLayer(1, 8, [0], context_dim=2)])
assert_type(conditional.inverse_vjp(X[:, :1], None, None, X), tuple[Floats, Floats, Floats])


def report(epoch: int, train_nll: float, validation_nll: float) -> None:
    if epoch == 2:
        raise StopIteration


state = nvpflow.TrainingState()
history = flow.fit(X, max_iter=3, validation_data=(X, None), warmup=0.1, noise=[0.1, 0.2], callback=report, state=state)
assert_type(history["validation_nll"], Floats)
with progress(3, verbose=0) as callback:
    flow.fit(X, max_iter=1, callback=callback)

nvpflow.Adam(flow.parameters, learning_rate=1e-2).step(flow.nll_and_grad(X)[1])
assert_type(flow.state_dict(), dict[str, Floats])
assert_type(datasets.moons_log_density(X), npt.NDArray[np.float64])
assert_type(datasets.moons_entropy(), float)


def density_of_table(path: str) -> Floats:
    values, names = tables.read_table(path)
    assert_type(names, list[str] | None)
    return model.score_samples(values)


def read_again(path: str) -> nvpflow.FlowDensity:
    model.save(path)
    again = nvpflow.load(path)
    assert isinstance(again, nvpflow.FlowDensity)
    return again
