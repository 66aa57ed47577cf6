"""nvpflow.integrations.torch: gradients, state dicts, conversions, distributions, and errors."""

import copy
import io
import pickle

import numpy as np
import pytest

import nvpflow
from support.flows import make_model

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install nvpflow[torch]")

from nvpflow.integrations.torch import FlowDistribution, FlowModule


def make(context_dim=0, **options):
    """A module of every kind of layer."""
    return FlowModule(make_model(context_dim, **options))


def points(module, n=4, *, seed=1):
    """Points with a density, and contexts if there are some."""
    rng, flow = np.random.default_rng(seed), module.flow
    context = rng.normal(size=(n, flow.context_dim)) if flow.context_dim else None
    x = flow.sample(n, seed, context)
    return [torch.from_numpy(array).requires_grad_() for array in (x, context) if array is not None]


def through(module, name):
    """The method of a module as a function of its parameters and inputs."""

    def call(parameters, *inputs):
        return torch.func.functional_call(Method(module, name), {"module.flow_parameters": parameters}, inputs)

    return call


def free(module):
    return module.flow_parameters.detach().clone().requires_grad_()


class Method(torch.nn.Module):
    def __init__(self, module, name):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *inputs):
        return getattr(self.module, self.name)(*inputs)


class TestGradients:
    """Against finite differences: every parameter, input and context value."""

    @pytest.mark.parametrize("name", ["forward", "inverse", "log_prob"])
    @pytest.mark.parametrize("context_dim", [0, 2])
    def test_normal_base(self, name, context_dim):
        module = make(context_dim)
        x, *context = points(module)
        x = module.inverse(x, *context)[0].detach().requires_grad_() if name == "forward" else x
        assert torch.autograd.gradcheck(through(module, name), (free(module), x, *context), atol=1e-4)

    @pytest.mark.parametrize("context_dim, conditional", [(0, False), (2, False), (2, True)])
    def test_mixture_bases(self, context_dim, conditional):
        """The weights of the sum have both signs."""
        module = make(context_dim, n_components=3, conditional=conditional)
        weight = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
        x, *context = points(module)
        log_prob = through(module, "log_prob")
        if conditional:
            with pytest.raises(NotImplementedError, match="ConditionalMixtureBase"):
                module.log_prob(x, *context)
            context[0].requires_grad_(False)
        inputs = (free(module), x, *context)
        assert torch.autograd.gradcheck(lambda *inputs: (weight * log_prob(*inputs)).sum(), inputs, atol=1e-4)

    def test_rsample(self):
        module, context = make(2), torch.zeros(2, dtype=torch.float64, requires_grad=True)
        module.rsample(6, context, generator=torch.Generator().manual_seed(0)).sum().backward()
        assert module.flow_parameters.grad.abs().sum() > 0 and context.grad.abs().sum() > 0
        with pytest.raises(NotImplementedError, match=r"needs the base N\(0, I\)"):
            make(n_components=2).rsample(3)

    def test_no_second_derivatives(self):
        module = make()
        (x,) = points(module)
        (grad,) = torch.autograd.grad(module.log_prob(x).sum(), x, create_graph=True)
        with pytest.raises(NotImplementedError, match="second derivatives"):
            (grad.sum() + x.sum()).backward()

    def test_points_without_density(self):
        module = FlowModule(nvpflow.Flow([nvpflow.Bounded(2, [(0, 1), (0, 1)], dtype="float64")]))
        x = torch.tensor([[0.5, 0.2], [2.0, 0.5]], dtype=torch.float64, requires_grad=True)
        log_prob = module.log_prob(x)
        log_prob[0].backward()
        assert torch.isfinite(log_prob[0]) and log_prob[1] == -torch.inf
        assert torch.isfinite(x.grad[0]).all() and torch.isnan(x.grad[1]).all()


