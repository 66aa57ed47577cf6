"""MixtureBase: arguments, parameters as views of a flow's, copies, files and state dicts."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from support.marks import both_precisions, every_dim
from support.mixtures import EYE, flow_over, random_mixture

# -- the base itself --


@every_dim
@both_precisions
def test_constructor(dim, dtype):
    weights, means, covariances, base = random_mixture(dim, 4, dtype)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(base.weights, weights, **tolerance)
    np.testing.assert_allclose(base.means, means, **tolerance)
    np.testing.assert_allclose(base.covariances, covariances, **tolerance)
    np.testing.assert_allclose(np.linalg.inv(base.covariances), precisions(base), rtol=1e-6, atol=1e-6)
    assert (base.n_components, base.data_dim, base.dtype) == (4, dim, np.dtype(dtype))
    assert base.n_parameters == base.parameters.size == 4 * (1 + dim + dim * (dim + 1) // 2)
    assert base.logits.dtype == base.means.dtype == base.factors.dtype == base.parameters.dtype == np.dtype(dtype)
    again = nvpflow.MixtureBase(base.weights, base.means, base.covariances, dtype=dtype)
    np.testing.assert_allclose(again.parameters, base.parameters, **tolerance)
    parts = [base.logits, base.means.ravel(), base.factors.ravel()]
    np.testing.assert_array_equal(np.concatenate(parts), base.parameters)


def precisions(base):
    p = base.precision_factors
    assert not np.triu(p, 1).any()
    return p.transpose(0, 2, 1) @ p


def test_weights_are_normalised():
    large, small, one = (nvpflow.MixtureBase([w, 3 * w], [[0], [1]], [[[1]]] * 2, dtype="float64") for w in (1e307, 1e-300, 1))
    for base in (large, small, one):
        np.testing.assert_allclose(base.weights, [0.25, 0.75], rtol=1e-12)
        np.testing.assert_allclose(base.logits, one.logits, atol=1e-12)


BAD = {
    "text": (("x", [[0, 0]], [EYE]), TypeError, "weights must hold real numbers, got dtype <U1"),
    "none": (([1], None, [EYE]), TypeError, "means must be an array of real numbers, got a NoneType"),
    "bool": (([True], [[0, 0]], [EYE]), TypeError, "weights must hold real numbers, got dtype bool"),
    "complex": (([1], [[0j, 0]], [EYE]), TypeError, "means must hold real numbers, got dtype complex128"),
    "ragged": (([1], [[0, 0], [1]], [EYE]), ValueError, "means must be an array of real numbers: "),
    "no columns": (([1], [[]], [EYE]), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (1, 0)"),
    "no rows": (([], np.zeros((0, 2)), []), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (0, 2)"),
    "one mean": (([1], [0, 0], [EYE]), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (2,)"),
    "one covariance": (
        ([1], [[0, 0]], EYE),
        ValueError,
        "covariances must have shape (1, 2, 2) to go with means of shape (1, 2), got (2, 2)",
    ),
    "weights": (
        ([1, 2], [[0, 0]], [EYE]),
        ValueError,
        "weights must have shape (1,) to go with means of shape (1, 2), got (2,)",
    ),
    "zero weight": (([0], [[0, 0]], [EYE]), ValueError, "weights must be positive, got 0.0"),
    "negative weight": (([1, -1], [[0, 0]] * 2, [EYE] * 2), ValueError, "weights must be positive, got -1.0"),
    "nan": (([np.nan], [[0, 0]], [EYE]), ValueError, "weights must be finite, got NaN or infinity"),
    "infinity": (([1], [[0, np.inf]], [EYE]), ValueError, "means must be finite, got NaN or infinity"),
    "indefinite": (
        ([1, 1], [[0, 0]] * 2, [EYE, [[1, 2], [2, 1]]]),
        ValueError,
        "covariances[1] must be positive definite, got one with a least eigenvalue of -1",
    ),
    "singular": (([1], [[0, 0]], [[[1, 1], [1, 1]]]), ValueError, "covariances[0] must be positive definite, got one"),
    "asymmetric": (
        ([1], [[0, 0]], [[[1, 0.5], [0, 1]]]),
        ValueError,
        "covariances[0] must be symmetric, got entries that differ by 0.5",
    ),
    "asymmetric and small": (([1], [[0, 0]], [[[1e-12, 5e-13], [0, 1e-12]]]), ValueError, "must be symmetric"),
    "range": (([1], [[1e39, 0]], [EYE]), ValueError, "weights, means and covariances must be within the range of float32"),
    "dtype": (([1], [[0, 0]], [EYE], "int8"), ValueError, "dtype must be float32 or float64, got 'int8'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    (weights, means, covariances, *dtype), error, message = BAD[name]
    with pytest.raises(error, match=re.escape(message)):
        nvpflow.MixtureBase(weights, means, covariances, dtype=dtype[0] if dtype else "float32")


def test_arguments_are_copied():
    _weights, means, covariances, base = random_mixture(2)
    means[:], covariances[:], before = 7, 7, base.parameters.copy()
    np.testing.assert_array_equal(base.parameters, before)


# -- in a flow --


@both_precisions
def test_views_of_flow_parameters(dtype):
    base = random_mixture(3, 2, dtype)[-1]
    before = base.parameters.copy()
    flow = nvpflow.Flow([nvpflow.ActNorm(3, dtype=dtype)], base=base)
    assert flow.base is base and flow.parameters.size == 6 + base.n_parameters
    np.testing.assert_array_equal(flow.parameters[6:], before)
    for view in (base.parameters, base.logits, base.means, base.factors):
        assert np.shares_memory(view, flow.parameters) and view.flags.writeable
    base.logits[1], base.means[0, 2], base.factors[1, 5] = 3, 4, 5
    assert flow.parameters[6 + 1] == 3 and flow.parameters[6 + 2 + 2] == 4 and flow.parameters[-1] == 5
    flow.parameters[-1] = -1
    assert base.factors[1, 5] == -1 and base.precision_factors[1, 2, 2] == np.exp(-1)
    x = np.zeros((1, 3), dtype)
    moved = flow.log_prob(x)
    base.means[:] = 9
    assert flow.log_prob(x) != moved
    for name in ("parameters", "logits", "means", "factors", "weights", "covariances"):
        with pytest.raises(AttributeError):
            setattr(base, name, 0)
    with pytest.raises(AttributeError):
        flow.base = None


def test_mismatched_base():
    base, layer = random_mixture(2, dtype="float32")[-1], nvpflow.ActNorm(2)
    before, parameters = base.parameters.copy(), base.parameters
    for layers, other, error, message in (
        ([nvpflow.ActNorm(3)], base, ValueError, "base and layers must agree in data_dim: base has 2, layers have 3"),
        (
            [nvpflow.ActNorm(2, dtype="float64")],
            base,
            ValueError,
            "base and layers must agree in dtype: base has float32, layers have float64",
        ),
        (
            [layer],
            "normal",
            TypeError,
            "a ConditionalMixtureBase, a CircularBase, a StudentTBase, a NormalBase or None, got 'normal'",
        ),
        (
            [layer],
            [base],
            TypeError,
            "a CircularBase, a StudentTBase, a NormalBase or None, got [MixtureBase(n_components=3",
        ),
        ([layer, nvpflow.ActNorm(3)], base, ValueError, "layers must agree in data_dim"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            nvpflow.Flow(layers, base=other)
    np.testing.assert_array_equal(base.parameters, before)
    flow = nvpflow.Flow([layer], base=base)  # both are still free
    for twice in (base, flow.base):
        with pytest.raises(ValueError, match=r"base already belongs to a flow: use base\.copy\(\)"):
            nvpflow.Flow([nvpflow.ActNorm(2)], base=twice)
    assert not np.shares_memory(parameters, flow.parameters)
    nvpflow.Flow([nvpflow.ActNorm(2)], base=base.copy())


DUPLICATES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "method": lambda model: model.copy(),
}


@pytest.mark.parametrize("how", DUPLICATES)
@both_precisions
def test_copies(how, dtype):
    base, x = random_mixture(3, 2, dtype)[-1], np.random.RandomState(1).normal(size=(9, 3))
    flow = nvpflow.Flow([nvpflow.CouplingLayer(3, 4, dtype=dtype, random_state=0)], base=base)
    for twin in (DUPLICATES[how](base), DUPLICATES[how](flow).base):
        assert twin.config() == base.config() and twin.dtype == base.dtype and repr(twin) == repr(base)
        np.testing.assert_array_equal(twin.parameters, base.parameters)
        assert not np.shares_memory(twin.parameters, base.parameters)
    twin = DUPLICATES[how](flow)
    np.testing.assert_array_equal(twin.log_prob(x), flow.log_prob(x))
    twin.base.means[:] += 1
    assert (twin.log_prob(x) != flow.log_prob(x)).any()
    nvpflow.Flow([nvpflow.ActNorm(3, dtype=dtype)], base=DUPLICATES[how](base))  # a copy is free


def test_config():
    flow = flow_over(3, 2, "float32")
    config = flow.config()
    assert config["base"] == {"type": "mixture", "n_components": 2, "data_dim": 3}
    twin = nvpflow.Flow.from_config(config)
    assert twin.config() == config and twin.parameters.size == flow.parameters.size
    assert "base" not in nvpflow.Flow([nvpflow.ActNorm(2)]).config()
    assert nvpflow.Flow.from_config(config | {"base": None}).base is None
    for change, error, message in (
        (
            {"type": "other"},
            ValueError,
            "base type must be one of 'mixture', 'conditional_mixture', 'circular', 'student_t', got 'other'",
        ),
        ({"n_components": 0}, ValueError, "n_components must be at least 1, got 0"),
        ({"n_components": 1.5}, TypeError, "n_components must be an integer, got 1.5"),
        ({"data_dim": 4}, ValueError, "base and layers must agree in data_dim: base has 4, layers have 3"),
        ({"data_dim": "3"}, TypeError, "data_dim must be an integer, got '3'"),
        ({"data_dim": 3.0}, TypeError, "data_dim must be an integer, got 3.0"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            nvpflow.Flow.from_config(config | {"base": config["base"] | change})


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("context_dim", [0, 2])
@both_precisions
def test_files(ending, context_dim, dtype, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    flow, path = flow_over(3, 4, dtype, context_dim), tmp_path / f"flow.{ending}"
    flow.save(path)
    twin = nvpflow.load(path)
    assert twin.config() == flow.config() and isinstance(twin.base, nvpflow.MixtureBase)
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert np.shares_memory(twin.base.parameters, twin.parameters)


# -- state dicts --


@both_precisions
def test_state_dict(dtype):
    flow, twin = flow_over(3, 2, dtype), flow_over(3, 2, dtype)
    state = flow.state_dict()
    assert [name for name in state if name.startswith("base.")] == ["base.logits", "base.means", "base.factors"]
    assert not any(np.shares_memory(array, flow.parameters) for array in state.values())
    twin.parameters[:] = 0
    twin.load_state_dict(state)
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert state.keys() == flow.state_dict().keys()  # nothing was taken out of it
    twin.load_state_dict({name: array.tolist() for name, array in state.items()})
    np.testing.assert_array_equal(twin.parameters, flow.parameters)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"base.logits": None}, ValueError, "state dict misses 'base.logits'"),
        ({"base.means": np.zeros(6)}, ValueError, "state dict entry 'base.means' must have shape (2, 3), got (6,)"),
        ({"base.factors": [["a"] * 6] * 2}, TypeError, "state dict entry 'base.factors' must hold real numbers"),
        ({"base.weights": np.zeros(2)}, ValueError, "state dict entry 'base.weights' is not of the form"),
        # Here all of the base is fine, and with the next a layer has been set, too.
        ({"0.s_net.0.weight": np.zeros((9, 9))}, ValueError, "state dict entry 's_net.0.weight' must have shape"),
        ({"2.bias": None}, ValueError, "state dict misses 'bias'"),
        ({"3.bias": np.zeros(3)}, ValueError, "state dict has layers [3], the flow has 3 layers"),
    ],
)
def test_bad_state_dict(change, error, message):
    flow = flow_over(3, 2)
    state = {name: array + 1 for name, array in flow.state_dict().items()} | change
    state, before = {name: array for name, array in state.items() if array is not None}, flow.parameters.copy()
    with pytest.raises(error, match=re.escape(message)):
        flow.load_state_dict(state)
    np.testing.assert_array_equal(flow.parameters, before)


def test_state_dict_of_flow_without_base():
    flow = nvpflow.Flow([nvpflow.ActNorm(2)])
    state = nvpflow.Flow([nvpflow.ActNorm(2)], base=random_mixture(2, dtype="float32")[-1]).state_dict()
    with pytest.raises(ValueError, match=re.escape("state dict entry 'base.logits' is not of the form")):
        flow.load_state_dict(state)


def couplings_over_a_base(dtype="float32"):
    masks = [[1, 0, 1], [0, 1, 0]]
    layers = [nvpflow.CouplingLayer(3, 5, mask, dtype=dtype, random_state=i) for i, mask in enumerate(masks)]
    return nvpflow.Flow(layers, random_mixture(3, 4, dtype=dtype)[-1])


@both_precisions
def test_from_state_dict(dtype):
    flow = couplings_over_a_base(dtype)
    state = flow.state_dict()
    twin = nvpflow.Flow.from_state_dict(state, scale=flow.layers[0].scale)
    assert twin.config() == flow.config() and state.keys() == flow.state_dict().keys()
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert nvpflow.Flow.from_state_dict(state, dtype="float64").base.dtype == np.float64


@pytest.mark.parametrize(
    "change, message",
    [
        ({"base.logits": None}, "state dict misses 'base.logits'"),
        ({"base.means": None}, "state dict misses 'base.means'"),
        ({"base.means": np.zeros(4)}, "state dict entry 'base.means' must have shape (K, D) with K >= 1 and D >= 1, got (4,)"),
        ({"base.factors": np.zeros((4, 5))}, "state dict entry 'base.factors' must have shape (4, 6), got (4, 5)"),
        ({"base.means": np.zeros((4, 2)), "base.factors": np.zeros((4, 3))}, "base and layers must agree in data_dim"),
    ],
)
def test_from_bad_state_dict(change, message):
    state = couplings_over_a_base().state_dict() | change
    with pytest.raises(ValueError, match=re.escape(message)):
        nvpflow.Flow.from_state_dict({name: array for name, array in state.items() if array is not None})


# -- the density --


# -- threads --


# -- samples --


# -- gradients --


# -- training --
