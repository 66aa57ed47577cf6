"""Gradients, log-determinants and optimisation against their definitions, with NumPy alone.

Central differences in float64 for every gradient and Jacobian; round trips through deep flows; samples that are
independent of their neighbours to the bit; Adam against its formulas; densities that integrate to 1.
"""

import numpy as np
import pytest

import nvpflow

ACTIVATIONS, SCALES, DTYPES = ("relu", "tanh", "silu"), ("exp", "tanh"), ("float32", "float64")
pytestmark = pytest.mark.usefixtures("every_isa")
both_precisions = pytest.mark.parametrize("dtype", DTYPES)


def alternating(dim, parity=0):
    return [(i + 1 + parity) % 2 for i in range(dim)]


def default_flow(n_layers, dim, hidden=64, dtype="float64", **options):
    """Layers as a user gets them, masks alternating, each with its own random state."""
    return nvpflow.Flow(
        [
            nvpflow.CouplingLayer(dim, hidden, mask=alternating(dim, i % 2), dtype=dtype, random_state=i, **options)
            for i in range(n_layers)
        ]
    )


def small_flow(dim, activation="relu", scale="tanh", hidden=(6, 5)):
    """Three couplings with an act norm among them and one in the end, in float64, scales strongly bent."""
    rng = np.random.RandomState(dim)
    options = dict(activation=activation, scale=scale, scale_bound=0.8, dtype="float64")
    layers = [
        nvpflow.CouplingLayer(dim, hidden, mask=alternating(dim), random_state=1, **options),
        nvpflow.ActNorm(dim, dtype="float64"),
        nvpflow.CouplingLayer(dim, 7, mask=alternating(dim, 1), random_state=2, **options),
        nvpflow.CouplingLayer(dim, 4, mask=rng.randint(0, 2, dim), random_state=3, **options),
        nvpflow.ActNorm(dim, dtype="float64"),
    ]
    for layer in layers:
        if isinstance(layer, nvpflow.ActNorm):
            layer.log_scale[:] = rng.uniform(-0.7, 0.7, dim)
            layer.bias[:] = rng.normal(size=dim)
    return nvpflow.Flow(layers)


def central_difference(function, at, step=1e-6):
    """The gradient of a function of one array, entry by entry; the array is changed in place and restored."""
    gradient = np.empty(at.shape)
    for i in np.ndindex(at.shape):
        value = at[i]
        at[i] = value + step
        above = function()
        at[i] = value - step
        gradient[i] = (above - function()) / (2 * step)
        at[i] = value
    return gradient


def assert_close(actual, expected, tolerance=1e-6):
    """Relative to the 2-norm of the whole, and each entry to that norm."""
    assert actual.shape == expected.shape
    norm = np.linalg.norm(expected)
    assert norm > 0
    assert np.linalg.norm(actual - expected) <= tolerance * norm


every_kind = pytest.mark.parametrize("activation, scale", [(a, s) for a in ACTIVATIONS for s in SCALES])


