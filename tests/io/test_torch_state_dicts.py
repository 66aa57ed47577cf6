"""PyTorch's state dicts."""

import numpy as np
import pytest

import nvpflow
from support.flows import flow_of_everything
from support.saved_files import conditional_flow


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_state_dicts(dtype):
    torch = pytest.importorskip("torch")
    for flow in (flow_of_everything(3, dtype), conditional_flow()):
        state = {f"layers.{name}": torch.from_numpy(array) for name, array in flow.state_dict().items()}
        twin = nvpflow.Flow.from_config(flow.config())
        twin.load_state_dict(state)
        np.testing.assert_array_equal(twin.parameters, flow.parameters)
        for i, layer in enumerate(flow.layers):
            tensors = {name: torch.from_numpy(array) for name, array in layer.state_dict().items()}
            twin.layers[i].parameters[:] = 0
            twin.layers[i].load_state_dict(tensors)
        np.testing.assert_array_equal(twin.parameters, flow.parameters)


def torch_flow(torch):
    """Two couplings as somebody would write them in PyTorch."""

    class Coupling(torch.nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.register_buffer("mask", torch.tensor(mask))
            self.s_net, self.b_net = (
                torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)) for _ in "sb"
            )

        def forward(self, z):
            s, b = self.s_net(self.mask * z), self.b_net(self.mask * z)
            return self.mask * z + (1 - self.mask) * (z * torch.exp(s) + b)

    return torch.nn.Sequential(Coupling([1, 0]), Coupling([0, 1]))


def test_torch_modules():
    torch = pytest.importorskip("torch")
    module = torch_flow(torch)
    flow = nvpflow.Flow.from_state_dict(module.state_dict())
    assert flow.dtype == np.float32  # the masks are integers
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(flow.forward(z)[0], module(z), rtol=1e-5, atol=1e-6)
        flow.parameters[:] *= 1.5
        state = {name: torch.from_numpy(array) for name, array in flow.state_dict().items()}
        assert module.load_state_dict(state, strict=False).unexpected_keys == []
        np.testing.assert_allclose(flow.forward(z)[0], module(z), rtol=1e-5, atol=1e-6)
    assert nvpflow.Flow.from_state_dict(module.double().state_dict()).dtype == np.float64


def test_unsupported_tensors(models):
    torch = pytest.importorskip("torch")
    flow = models["flow"].copy()
    before = flow.parameters.copy()
    for spoil in (
        lambda tensor: tensor.requires_grad_(),
        lambda tensor: tensor.to(torch.bfloat16),
        lambda tensor: tensor.to(torch.complex64),
    ):
        state = {name: torch.from_numpy(array) + 1 for name, array in flow.state_dict().items()}
        state["1.bias"] = spoil(state["1.bias"])
        with pytest.raises(TypeError, match="bias.* must be an array of real numbers|bias' must hold real numbers"):
            flow.load_state_dict(state)
        np.testing.assert_array_equal(flow.parameters, before)
