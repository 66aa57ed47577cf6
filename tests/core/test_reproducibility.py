"""The bits of a result depend neither on the batch nor on memory layout, and the random state fixes them."""

import numpy as np
import pytest

import nvpflow
from support.flows import default_flow
from support.marks import both_precisions
from support.samples import moons

pytestmark = pytest.mark.usefixtures("every_isa")


class TestSamplesAreIndependent:
    """The result for a sample does not depend on its position or on the other samples."""

    @both_precisions
    @pytest.mark.parametrize("dim, hidden", [(1, 3), (2, 64), (7, (9, 5)), (64, 33)])
    @pytest.mark.parametrize("activation, scale", [("relu", "tanh"), ("silu", "exp"), ("tanh", "tanh")])
    def test_batch(self, dtype, dim, hidden, activation, scale):
        flow = default_flow(3, dim, hidden, dtype, activation=activation, scale=scale)
        rng = np.random.RandomState(0)
        points, grad_output = rng.normal(size=(2, 300, dim)).astype(dtype)
        grad_log_det = rng.normal(size=300).astype(dtype)

        def everything(rows):
            given = points[rows], grad_output[rows], grad_log_det[rows]
            forward, inverse = flow.forward(given[0]), flow.inverse(given[0])
            by_points = flow.forward_vjp(*given)[0], flow.inverse_vjp(*given)[0]
            return *forward, *inverse, flow.log_prob(given[0]), *by_points

        whole = everything(np.arange(300))
        rows_to_try = [np.array([i]) for i in (0, 1, 15, 16, 17, 31, 63, 64, 128, 299)]
        rows_to_try += np.split(np.arange(300), [1, 3, 10, 27, 44, 76, 139, 203])
        rows_to_try += [rng.permutation(300), np.arange(300)[::-1], np.full(40, 7)]
        for rows in rows_to_try:
            for part, of_whole in zip(everything(rows), whole, strict=True):
                assert part.tobytes() == np.ascontiguousarray(of_whole[rows]).tobytes(), rows

    @both_precisions
    def test_memory_layout(self, dtype):
        flow = default_flow(3, 5, 8, dtype)
        x = np.random.RandomState(0).normal(size=(40, 5)).astype(dtype)
        expected = flow.log_prob(x)
        wide = np.zeros((80, 10), dtype)
        wide[::2, ::2] = x
        for same in (np.asfortranarray(x), wide[::2, ::2], x.tolist(), x.astype(x.dtype.newbyteorder())):
            assert flow.log_prob(same).tobytes() == expected.tobytes()

    @both_precisions
    def test_fewer_samples_are_a_prefix(self, dtype):
        flow = default_flow(3, 3, 8, dtype)
        longer = flow.sample(1000, random_state=5)
        for n in (0, 1, 17, 500):
            np.testing.assert_array_equal(flow.sample(n, random_state=5), longer[:n])


class TestRandomState:
    """Equal random states give equal bits, different ones different bits."""

    @both_precisions
    def test_weights(self, dtype):
        def weights(random_state):
            return nvpflow.CouplingLayer(4, 16, dtype=dtype, random_state=random_state).parameters

        assert weights(3).tobytes() == weights(3).tobytes()
        assert not np.any(weights(3) == weights(4))
        assert not np.any(weights(None) == weights(None))

    @both_precisions
    def test_weights_have_the_range_of_torch(self, dtype):
        layer = nvpflow.CouplingLayer(10, (400, 900), scale="exp", dtype=dtype, random_state=0)
        for net in (layer.s_net, layer.b_net):
            for linear, fan_in in zip(net, (10, 400, 900)):
                for values in (linear.weight, linear.bias):
                    scaled = np.sort(values.ravel().astype("float64")) * np.sqrt(fan_in)
                    assert np.abs(scaled).max() <= 1 + 1e-6
                    if scaled.size > 100:  # Kolmogorov-Smirnov distance
                        expected = 2 * (np.arange(scaled.size) + 0.5) / scaled.size - 1
                        distance = np.abs(scaled - expected).max() / 2
                        assert distance < 2 / np.sqrt(scaled.size)
        assert not np.any(layer.s_net[0].weight == layer.b_net[0].weight)

    @both_precisions
    def test_sample_and_log_prob(self, dtype):
        flow = default_flow(3, 3, 8, dtype)
        x, log_prob = flow.sample_and_log_prob(1000, random_state=1)
        np.testing.assert_array_equal(x, flow.sample(1000, random_state=1))
        np.testing.assert_allclose(log_prob, flow.log_prob(x), rtol=1e-4 if dtype == "float32" else 1e-11)

    @both_precisions
    def test_samples(self, dtype):
        flow = default_flow(2, 3, 8, dtype)
        first = flow.sample(100, random_state=1)
        assert first.tobytes() == flow.sample(100, random_state=1).tobytes()
        assert not np.any(first == flow.sample(100, random_state=2))
        assert not np.any(flow.sample(100) == flow.sample(100))

    @both_precisions
    @pytest.mark.parametrize("batch_size", [None, 32])
    def test_training(self, dtype, batch_size):
        def trained(random_state):
            flow = default_flow(2, 2, 8, dtype)
            x = moons(150)
            history = flow.fit(
                x[:100],
                max_iter=15,
                batch_size=batch_size,
                validation_data=x[100:],
                random_state=random_state,
            )
            return flow.parameters.tobytes(), history["train_nll"].tobytes()

        assert trained(0) == trained(0)
        if batch_size is not None:
            assert trained(0) != trained(1)

    @both_precisions
    def test_estimator(self, dtype):
        def fitted(random_state):
            model = nvpflow.FlowDensity(2, 8, max_iter=10, dtype=dtype, random_state=random_state).fit(moons(100))
            return model.flow_.parameters.tobytes(), model.sample(5, random_state=0).tobytes()

        assert fitted(0) == fitted(0)
        assert fitted(0) != fitted(1)