class TestGradientsAreCentralDifferences:
    """To 1e-6 in float64. No ReLU has its kink within a step of these fixed points."""

    @every_kind
    @pytest.mark.parametrize("dim", [1, 2, 5])
    def test_nll(self, dim, activation, scale):
        flow = small_flow(dim, activation, scale)
        x = np.random.RandomState(0).normal(size=(9, dim))
        nll, gradient = flow.nll_and_grad(x)
        assert nll == flow.nll(x) == pytest.approx(-flow.log_prob(x).mean(), rel=1e-13)
        assert_close(gradient, central_difference(lambda: flow.nll(x), flow.parameters))

    @every_kind
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [1, 2, 5])
    def test_vjp(self, dim, direction, activation, scale):
        self.check_vjp(small_flow(dim, activation, scale), direction)

    @every_kind
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    def test_vjp_of_a_layer_alone(self, direction, activation, scale):
        self.check_vjp(
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
    def test_vjp_of_an_act_norm_alone(self, direction):
        layer = nvpflow.ActNorm(3, dtype="float64")
        layer.parameters[:] = np.random.RandomState(0).normal(size=6)
        self.check_vjp(layer, direction)

    def test_nll_at_64_layers(self):
        """The backward pass through a deep flow is as good as through a shallow one."""
        flow = default_flow(64, 2, hidden=3, activation="silu")
        x = np.random.RandomState(0).normal(size=(5, 2))
        _, gradient = flow.nll_and_grad(x)
        assert_close(gradient, central_difference(lambda: flow.nll(x), flow.parameters))

    @staticmethod
    def check_vjp(model, direction):
        rng = np.random.RandomState(1)
        points = rng.normal(size=(8, model.data_dim))
        grad_output, grad_log_det = rng.normal(size=points.shape), rng.normal(size=len(points))
        function, vjp = getattr(model, direction), getattr(model, f"{direction}_vjp")

        def of_output():
            return np.sum(function(points)[0] * grad_output)

        def of_log_det():
            return np.sum(function(points)[1] * grad_log_det)

        by_points, by_parameters = vjp(points, grad_output, grad_log_det)
        assert_close(by_points, central_difference(lambda: of_output() + of_log_det(), points))
        assert_close(
            by_parameters,
            central_difference(lambda: of_output() + of_log_det(), model.parameters),
        )

        zeros = np.zeros_like(points), np.zeros_like(grad_log_det)
        for given, same in (
            ((None, grad_log_det), (zeros[0], grad_log_det)),
            ((grad_output, None), (grad_output, zeros[1])),
            ((None, None), zeros),
        ):
            for part, expected in zip(vjp(points, *given), vjp(points, *same), strict=True):
                np.testing.assert_array_equal(part, expected)


class TestLogDet:
    """log_det is log|det| of the Jacobian by central differences."""

    @every_kind
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [2, 3, 7])
    def test_flow(self, dim, direction, activation, scale):
        self.check(small_flow(dim, activation, scale), direction)

    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [2, 3, 7])
    def test_layer(self, dim, direction):
        mask = alternating(dim, 1)
        self.check(nvpflow.CouplingLayer(dim, 16, mask=mask, dtype="float64", random_state=0), direction)
        layer = nvpflow.ActNorm(dim, dtype="float64")
        layer.parameters[:] = np.random.RandomState(0).normal(size=2 * dim)
        self.check(layer, direction)

    @staticmethod
    def check(model, direction, step=1e-6):
        function, dim = getattr(model, direction), model.data_dim
        points = np.random.RandomState(2).normal(size=(10, dim))
        _, log_det = function(points)
        steps = step * np.eye(dim)
        for point, given in zip(points, log_det):
            jacobian = (function(point + steps)[0] - function(point - steps)[0]) / (2 * step)
            assert given == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-7)


class TestDeepFlows:
    """The chain rule over layers taken one by one. A deep flow has no room to keep all of its hidden layers; alone, each
    layer has."""

    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("activation, hidden", [("relu", 300), ("silu", 150), ("tanh", (70, 90))])
    def test_gradient_is_that_of_the_layers_one_by_one(self, direction, activation, hidden):
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


class TestRoundTrip:
    """inverse(forward(z)) is z, and forward(inverse(x)) is x, through 64 layers of default size."""

    every_tolerance = pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-11)])
    every_direction = pytest.mark.parametrize("there, back", [("forward", "inverse"), ("inverse", "forward")])

    @pytest.mark.parametrize("dim", [2, 16])
    @every_tolerance
    @every_direction
    def test_64_default_layers(self, there, back, dtype, tolerance, dim):
        self.check(default_flow(64, dim, dtype=dtype), there, back, tolerance)

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
        self.check(flow, there, back, tolerance / 10)

    @staticmethod
    def check(flow, there, back, tolerance):
        start = np.random.RandomState(0).normal(size=(1000, flow.data_dim)).astype(flow.dtype)
        away, log_det = getattr(flow, there)(start)
        end, log_det_back = getattr(flow, back)(away)
        error = np.abs(end - start) / np.maximum(1, np.abs(start))
        assert error.max() <= tolerance
        log_det_error = np.abs(log_det + log_det_back) / np.maximum(1, np.abs(log_det))
        assert log_det_error.max() <= tolerance

    @both_precisions
    def test_trace_holds_the_states_on_the_way(self, dtype):
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


