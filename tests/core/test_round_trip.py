"""`forward` and `inverse` are inverse to each other; `trace` gives the states between layers."""

import numpy as np
import pytest

from support.checks import check_round_trip
from support.flows import default_flow
from support.marks import both_precisions

pytestmark = pytest.mark.usefixtures("every_isa")


class TestRoundTrip:
    """inverse(forward(z)) is z, and forward(inverse(x)) is x, through 64 layers of default size."""

    every_tolerance = pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-11)])
    every_direction = pytest.mark.parametrize("there, back", [("forward", "inverse"), ("inverse", "forward")])

    @pytest.mark.parametrize("dim", [2, 16])
    @every_tolerance
    @every_direction
    def test_64_default_layers(self, there, back, dtype, tolerance, dim):
        check_round_trip(default_flow(64, dim, dtype=dtype), there, back, tolerance)

    @pytest.mark.parametrize("dim", [2, 16])
    @every_tolerance
    @every_direction
    def test_64_gentle_layers(self, there, back, dtype, tolerance, dim):
        """Networks with 0.3 of the default output: the flow spreads points about as little as a trained one."""
        flow = default_flow(64, dim, dtype=dtype)
        for layer in flow.layers:
            for net in (layer.s_net, layer.b_net):
                net[-1].weight[:] *= 0.3
                net[-1].bias[:] *= 0.3
        check_round_trip(flow, there, back, tolerance / 10)

    @both_precisions
    def test_trace(self, dtype):
        flow = default_flow(5, 3, hidden=8, dtype=dtype)
        z = np.random.RandomState(0).normal(size=(20, 3)).astype(dtype)
        states = flow.trace(z)
        assert states.shape == (6, 20, 3)
        np.testing.assert_array_equal(states[0], z)
        for layer, before, after in zip(flow.layers, states, states[1:]):
            np.testing.assert_array_equal(layer.forward(before)[0], after)
        np.testing.assert_array_equal(states[-1], flow.forward(z)[0])

        states = flow.trace(z, inverse=True)
        np.testing.assert_array_equal(states[0], z)
        for layer, before, after in zip(reversed(flow.layers), states, states[1:]):
            np.testing.assert_array_equal(layer.inverse(before)[0], after)
        np.testing.assert_array_equal(states[-1], flow.inverse(z)[0])