class TestFlowModule:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("n_components", [0, 2])
    def test_values(self, dtype, n_components):
        """Those of the flow."""
        flow = make_model(2, dtype, n_components)
        z, context = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype), np.full((5, 2), 0.5, dtype)
        module, known = FlowModule(flow), torch.from_numpy(context)
        x, log_det = module(torch.from_numpy(z), known)
        for ours, theirs in (
            ((x, log_det), flow.forward(z, context)),
            (module.inverse(x, known), flow.inverse(x.detach().numpy(), context)),
            ((module.log_prob(x, known),), (flow.log_prob(x.detach().numpy(), context),)),
        ):
            assert all(np.array_equal(a.detach(), b) for a, b in zip(ours, theirs, strict=True))

    def test_training(self):
        """PyTorch's Adam finds the known answer: the entropy of a normal distribution."""
        torch.manual_seed(0)
        X = torch.randn(2000, 2, dtype=torch.float64) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
        flow = nvpflow.Flow([nvpflow.LULinear(2, dtype="float64"), nvpflow.ActNorm(2, dtype="float64")])
        module, same = FlowModule(flow), FlowModule(flow)
        optimiser = torch.optim.Adam(module.parameters(), lr=0.03)
        for _ in range(300):
            optimiser.zero_grad()
            loss = -module.log_prob(X).mean()
            loss.backward()
            optimiser.step()
        assert loss.item() == pytest.approx(np.log(2 * np.pi * np.e), abs=0.04)
        assert module.flow.nll(X.numpy()) == pytest.approx(loss.item(), abs=1e-3)
        assert torch.equal(same.flow_parameters, torch.from_numpy(flow.parameters))  # a module owns its flow

    def test_sample(self):
        module = make()
        torch.manual_seed(3)
        first, other = module.sample(5), module.sample(5)
        torch.manual_seed(3)
        assert torch.equal(module.sample(5), first) and not torch.equal(first, other)
        assert not first.requires_grad and first.dtype == torch.float64
        assert make(2).sample(4, torch.zeros(4, 2, dtype=torch.float64)).shape == (4, 3)

    def test_state_dict(self):
        module, other = make(), make()
        with torch.no_grad():
            other.flow_parameters += 0.1
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        (x,) = points(module)
        assert torch.equal(other.log_prob(x), module.log_prob(x)) and np.array_equal(
            other.flow.parameters, module.flow.parameters
        )
        before = other.flow_parameters.clone()
        stranger = make(n_components=2)
        for state in (stranger.state_dict(), {"flow_parameters": torch.zeros(3), "_extra_state": module.flow.config()}):
            with pytest.raises(RuntimeError, match="other layers|size mismatch"):
                other.load_state_dict(state)
        assert torch.equal(other.flow_parameters, before)

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
    def test_copies_are_independent(self, copied):
        module = make()
        (x,) = points(module)
        twin = copied(module)
        before = module.log_prob(x)
        assert torch.equal(twin.log_prob(x), before)
        with torch.no_grad():
            twin.flow_parameters += 0.5
        assert torch.equal(module.log_prob(x), before) and not torch.equal(twin.log_prob(x), before)
        assert twin.flow_parameters.data_ptr() == twin._flow.parameters.ctypes.data  # training copies nothing

    def test_conversions(self):
        module = make()
        x = points(module)[0].detach()
        exact = module.log_prob(x)
        assert module.float() is module and module.flow.dtype == np.float32
        torch.testing.assert_close(module.log_prob(x.float()).double(), exact, rtol=1e-4, atol=1e-4)
        assert module.double().flow_parameters.dtype == torch.float64
        torch.testing.assert_close(module.log_prob(x), exact, rtol=1e-4, atol=1e-4)
        for convert in (lambda: module.half(), lambda: module.to("meta")):
            with pytest.raises(TypeError, match="CPU in float32 or float64, and cannot be moved to (torch.float16|meta)"):
                convert()
        assert torch.equal(module.log_prob(x), module.log_prob(x))
        assert module.share_memory().flow_parameters.is_shared()

    def test_errors(self):
        module = make()
        x = points(module)[0].detach()
        for wrong, error, match in (
            (x.numpy(), TypeError, "x must be a torch.Tensor"),
            (x.float(), TypeError, "x must hold torch.float64, the dtype of the flow, got torch.float32"),
            (x.to("meta"), TypeError, "on the CPU, where nvpflow computes, got one on meta"),
            (x.to_sparse(), TypeError, "layout torch.sparse_coo"),
            (x[:, :1], ValueError, r"x must have shape \(n, 3\), got \(4, 1\)"),
            (x[0], ValueError, r"x must have shape \(n, 3\), got \(3,\)"),
        ):
            for method in (module.inverse, module.log_prob):
                with pytest.raises(error, match=match):
                    method(wrong)
        with pytest.raises(
            TypeError, match="value must be a dense tensor on the CPU, where nvpflow computes, got one on meta"
        ):
            module.distribution().log_prob(x.to("meta"))
        with pytest.raises(ValueError, match="context must be None"):
            module.log_prob(x, x)
        with pytest.raises(ValueError, match="context must be a tensor of shape"):
            make(2).log_prob(x)
        with pytest.raises(ValueError, match=r"context must have shape \(4, 2\), got \(1, 2\)"):
            make(2).log_prob(x, torch.zeros(1, 2, dtype=torch.float64))
        with pytest.raises(TypeError, match="flow must be a nvpflow.Flow.*pass its flow_"):
            FlowModule(nvpflow.FlowDensity(max_iter=2).fit(x.numpy()))

    def test_changed_parameters_before_backward(self):
        """PyTorch notices that an optimiser has changed what the backward pass needs."""
        module = make()
        loss = module.log_prob(*points(module)).sum()
        with torch.no_grad():
            module.flow_parameters += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()

    def test_repr(self):
        module = make(2)
        n_layers = len(module.flow)
        assert repr(module) == f"FlowModule(data_dim=3, context_dim=2, n_layers={n_layers}, dtype=float64)"