class TestSamplesAreIndependent:
    """What becomes of a sample has the same bits wherever it stands and whatever stands beside it."""

    @both_precisions
    @pytest.mark.parametrize("dim, hidden", [(1, 3), (2, 64), (7, (9, 5)), (64, 33)])
    @pytest.mark.parametrize("activation, scale", [("relu", "tanh"), ("silu", "exp"), ("tanh", "tanh")])
    def test_bits_do_not_depend_on_the_batch(self, dtype, dim, hidden, activation, scale):
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
    def test_layout_of_the_input_does_not_matter(self, dtype):
        flow = default_flow(3, 5, 8, dtype)
        x = np.random.RandomState(0).normal(size=(40, 5)).astype(dtype)
        expected = flow.log_prob(x)
        wide = np.zeros((80, 10), dtype)
        wide[::2, ::2] = x
        for same in (np.asfortranarray(x), wide[::2, ::2], x.tolist(), x.astype(x.dtype.newbyteorder())):
            assert flow.log_prob(same).tobytes() == expected.tobytes()

    @both_precisions
    def test_a_shorter_sample_is_the_beginning_of_a_longer_one(self, dtype):
        flow = default_flow(3, 3, 8, dtype)
        longer = flow.sample(1000, random_state=5)
        for n in (0, 1, 17, 500):
            np.testing.assert_array_equal(flow.sample(n, random_state=5), longer[:n])


class TestRandomState:
    """The same random_state gives the same bits, another one others."""

    @both_precisions
    def test_weights(self, dtype):
        def weights(random_state):
            return nvpflow.CouplingLayer(4, 16, dtype=dtype, random_state=random_state).parameters

        assert weights(3).tobytes() == weights(3).tobytes()
        assert not np.any(weights(3) == weights(4))
        assert not np.any(weights(None) == weights(None))

    @both_precisions
    def test_weights_are_uniform_in_the_range_of_torch(self, dtype):
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
    def test_samples_come_with_their_log_density(self, dtype):
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


