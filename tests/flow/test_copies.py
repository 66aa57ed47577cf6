"""Copies and pickles of flows, layers, bases and states keep class and attributes and are independent; repeated __init__."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow import _core
from nvpflow._io.encoding import encode_flow

Z = np.random.default_rng(0).normal(size=(5, 2))


class MyFlow(nvpflow.Flow):
    """A subclass with arguments of its own."""

    def __init__(self, hidden_dim, name="none"):
        super().__init__([MyLayer(hidden_dim), nvpflow.Permutation(2, [1, 0]), MyNorm(2)], MyBase([1, 3]))
        self.name, self.notes, self.first = name, ["made"], self.layers[0]


class MyLayer(nvpflow.CouplingLayer):
    def __init__(self, hidden_dim):
        super().__init__(2, hidden_dim, [0, 1], random_state=0, scale="exp")
        self.tag = {"hidden": hidden_dim}


class MyNorm(nvpflow.ActNorm):
    pass


class MyBase(nvpflow.MixtureBase):
    def __init__(self, weights):
        super().__init__(weights, [[-1, 0], [1, 0]], [np.eye(2)] * 2)
        self.origin = "thought up"


class MyState(nvpflow.TrainingState):
    label = "none"


class Counted(nvpflow.Flow):
    """A subclass with its own __getstate__."""

    copies = 0

    def __getstate__(self):
        return super().__getstate__() | {"copies": self.copies + 1}


WAYS = {
    "copy()": lambda thing: thing.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda thing, n=n: pickle.loads(pickle.dumps(thing, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
}


def my_flow():
    flow = MyFlow(8, name="mine")
    flow.n_jobs = 3
    flow.parameters[:] = np.linspace(-1, 1, flow.n_parameters)
    return flow


@pytest.mark.parametrize("way", WAYS)
class TestCopies:
    def test_flow(self, way):
        flow = my_flow()
        twin = WAYS[way](flow)
        assert type(twin) is MyFlow and (twin.name, twin.notes, twin.n_jobs) == ("mine", ["made"], 3)
        assert [type(layer) for layer in twin.layers] == [MyLayer, nvpflow.Permutation, MyNorm]
        assert type(twin.base) is MyBase and twin.base.origin == "thought up"
        assert twin.layers[0].tag == {"hidden": 8} and twin.layers[0].config() == flow.layers[0].config()
        np.testing.assert_array_equal(twin.parameters, flow.parameters)
        np.testing.assert_array_equal(twin.log_prob(Z), flow.log_prob(Z))
        twin.parameters[:] = 0
        assert not twin.layers[0].s_net[0].weight.any() and not twin.base.means.any() and flow.parameters.all()

    def test_layer_of_flow(self, way):
        flow = my_flow()
        twin = WAYS[way](flow.layers[0])
        assert type(twin) is MyLayer and twin.tag == {"hidden": 8} and twin.scale == "exp"
        np.testing.assert_array_equal(twin.parameters, flow.layers[0].parameters)
        assert not twin.mask.flags.writeable
        again = nvpflow.Flow([twin])  # it is free
        again.parameters[:] = 0
        assert not twin.parameters.any() and flow.layers[0].parameters.any()

    @pytest.mark.parametrize(
        "layer",
        [
            nvpflow.CouplingLayer(3, (8, 4), [1, 0, 0], networks="shared", context_dim=2, dtype="float64"),
            nvpflow.AdditiveCoupling(3, 8),
            nvpflow.SplineCoupling(3, 8, n_bins=5, tail_bound=2.5),
            nvpflow.Permutation(3, [2, 0, 1], dtype="float64"),
            nvpflow.LULinear(3),
            nvpflow.ActNorm(3),
        ],
        ids=lambda layer: type(layer).__name__,
    )
    def test_every_layer(self, way, layer):
        layer.parameters[:] = np.linspace(-0.5, 0.5, layer.n_parameters)
        twin = WAYS[way](layer)
        assert type(twin) is type(layer) and twin.config() == layer.config() and twin.dtype == layer.dtype
        np.testing.assert_array_equal(twin.parameters, layer.parameters)
        z = np.arange(6.0).reshape(2, 3)
        context = (np.ones((2, 2)),) if layer.context_dim else ()
        for ours, theirs in zip(twin.forward(z, *context), layer.forward(z, *context), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_base_of_flow(self, way):
        base = my_flow().base
        twin = WAYS[way](base)
        assert type(twin) is MyBase and twin.origin == "thought up" and repr(twin).startswith("MyBase(")
        np.testing.assert_array_equal(twin.parameters, base.parameters)
        nvpflow.Flow([nvpflow.ActNorm(2)], twin).parameters[:] = 0
        assert not twin.parameters.any() and base.parameters.any()

    def test_training_state(self, way):
        flow, state = my_flow(), MyState()
        state.label = "a run"
        flow.fit(Z, max_iter=3, state=state)
        twin = WAYS[way](state)
        assert type(twin) is MyState and (twin.label, twin.n_iter) == ("a run", 3)
        flow.fit(Z, max_iter=5, state=state)
        assert (state.n_iter, twin.n_iter) == (5, 3)
        other = my_flow()
        other.fit(Z, max_iter=5, state=twin)
        np.testing.assert_array_equal(other.parameters, flow.parameters)

    def test_fitted_estimator(self, way):
        if way == "copy()":
            pytest.skip("estimators have none")
        model = MyEstimator(2, 4, max_iter=5, random_state=0).fit(np.random.default_rng(0).normal(size=(50, 2)))
        model.note = "kept"
        twin = WAYS[way](model)
        assert type(twin) is MyEstimator and twin.note == "kept" and type(twin.flow_) is nvpflow.Flow
        np.testing.assert_array_equal(twin.score_samples(Z), model.score_samples(Z))


class MyEstimator(nvpflow.FlowDensity):
    pass


def test_shallow_and_deep_copies():
    """A shallow copy shares further attributes, a deep one copies them; the layers among these are the copied flow's."""
    flow = my_flow()
    shallow, deep, pickled = flow.copy(), copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))
    assert shallow.notes is flow.notes and deep.notes is not flow.notes and pickled.notes == ["made"]
    assert shallow.first is flow.layers[0] and deep.first is deep.layers[0] and pickled.first is pickled.layers[0]


