"""Gradients, log-determinants and optimisation against their definitions, with NumPy alone.

Central differences in float64 for every gradient and Jacobian; round trips through deep flows; samples that are
independent of their neighbours to the bit; Adam against its formulas; densities that integrate to 1.
"""

import numpy as np
import pytest

import nvpflow
from support.checks import assert_close, central_difference, check_vjp
from support.flows import default_flow, small_flow
from support.marks import every_network

pytestmark = pytest.mark.usefixtures("every_isa")


class TestCentralDifferences:
    """To 1e-6 in float64. No ReLU has its kink within a step of these fixed points."""

    @every_network
    @pytest.mark.parametrize("dim", [1, 2, 5])
    def test_nll(self, dim, activation, scale):
        flow = small_flow(dim, activation, scale)
        x = np.random.RandomState(0).normal(size=(9, dim))
        nll, gradient = flow.nll_and_grad(x)
        assert nll == flow.nll(x) == pytest.approx(-flow.log_prob(x).mean(), rel=1e-13)
        assert_close(gradient, central_difference(lambda: flow.nll(x), flow.parameters))

    @every_network
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [1, 2, 5])
    def test_vjp(self, dim, direction, activation, scale):
        check_vjp(small_flow(dim, activation, scale), direction)

    @every_network
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    def test_vjp_of_coupling(self, direction, activation, scale):
        check_vjp(
            nvpflow.CouplingLayer(
                4,
                (5, 3),
                mask=[0, 1, 1, 0],
                activation=activation,
                scale=scale,
                dtype="float64",
                random_state=4,
            ),
            direction,
        )

    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    def test_vjp_of_act_norm(self, direction):
        layer = nvpflow.ActNorm(3, dtype="float64")
        layer.parameters[:] = np.random.RandomState(0).normal(size=6)
        check_vjp(layer, direction)

    def test_nll_at_64_layers(self):
        """The backward pass through a deep flow is as good as through a shallow one."""
        flow = default_flow(64, 2, hidden=3, activation="silu")
        x = np.random.RandomState(0).normal(size=(5, 2))
        _, gradient = flow.nll_and_grad(x)
        assert_close(gradient, central_difference(lambda: flow.nll(x), flow.parameters))


class TestDeepFlows:
    """The chain rule, layer by layer. A deep flow recomputes hidden layers that a single layer keeps."""

    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("activation, hidden", [("relu", 300), ("silu", 150), ("tanh", (70, 90))])
    def test_gradient_layer_by_layer(self, direction, activation, hidden):
        flow = default_flow(24, 17, hidden, activation=activation)
        rng = np.random.RandomState(0)
        start, d_out, d_log_det = rng.normal(size=(50, 17)), rng.normal(size=(50, 17)), rng.normal(size=50)
        d_in, d_parameters = getattr(flow, f"{direction}_vjp")(start, d_out, d_log_det)

        layers = [layer.copy() for layer in flow.layers][:: 1 if direction == "forward" else -1]
        states = [start]
        for layer in layers:
            states.append(getattr(layer, direction)(states[-1])[0])
        d, by_layer = d_out, []
        for layer, state in zip(reversed(layers), reversed(states[:-1])):
            d, of_layer = getattr(layer, f"{direction}_vjp")(state, d, d_log_det)
            by_layer.append(of_layer)
        if direction == "forward":
            by_layer.reverse()
        assert_close(d_in, d, 1e-12)
        assert_close(d_parameters, np.concatenate(by_layer), 1e-12)