class TestFlowDistribution:
    def test_log_prob(self):
        module = make()
        (x,) = points(module, 6)
        density = module.distribution()
        assert isinstance(density, torch.distributions.Distribution) and isinstance(density, FlowDistribution)
        assert torch.equal(density.log_prob(x.reshape(3, 2, 3)), module.log_prob(x).reshape(3, 2))
        assert density.event_shape == (3,) and density.batch_shape == () and density.has_rsample

    def test_context_is_the_batch(self):
        module = make(2)
        _, context = points(module)
        density = module.distribution(context)
        x = density.sample((5,))
        assert x.shape == (5, 4, 3) and density.batch_shape == (4,)
        expected = module.log_prob(x.reshape(-1, 3), context.repeat(5, 1)).reshape(5, 4)
        assert torch.equal(density.log_prob(x), expected)
        assert module.distribution(context[0]).rsample((7,)).requires_grad

    def test_in_a_transformed_distribution(self):
        module = make()
        density = torch.distributions.TransformedDistribution(module.distribution(), [torch.distributions.ExpTransform()])
        (x,) = points(module)
        torch.testing.assert_close(density.log_prob(x.exp()), module.log_prob(x) - x.sum(dim=1))
        assert (density.sample((4,)) > 0).all()

    def test_mixture_base(self):
        density = make(n_components=2).distribution()
        assert not density.has_rsample and density.sample().shape == (3,)

    def test_errors(self, monkeypatch):
        monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)  # which clients may have turned off
        with pytest.raises(ValueError, match="context must be a tensor"):
            make(2).distribution()
        with pytest.raises(ValueError, match=r"context must have shape \(n, 2\)"):
            make(2).distribution(torch.zeros(3, dtype=torch.float64))
        with pytest.raises(ValueError, match="Expected value argument"):
            make().distribution().log_prob(torch.full((2, 3), torch.nan, dtype=torch.float64))