class AdamByTheBook:
    """Kingma and Ba (2015), algorithm 1, in float64."""

    def __init__(self, parameters, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.parameters = parameters
        self.options = learning_rate, beta_1, beta_2, epsilon
        self.m, self.v, self.t = np.zeros(parameters.size), np.zeros(parameters.size), 0

    def step(self, grad):
        learning_rate, beta_1, beta_2, epsilon = self.options
        self.t += 1
        self.m = beta_1 * self.m + (1 - beta_1) * grad
        self.v = beta_2 * self.v + (1 - beta_2) * grad**2
        m_hat, v_hat = self.m / (1 - beta_1**self.t), self.v / (1 - beta_2**self.t)
        self.parameters -= learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


class TestAdam:
    """Adam against its formulas and against torch.optim.Adam, gradients of many sizes."""

    OPTIONS = (
        {},
        dict(learning_rate=0.1, beta_1=0.5, beta_2=0.9, epsilon=1e-2),
        dict(learning_rate=3e-4, beta_1=0.0, beta_2=0.99, epsilon=1e-5),
    )

    @staticmethod
    def gradients(n=37, n_steps=100):
        rng = np.random.RandomState(0)
        sizes = 10.0 ** rng.uniform(-9, 4, n)
        grads = rng.normal(size=(n_steps, n)) * sizes + sizes
        grads[:, 0] = 0
        return grads.astype(np.float32)

    def steps(self, optimizer, dtype, **options):
        """The way of the parameters, (n_steps, n)."""
        grads = self.gradients()
        parameters = np.linspace(-1, 1, grads.shape[1]).astype(dtype)
        adam = optimizer(parameters, **options)
        way = []
        for grad in grads:
            adam.step(grad.astype(dtype))
            way.append(parameters.astype("float64"))
        return np.array(way)

    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14)])
    def test_against_the_formulas(self, dtype, tolerance, options):
        ours = self.steps(nvpflow.Adam, dtype, **options)
        expected = self.steps(AdamByTheBook, "float64", **options)
        learning_rate = options.get("learning_rate", 1e-3)
        n_steps = np.arange(1, len(ours) + 1)[:, np.newaxis]
        # Each step adds its own rounding: of the parameter, and of the step relative to its length.
        allowed = tolerance * n_steps * (np.abs(expected) + learning_rate)
        assert np.all(np.abs(ours - expected) <= allowed)

    @pytest.mark.parametrize("options", OPTIONS)
    def test_against_torch(self, options):
        torch = pytest.importorskip("torch")
        grads = self.gradients().astype("float64")
        parameter = torch.linspace(-1, 1, grads.shape[1], dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam(
            [parameter],
            lr=options.get("learning_rate", 1e-3),
            betas=(options.get("beta_1", 0.9), options.get("beta_2", 0.999)),
            eps=options.get("epsilon", 1e-8),
        )
        expected = []
        for grad in grads:
            parameter.grad = torch.tensor(grad)
            adam.step()
            expected.append(parameter.detach().numpy().copy())
        ours = self.steps(nvpflow.Adam, "float64", **options)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)

    def test_fit_is_adam_on_nll_and_grad(self):
        x, learning_rate = moons(80), 3e-3
        fitted, stepped = default_flow(3, 2, 8), default_flow(3, 2, 8)
        history = fitted.fit(x, max_iter=25, learning_rate=learning_rate)
        adam, losses = AdamByTheBook(stepped.parameters, learning_rate), []
        for _ in range(25):
            nll, grad = stepped.nll_and_grad(x)
            losses.append(nll)
            adam.step(grad)
        np.testing.assert_allclose(history["train_nll"], losses, rtol=1e-11)
        assert_close(fitted.parameters, stepped.parameters, 1e-11)

    def test_fit_is_the_training_of_torch(self):
        torch = pytest.importorskip("torch")
        from support import oracle

        x = moons(80)
        flow = default_flow(3, 2, 8)
        peer = oracle.Flow(
            oracle.CouplingLayer(layer.mask.tolist(), (8,), "relu", "tanh", layer.scale_bound) for layer in flow.layers
        ).double()
        peer.load_state_dict({k: torch.tensor(v) for k, v in flow.state_dict().items()}, strict=False)
        adam, losses = torch.optim.Adam(peer.parameters(), lr=3e-3), []
        for _ in range(25):
            adam.zero_grad()
            nll = peer.nll(torch.tensor(x))
            nll.backward()
            adam.step()
            losses.append(nll.item())
        history = flow.fit(x, max_iter=25, learning_rate=3e-3)
        np.testing.assert_allclose(history["train_nll"], losses, rtol=1e-10)


def moons(n, noise=0.1):
    """Two interleaving half circles with normal noise, as scikit-learn draws them, (n, 2)."""
    rng = np.random.RandomState(0)
    angle, lower = rng.uniform(0, np.pi, n), np.arange(n) % 2
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + rng.normal(0, noise, (n, 2))


def integral(density, half_width, spacing):
    """Of a density on the plane, over a square around the origin; the grid goes by in strips."""
    axis = np.arange(-half_width, half_width, spacing) + spacing / 2
    total = 0.0
    for strip in np.array_split(axis, 20):
        total += np.sum(density(np.stack(np.meshgrid(strip, axis), axis=-1).reshape(-1, 2)))
    return total * spacing**2


class TestDensityIntegratesToOne:
    """exp(log_prob) summed over a fine grid is 1 to 1e-3: the log-dets belong to the map."""

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_flow_trained_on_moons(self, dtype):
        flow = default_flow(4, 2, 16, dtype)
        x = moons(300)
        before = flow.nll(x)
        flow.fit(x, max_iter=200, learning_rate=1e-2, random_state=0)
        assert flow.nll(x) < before - 0.5
        assert integral(lambda x: np.exp(flow.log_prob(x)), 10, 0.02) == pytest.approx(1, abs=1e-3)

    def test_estimator_trained_on_moons(self):
        model = nvpflow.FlowDensity(4, 16, max_iter=150, learning_rate=1e-2, dtype="float64", random_state=0).fit(moons(300))
        total = integral(lambda x: np.exp(model.score_samples(x)), 10, 0.02)
        assert total == pytest.approx(1, abs=1e-3)
