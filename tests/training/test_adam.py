"""Adam against its formulas and against PyTorch, alone and as `Flow.fit` uses it."""

import re

import numpy as np
import pytest

import nvpflow
from support.checks import assert_close
from support.flows import default_flow
from support.samples import moons


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


@pytest.mark.usefixtures("every_isa")
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
        """The parameters after each step, (n_steps, n)."""
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

    def test_fit_against_formulas(self):
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

    def test_fit_against_torch(self):
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


def test_bad_arguments():
    parameters = np.zeros(3)
    adam = nvpflow.Adam(parameters)
    for bad, message in ((np.zeros(4), "grad must have shape (3,), got (4,)"), ([0, np.nan, 0], "grad must be finite")):
        with pytest.raises(ValueError, match=re.escape(message)):
            adam.step(bad)
    assert not parameters.any() and adam.n_steps == 0
    for bad, error in (([0.0], TypeError), (np.zeros(3, int), ValueError), (np.zeros((3, 3))[:, 1], ValueError)):
        with pytest.raises(error, match="parameters must be"):
            nvpflow.Adam(bad)
    with pytest.raises(ValueError, match="beta_1 must be finite and >= 0 and < 1, got 1"):
        nvpflow.Adam(parameters, beta_1=1)
    with pytest.raises(ValueError, match="learning_rate must be finite and > 0"):
        adam.learning_rate = -1
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        nvpflow.Adam(frozen)
