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


def network(dim, hidden, activation, context_dim=0):
    """Linear -> activation -> ... -> Linear, from D + C numbers to D numbers."""
    widths = [dim + context_dim, *hidden]
    modules = []
    for n_in, n_out in zip(widths[:-1], widths[1:]):
        modules += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules, nn.Linear(widths[-1], dim))


class CouplingLayer(nn.Module):
    """Affine coupling, Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8."""

    def __init__(self, mask, hidden, activation="relu", scale="exp", scale_bound=2.0, context_dim=0):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.get_default_dtype()), False)
        self.s_net = network(len(mask), hidden, activation, context_dim)
        self.b_net = network(len(mask), hidden, activation, context_dim)
        self.scale = scale
        self.scale_bound = scale_bound

    def scale_and_shift(self, v, context):
        """s and b, (n, D) each, from the identity part of v and the context."""
        inputs = self.mask * v if context is None else torch.cat([self.mask * v, context], dim=1)
        raw, b = self.s_net(inputs), self.b_net(inputs)
        if self.scale == "exp":
            return raw, b
        return self.scale_bound * torch.tanh(raw / self.scale_bound), b

    def forward(self, z, context=None):
        m = self.mask
        s, b = self.scale_and_shift(z, context)
        x = m * z + (1 - m) * (z * torch.exp(s) + b)
        return x, ((1 - m) * s).sum(dim=1)

    def inverse(self, x, context=None):
        m = self.mask
        s, b = self.scale_and_shift(x, context)
        z = m * x + (1 - m) * ((x - b) * torch.exp(-s))
        return z, -((1 - m) * s).sum(dim=1)


class ActNorm(nn.Module):
    """x = z * exp(log_scale) + bias, Kingma and Dhariwal (2018), section 3.1."""

    def __init__(self, dim):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, z, context=None):
        x = z * torch.exp(self.log_scale) + self.bias
        return x, self.log_scale.sum() * torch.ones(len(z), dtype=z.dtype)

    def inverse(self, x, context=None):
        z = (x - self.bias) * torch.exp(-self.log_scale)
        return z, -self.log_scale.sum() * torch.ones(len(x), dtype=x.dtype)


class Flow(nn.ModuleList):
    """Layers in generating order: z -> x through the first, the second, ..., the last."""

    def forward(self, z, context=None):
        log_det = torch.zeros(len(z), dtype=z.dtype)
        for layer in self:
            z, change = layer(z, context)
            log_det = log_det + change
        return z, log_det

    def inverse(self, x, context=None):
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for layer in reversed(self):
            x, change = layer.inverse(x, context)
            log_det = log_det + change
        return x, log_det

    def log_prob(self, x, context=None):
        z, log_det = self.inverse(x, context)
        log_base = -0.5 * (z**2).sum(dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
        return log_base + log_det

    def nll(self, x, context=None, sample_weight=None):
        log_prob = self.log_prob(x, context)
        if sample_weight is None:
            return -log_prob.mean()
        return -(sample_weight * log_prob).sum() / sample_weight.sum()


def build(case, parameters, dtype=torch.float64):
    """The flow of a case of `cases`, with these parameters (a dict of arrays)."""
    flow = Flow()
    for layer in case.layers:
        if isinstance(layer, cases.ActNorm):
            flow.append(ActNorm(layer.dim))
        else:
            flow.append(
                CouplingLayer(
                    layer.mask, layer.hidden, layer.activation, layer.scale, layer.scale_bound, layer.context_dim
                )
            )
    flow.to(dtype).load_state_dict({key: torch.tensor(v) for key, v in parameters.items()})
    return flow


def vjp(flow, function, points, context, grad_output, grad_log_det):
    """Gradients of sum(grad_output * output) + sum(grad_log_det * log_det).

    Returns that with respect to the points, (n, D), that with respect to the context, (n, C) or None, and a dict of
    those with respect to the parameters.
    """
    inputs = [value.clone().requires_grad_(True) for value in (points, context) if value is not None]
    names, parameters = zip(*flow.named_parameters())
    outputs = function(*inputs)
    grads = torch.autograd.grad(
        outputs, (*inputs, *parameters), (grad_output, grad_log_det), materialize_grads=True
    )
    grads = [grad.numpy() for grad in grads]
    grad_context = None if context is None else grads[1]
    return grads[0], grad_context, dict(zip(names, grads[len(inputs) :]))


def nll_and_grad(flow, x, context, sample_weight):
    """The mean negative log-likelihood and a dict of its gradients with respect to the parameters."""
    names, parameters = zip(*flow.named_parameters())
    nll = flow.nll(x, context, sample_weight)
    grads = torch.autograd.grad(nll, parameters, materialize_grads=True)
    return nll.item(), {name: grad.numpy() for name, grad in zip(names, grads)}


def evaluate(case, draw, dtype=torch.float64):
    """Every quantity of `cases.quantities`, a dict of arrays."""
    flow = build(case, draw.parameters, dtype)
    points, context, grad_output, grad_log_det, sample_weight = (
        None if array is None else torch.tensor(array, dtype=dtype)
        for array in (draw.points, draw.context, draw.grad_output, draw.grad_log_det, draw.sample_weight)
    )
    result = {}
    for direction, function, out, arg in (
        ("forward", flow.forward, "x", "z"),
        ("inverse", flow.inverse, "z", "x"),
    ):
        with torch.no_grad():
            output, log_det = function(points, context)
        result[f"{direction}.{out}"] = output.numpy()
        result[f"{direction}.log_det"] = log_det.numpy()
        grad, grad_context, grads = vjp(flow, function, points, context, grad_output, grad_log_det)
        result[f"{direction}_vjp.grad_{arg}"] = grad
        result[f"{direction}_vjp.grad_context"] = grad_context
        result |= {f"{direction}_vjp.{key}": value for key, value in grads.items()}
    if case.n:
        nll, grads = nll_and_grad(flow, points, context, sample_weight)
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
            inputs = [torch.tensor(array) for array in (draw.points, draw.context) if array is not None]
            flow(*inputs), flow.inverse(*inputs)
    return margin
