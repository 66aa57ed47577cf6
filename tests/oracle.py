"""The oracle: coupling layers and flows in plain PyTorch, in float64, with gradients by autograd.

It is written from the formulas, for the eye: full-shape networks on ``m * x``, every product and sum spelled out, nothing
fused and nothing left out. It shares no code with nvpflow. Parameters have the keys of nvpflow's full-shape ``state_dict``.
"""

import math

import numpy as np
import torch
from torch import nn

import cases

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


def network(dim, hidden, activation):
    """Linear -> activation -> ... -> Linear, from D numbers to D numbers."""
    widths = [dim, *hidden]
    modules = []
    for n_in, n_out in zip(widths[:-1], widths[1:]):
        modules += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules, nn.Linear(widths[-1], dim))


class CouplingLayer(nn.Module):
    """Affine coupling, Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8."""

    def __init__(self, mask, hidden, activation="relu", scale="exp", scale_bound=2.0):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.get_default_dtype()), False)
        self.s_net = network(len(mask), hidden, activation)
        self.b_net = network(len(mask), hidden, activation)
        self.scale = scale
        self.scale_bound = scale_bound

    def scale_and_shift(self, v):
        """s and b, (n, D) each, from the identity part of v."""
        raw, b = self.s_net(self.mask * v), self.b_net(self.mask * v)
        if self.scale == "exp":
            return raw, b
        return self.scale_bound * torch.tanh(raw / self.scale_bound), b

    def forward(self, z):
        m = self.mask
        s, b = self.scale_and_shift(z)
        x = m * z + (1 - m) * (z * torch.exp(s) + b)
        return x, ((1 - m) * s).sum(dim=1)

    def inverse(self, x):
        m = self.mask
        s, b = self.scale_and_shift(x)
        z = m * x + (1 - m) * ((x - b) * torch.exp(-s))
        return z, -((1 - m) * s).sum(dim=1)


class ActNorm(nn.Module):
    """x = z * exp(log_scale) + bias, Kingma and Dhariwal (2018), section 3.1."""

    def __init__(self, dim):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, z):
        x = z * torch.exp(self.log_scale) + self.bias
        return x, self.log_scale.sum() * torch.ones(len(z), dtype=z.dtype)

    def inverse(self, x):
        z = (x - self.bias) * torch.exp(-self.log_scale)
        return z, -self.log_scale.sum() * torch.ones(len(x), dtype=x.dtype)


class Flow(nn.ModuleList):
    """Layers in generating order: z -> x through the first, the second, ..., the last."""

    def forward(self, z):
        log_det = torch.zeros(len(z), dtype=z.dtype)
        for layer in self:
            z, change = layer(z)
            log_det = log_det + change
        return z, log_det

    def inverse(self, x):
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for layer in reversed(self):
            x, change = layer.inverse(x)
            log_det = log_det + change
        return x, log_det

    def log_prob(self, x):
        z, log_det = self.inverse(x)
        log_base = -0.5 * (z**2).sum(dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return log_base + log_det

    def nll(self, x):
        return -self.log_prob(x).mean()


def build(case, parameters, dtype=torch.float64):
    """The flow of a case of `cases`, with these parameters (a dict of arrays)."""
    flow = Flow()
    for layer in case.layers:
        if isinstance(layer, cases.ActNorm):
            flow.append(ActNorm(layer.dim))
        else:
            flow.append(
                CouplingLayer(
                    layer.mask, layer.hidden, layer.activation, layer.scale, layer.scale_bound
                )
            )
    flow.to(dtype).load_state_dict({key: torch.tensor(v) for key, v in parameters.items()})
    return flow


def vjp(flow, function, points, grad_output, grad_log_det):
    """Gradients of sum(grad_output * output) + sum(grad_log_det * log_det).

    Returns that with respect to the points, (n, D), and a dict of those with respect to the parameters.
    """
    points = points.clone().requires_grad_(True)
    names, parameters = zip(*flow.named_parameters())
    outputs = function(points)
    grad_points, *grads = torch.autograd.grad(
        outputs, (points, *parameters), (grad_output, grad_log_det), materialize_grads=True
    )
    return grad_points.numpy(), {name: grad.numpy() for name, grad in zip(names, grads)}


def nll_and_grad(flow, x):
    """The mean negative log-likelihood and a dict of its gradients with respect to the parameters."""
    names, parameters = zip(*flow.named_parameters())
    nll = flow.nll(x)
    grads = torch.autograd.grad(nll, parameters, materialize_grads=True)
    return nll.item(), {name: grad.numpy() for name, grad in zip(names, grads)}


def evaluate(case, draw, dtype=torch.float64):
    """Every quantity of `cases.quantities`, a dict of arrays."""
    flow = build(case, draw.parameters, dtype)
    points, grad_output, grad_log_det = (
        torch.tensor(array, dtype=dtype)
        for array in (draw.points, draw.grad_output, draw.grad_log_det)
    )
    result = {}
    for direction, function, out, arg in (
        ("forward", flow.forward, "x", "z"),
        ("inverse", flow.inverse, "z", "x"),
    ):
        with torch.no_grad():
            output, log_det = function(points)
        result[f"{direction}.{out}"] = output.numpy()
        result[f"{direction}.log_det"] = log_det.numpy()
        grad, grads = vjp(flow, function, points, grad_output, grad_log_det)
        result[f"{direction}_vjp.grad_{arg}"] = grad
        result |= {f"{direction}_vjp.{key}": value for key, value in grads.items()}
    if case.n:
        nll, grads = nll_and_grad(flow, points)
        result["nll"] = np.asarray(nll)
        result |= {f"nll_grad.{key}": value for key, value in grads.items()}
    return {key: result[key] for key in cases.quantities(case)}


def kink_margin(case, draw):
    """How far the input of any ReLU stays from zero in both directions, in units of the rounding that it may carry.

    The distance of W h + c from zero is divided by |W| |h| + |c|.
    """
    flow = build(case, draw.parameters)
    margin = math.inf

    def measure(linear, inputs, output):
        nonlocal margin
        size = inputs[0].abs() @ linear.weight.abs().T + linear.bias.abs()
        margin = min(margin, (output.abs() / size).min().item())

    for layer in flow:
        for net in (getattr(layer, "s_net", ()), getattr(layer, "b_net", ())):
            for linear, following in zip(net, list(net)[1:]):
                if isinstance(following, nn.ReLU):
                    linear.register_forward_hook(measure)
    if case.n:
        with torch.no_grad():
            points = torch.tensor(draw.points)
            flow(points), flow.inverse(points)
    return margin