def test_self_reference():
    flow = my_flow()
    flow.me, flow.layers[0].owner = flow, flow
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert twin.me is twin and twin.layers[0].owner is twin
        np.testing.assert_array_equal(twin.parameters, flow.parameters)


def test_custom_getstate():
    flow = Counted([nvpflow.CouplingLayer(2, 4, random_state=0)])
    twin = copy.deepcopy(pickle.loads(pickle.dumps(flow)))
    assert twin.copies == 2
    np.testing.assert_array_equal(twin.parameters, flow.parameters)


def test_subclass_repr():
    assert repr(my_flow()).startswith("MyFlow([")


class TestSecondInit:
    """A second __init__ is an error and changes nothing."""

    @pytest.mark.parametrize(
        ("layer", "arguments"),
        [
            (nvpflow.CouplingLayer(2, 4, [1, 0], random_state=0), (2, 4, [0, 1])),
            (nvpflow.AdditiveCoupling(2, 4, [1, 0], random_state=0), (2, 9, [0, 1])),
            (nvpflow.SplineCoupling(2, 4, [1, 0], random_state=0), (3, 4)),
            (nvpflow.Permutation(2, [1, 0]), (2, [0, 1])),
            (nvpflow.ActNorm(2), (3,)),
            (nvpflow.LULinear(2), (2,)),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_layer(self, layer, arguments):
        config, parameters, x = layer.config(), layer.parameters.copy(), layer.forward(Z)[0]
        with pytest.raises(RuntimeError, match="a transform cannot be initialised twice"):
            layer.__init__(*arguments)
        assert layer.config() == config
        np.testing.assert_array_equal(layer.parameters, parameters)
        np.testing.assert_array_equal(layer.forward(Z)[0], x)

    def test_base(self):
        flow = my_flow()
        before = flow.log_prob(Z)
        with pytest.raises(RuntimeError, match="a base cannot be initialised twice"):
            flow.base.__init__([5, 1])
        flow.base.means[:] += 0.5
        assert flow.base.origin == "thought up" and not np.array_equal(flow.log_prob(Z), before)

    def test_flow(self):
        flow, layer = my_flow(), nvpflow.ActNorm(2)
        before = flow.log_prob(Z)
        with pytest.raises(RuntimeError, match="a transform cannot be initialised twice"):
            nvpflow.Flow.__init__(flow, [layer])
        np.testing.assert_array_equal(flow.log_prob(Z), before)
        assert len(nvpflow.Flow([layer]).layers) == 1  # it is still free

    def test_after_failure(self):
        layer = nvpflow.CouplingLayer.__new__(nvpflow.CouplingLayer)
        with pytest.raises(ValueError, match="activation must be one of"):
            layer.__init__(2, 4, activation="none")
        layer.__init__(2, 4, [0, 1], random_state=0)
        np.testing.assert_array_equal(layer.forward(Z)[0], nvpflow.CouplingLayer(2, 4, [0, 1], random_state=0).forward(Z)[0])


class Reentrant:
    """An argument whose conversion initialises the transform."""

    def __init__(self, transform, value):
        self.transform, self.value = transform, value

    def _convert(self, *_, **__):
        self.transform.__init__(encode_flow("float64", 3, 0, [{"type": "act_norm"}]))
        return self.value


class ReentrantNumber(Reentrant):
    __float__ = Reentrant._convert


class ReentrantArray(Reentrant):
    __array__ = Reentrant._convert


class TestReentrantInit:
    """The first initialisation wins."""

    @pytest.mark.parametrize("where", [*range(4), "array"])
    def test_from_description(self, where):
        transform = _core.Transform.__new__(_core.Transform)
        numbers = encode_flow("float32", 2, 0, [{"type": "act_norm"}])
        description = numbers.tolist()
        if where == "array":
            description = ReentrantArray(transform, numbers)
        else:
            description[where] = ReentrantNumber(transform, description[where])
        with pytest.raises(RuntimeError, match="a transform cannot be initialised twice"):
            transform.__init__(description)
        assert (transform.data_dim, transform.dtype, transform.n_parameters) == (3, np.float64, 6)
        np.testing.assert_array_equal(transform.forward(np.ones((1, 3)))[0], np.ones((1, 3)))
