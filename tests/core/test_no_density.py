"""Points without a density have the log-density -inf; NaN comes from NaN alone."""

import numpy as np
import pytest

import nvpflow

MASK = [1, 0]
LAYERS = {
    "affine exp": lambda **options: nvpflow.CouplingLayer(2, 8, MASK, scale="exp", random_state=0, **options),
    "affine tanh": lambda **options: nvpflow.CouplingLayer(2, 8, MASK, random_state=0, **options),
    "affine shared": lambda **options: nvpflow.CouplingLayer(
        2, (4, 4), MASK, scale="exp", networks="shared", activation="silu", random_state=0, **options
    ),
    "spline": lambda **options: nvpflow.SplineCoupling(2, 8, MASK, random_state=0, **options),
    "additive": lambda **options: nvpflow.AdditiveCoupling(2, 8, MASK, random_state=0, **options),
    "permutation": lambda **options: nvpflow.Permutation(2, [1, 0], **options),
    "linear": lambda **options: nvpflow.LULinear(2, **options),
    "act norm": lambda **options: nvpflow.ActNorm(2, **options),
}
BASES = {
    "normal": lambda dtype: None,
    "mixture": lambda dtype: nvpflow.MixtureBase([1, 2], [[0, 0], [1, 2]], [np.eye(2), np.eye(2) + 0.5], dtype=dtype),
}
INF, NAN = np.inf, np.nan


def make_flow(layers, base, dtype):
    flow = nvpflow.Flow(layers, base=BASES[base](dtype))
    end = flow._base_offset
    flow.parameters[:end] += np.linspace(-0.2, 0.3, end)
    return flow


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("kind", LAYERS)
def test_infinite_and_missing_points(kind, base, dtype):
    flow = make_flow([LAYERS[kind](dtype=dtype)], base, dtype)
    far = float(np.finfo(dtype).max)
    usual = [[0, 0], [1, -1], [-2, 3]]
    without = [[INF, 0], [0, -INF], [INF, INF], [-INF, INF], [far, -far], [-far, far], [INF, far]]
    missing = [[NAN, 0], [0, NAN], [INF, NAN], [NAN, NAN]]
    log_prob = flow.log_prob(np.array(usual + without + missing, dtype))
    np.testing.assert_array_equal(log_prob[:3], flow.log_prob(np.array(usual, dtype)))
    assert np.isfinite(log_prob[:3]).all()
    np.testing.assert_array_equal(log_prob[3:-4], -INF)
    assert np.isnan(log_prob[-4:]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("base", BASES)
def test_overflowing_layers(base, dtype):
    """exp(s) and the determinant are infinite at finite points."""
    layers = [nvpflow.CouplingLayer(2, (), mask, scale="exp", dtype=dtype) for mask in (MASK, [0, 1])]
    flow = nvpflow.Flow(layers, base=BASES[base](dtype))
    flow.parameters[: flow._base_offset] = np.tile([-1000, 0, 0, 0], 2)  # of s and b, weight and bias
    log_prob = flow.log_prob(np.array([[10, 10], [-3, 5], [0, 0], [1e30, 1e30]], dtype))
    assert log_prob[0] == -INF and np.isfinite(log_prob[2]) and not np.isnan(log_prob).any()
    steep = float(np.finfo(dtype).max) / 2
    flow.parameters[: flow._base_offset] = [-steep, 0, 0, 0, -steep, 0, 0, 0]
    log_prob = flow.log_prob(np.array([[10, -10], [-10, 10], [5, 5], [0, 0]], dtype))
    assert (log_prob[:3] == -INF).sum() >= 1 and not np.isnan(log_prob).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("base", BASES)
def test_missing_parameters_and_contexts(base, dtype):
    flow = make_flow([LAYERS["affine exp"](dtype=dtype, context_dim=1)], base, dtype)
    x = np.array([[0, 0], [0, 0], [INF, 0]], dtype)
    log_prob = flow.log_prob(x, np.array([[1], [NAN], [1]], dtype))
    assert np.isfinite(log_prob[0]) and np.isnan(log_prob[1]) and log_prob[2] == -INF
    flow.parameters[0] = NAN
    assert np.isnan(flow.log_prob(x, np.ones((3, 1), dtype))).all()


def test_nll():
    flow = make_flow([LAYERS["affine exp"](dtype="float64")], "normal", "float64")
    assert flow.nll([[0.0, 0.0], [INF, 0.0]]) == INF
    assert np.isnan(flow.nll([[0.0, 0.0], [INF, 0.0], [NAN, 0.0]]))


def test_overflowing_outlier():
    x = np.random.default_rng(0).normal(size=(300, 2)) * [1, 0.01]
    detector = nvpflow.FlowOutlierDetector(
        coupling="affine",
        scale_bound=None,
        base="normal",
        n_layers=2,
        hidden_dim=8,
        max_iter=5,
        standardize=False,
        random_state=0,
    ).fit(x)
    flow = detector.flow_
    flow.parameters[...] = 0
    for layer in flow.layers:
        if isinstance(layer, nvpflow.CouplingLayer):  # s = -400 relu(x), exp(-s) overflows beyond 2
            layer.parameters[...] = 0
            layer.parameters[0], layer.parameters[16] = 1, -400
    points = np.array([[10.0, -10.0], [-10.0, 10.0], [10.0, 10.0]])
    assert not np.isnan(detector.score_samples(points)).any()
    np.testing.assert_array_equal(detector.predict(points), -1)
