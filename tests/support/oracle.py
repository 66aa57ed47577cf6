"""The oracle: layers and flows in plain PyTorch, in float64, with gradients by autograd.

It follows the formulas literally, so that it is easy to check: full-shape networks on ``m * x``, every product and sum written
out, nothing fused. It shares no code with nvpflow. Parameters have the keys of nvpflow's full-shape ``state_dict``.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn

from support import cases

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}


def network(dim, hidden, activation, context_dim=0, outputs=1):
    """Linear -> activation -> ... -> Linear, from D + C inputs to `outputs` outputs for each of D columns."""
    widths = [dim + context_dim, *hidden]
    modules = []
    for n_in, n_out in itertools.pairwise(widths):
        modules += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules, nn.Linear(widths[-1], outputs * dim))


def conditioner_input(mask, v, context):
    """The identity part of v and the context, concatenated."""
    return mask * v if context is None else torch.cat([mask * v, context], dim=1)


class CouplingLayer(nn.Module):
    """Affine coupling, Dinh, Sohl-Dickstein and Bengio (2017), equations 7 and 8."""

    def __init__(self, mask, hidden, activation="relu", scale="exp", scale_bound=2.0, shared=False, context_dim=0):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.get_default_dtype()), False)
        if shared:
            self.net = network(len(mask), hidden, activation, context_dim, outputs=2)
        else:
            self.s_net = network(len(mask), hidden, activation, context_dim)
            self.b_net = network(len(mask), hidden, activation, context_dim)
        self.shared = shared
        self.scale = scale
        self.scale_bound = scale_bound

    def scale_and_shift(self, v, context):
        """s and b, (n, D) each, from the identity part of v and the context."""
        inputs = conditioner_input(self.mask, v, context)
        if self.shared:
            raw, b = self.net(inputs).chunk(2, dim=1)
        else:
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


class AdditiveCoupling(nn.Module):
    """Additive coupling, Dinh, Krueger and Bengio (2014), section 3.2."""

    def __init__(self, mask, hidden, activation="relu", context_dim=0):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.get_default_dtype()), False)
        self.net = network(len(mask), hidden, activation, context_dim)

    def shift(self, v, context):
        return (1 - self.mask) * self.net(conditioner_input(self.mask, v, context))

    def forward(self, z, context=None):
        return z + self.shift(z, context), torch.zeros(len(z), dtype=z.dtype)

    def inverse(self, x, context=None):
        return x - self.shift(x, context), torch.zeros(len(x), dtype=x.dtype)


class SplineCoupling(nn.Module):
    """Rational-quadratic spline coupling, Durkan, Bekasov, Murray and Papamakarios (2019), section 3.1.

    The spline maps x to z. Its network reads the identity part clamped to [-B, B]. The context is not clamped.
    """

    SMALLEST = 1e-3

    def __init__(self, mask, hidden, activation="relu", n_bins=8, tail_bound=4.0, context_dim=0):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.get_default_dtype()), False)
        self.net = network(len(mask), hidden, activation, context_dim, outputs=3 * n_bins - 1)
        self.n_bins, self.tail_bound = n_bins, tail_bound
        self.knot_distance = math.inf  # minimum over all points, including the ends of the clamp, in units of the tail bound

    def knots(self, sizes):
        """-B and the upper ends of the bins (n, D, K + 1), from unnormalised sizes (n, D, K)."""
        shares = self.SMALLEST + (1 - self.n_bins * self.SMALLEST) * torch.softmax(sizes, dim=-1)
        ends = 2 * self.tail_bound * torch.cumsum(shares, dim=-1) - self.tail_bound
        return torch.cat([torch.full_like(ends[..., :1], -self.tail_bound), ends], dim=-1)

    def spline(self, v, context):
        """Knots and derivatives (n, D, K + 1) from the identity part of v and the context."""
        clamped = v.clamp(-self.tail_bound, self.tail_bound)
        outputs = self.net(conditioner_input(self.mask, clamped, context))
        outputs = outputs.reshape(len(v), len(self.mask), 3 * self.n_bins - 1)
        widths, heights, slopes = outputs.split([self.n_bins, self.n_bins, self.n_bins - 1], dim=-1)
        offset = math.log(math.exp(1 - self.SMALLEST) - 1)
        inner = self.SMALLEST + nn.functional.softplus(slopes + offset)
        ones = torch.ones_like(outputs[..., :1])
        return self.knots(widths), self.knots(heights), torch.cat([ones, inner, ones], dim=-1)

    def transform(self, v, context, inverse):
        """The result, and the sum of log dz/dx over transformed columns between the tails."""
        x_knots, z_knots, derivatives = self.spline(v, context)
        changed = (self.mask == 0) & (v.abs() < self.tail_bound)
        inner = torch.where(changed, v, 0.0)
        knots = x_knots if inverse else z_knots
        distances = (v[..., None] - knots).abs()[self.mask.expand_as(v) == 0], (v.abs() - self.tail_bound).abs()
        for distance in distances:
            if distance.numel():
                self.knot_distance = min(self.knot_distance, distance.min().item() / self.tail_bound)
        bin = (inner[..., None] >= knots[..., 1:-1]).sum(dim=-1, keepdim=True)
        x0, x1, z0, z1, d0, d1 = (
            torch.gather(values, -1, bin + end).squeeze(-1) for values in (x_knots, z_knots, derivatives) for end in (0, 1)
        )
        s = (z1 - z0) / (x1 - x0)
        if inverse:
            t = (inner - x0) / (x1 - x0)
        else:  # equations 6 to 8, and t = 2 c / (-b - sqrt(b^2 - 4 a c))
            curve = (inner - z0) * (d1 + d0 - 2 * s)
            a, b, c = (z1 - z0) * (s - d0) + curve, (z1 - z0) * d0 - curve, -s * (inner - z0)
            t = 2 * c / (-b - torch.sqrt(b**2 - 4 * a * c))
        denominator = s + (d1 + d0 - 2 * s) * t * (1 - t)
        slope = s**2 * (d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2) / denominator**2
        if inverse:
            result = z0 + (z1 - z0) * (s * t**2 + d0 * t * (1 - t)) / denominator
        else:
            result = x0 + t * (x1 - x0)
        return torch.where(changed, result, v), torch.where(changed, torch.log(slope), 0.0).sum(dim=1)

    def forward(self, z, context=None):
        x, log_det = self.transform(z, context, inverse=False)
        return x, -log_det

    def inverse(self, x, context=None):
        return self.transform(x, context, inverse=True)


class Permutation(nn.Module):
    """x_i = z_p(i)."""

    def __init__(self, permutation):
        super().__init__()
        self.permutation = list(permutation)

    def forward(self, z, context=None):
        return z[:, self.permutation], torch.zeros(len(z), dtype=z.dtype)

    def inverse(self, x, context=None):
        z = torch.stack([x[:, self.permutation.index(i)] for i in range(x.shape[1])], dim=1)
        return z, torch.zeros(len(x), dtype=x.dtype)


class LULinear(nn.Module):
    """x = L U z + b, Kingma and Dhariwal (2018), section 3.2.

    `lu` has L below its diagonal, the logarithm of the diagonal of U on it, and U above it.
    """

    def __init__(self, dim):
        super().__init__()
        self.lu = nn.Parameter(torch.zeros(dim, dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def matrix(self):
        lower = torch.tril(self.lu, -1) + torch.eye(len(self.lu), dtype=self.lu.dtype)
        return lower @ (torch.triu(self.lu, 1) + torch.diag(torch.exp(torch.diagonal(self.lu))))

    def forward(self, z, context=None):
        log_det = torch.diagonal(self.lu).sum()
        return z @ self.matrix().T + self.bias, log_det * torch.ones(len(z), dtype=z.dtype)

    def inverse(self, x, context=None):
        log_det = -torch.diagonal(self.lu).sum()
        z = torch.linalg.solve(self.matrix(), (x - self.bias).T).T
        return z, log_det * torch.ones(len(x), dtype=x.dtype)


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


class Normal(nn.Module):
    """N(0, I)."""

    def log_prob(self, z):
        return -0.5 * (z**2).sum(dim=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


class Mixture(nn.Module):
    """A mixture of normal distributions. Each row of `factors` is a triangular P, with the logarithm of its diagonal.

    The precision is P^T P.
    """

    def __init__(self, n_components, dim):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.zeros(n_components, dim))
        self.factors = nn.Parameter(torch.zeros(n_components, dim * (dim + 1) // 2))

    def log_prob(self, z):
        dim = self.means.shape[1]
        parts = []
        for weight, mean, factor in zip(torch.softmax(self.logits, dim=0), self.means, self.factors):
            p = torch.zeros(dim, dim, dtype=z.dtype)
            p = p.index_put(tuple(torch.tril_indices(dim, dim)), factor)
            p = torch.tril(p, -1) + torch.diag(torch.exp(torch.diagonal(p)))
            distance = (((z - mean) @ p.T) ** 2).sum(dim=1)
            parts.append(torch.log(weight) + torch.logdet(p) - 0.5 * distance - 0.5 * dim * math.log(2 * math.pi))
        return torch.logsumexp(torch.stack(parts), dim=0)


class Flow(nn.Module):
    """Layers in the order of z -> x, and the density of z."""

    def __init__(self, layers, base=None):
        super().__init__()
        self.layers = list(layers)
        for i, layer in enumerate(self.layers):
            self.add_module(str(i), layer)
        self.base = Normal() if base is None else base

    def forward(self, z, context=None):
        log_det = torch.zeros(len(z), dtype=z.dtype)
        for layer in self.layers:
            z, change = layer(z, context)
            log_det = log_det + change
        return z, log_det

    def inverse(self, x, context=None):
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for layer in reversed(self.layers):
            x, change = layer.inverse(x, context)
            log_det = log_det + change
        return x, log_det

    def log_prob(self, x, context=None):
        z, log_det = self.inverse(x, context)
        return self.base.log_prob(z) + log_det

    def nll(self, x, context=None, sample_weight=None):
        log_prob = self.log_prob(x, context)
        if sample_weight is None:
            return -log_prob.mean()
        return -(sample_weight * log_prob).sum() / sample_weight.sum()


def build_layer(spec):
    match spec:
        case cases.ActNorm(dim):
            return ActNorm(dim)
        case cases.LULinear(dim):
            return LULinear(dim)
        case cases.Permutation(permutation):
            return Permutation(permutation)
        case cases.Additive():
            return AdditiveCoupling(**vars(spec))
        case cases.Spline():
            return SplineCoupling(**vars(spec))
        case cases.Coupling():
            options = dict(vars(spec))
            return CouplingLayer(shared=options.pop("networks") == "shared", **options)


def build(case, parameters, dtype=torch.float64):
    """Build the flow of a case, with a dict of arrays as parameters."""
    base = Mixture(case.n_components, case.dim) if case.n_components else None
    flow = Flow((build_layer(spec) for spec in case.layers), base)
    flow.to(dtype).load_state_dict({key: torch.tensor(v) for key, v in parameters.items()})
    return flow


def vjp(flow, function, points, context, grad_output, grad_log_det):
    """Gradients of sum(grad_output * output) + sum(grad_log_det * log_det).

    Return those with respect to the points, (n, D), and to the context, (n, C) or None, and a dict of those with respect to
    the parameters.
    """
    inputs = [value.clone().requires_grad_(True) for value in (points, context) if value is not None]
    names, parameters = list(dict(flow.named_parameters())), list(flow.parameters())
    output, log_det = function(*inputs)
    value = (grad_output * output).sum() + (grad_log_det * log_det).sum()
    grads = torch.autograd.grad(value, (*inputs, *parameters), materialize_grads=True)
    grads = [grad.numpy() for grad in grads]
    grad_context = None if context is None else grads[1]
    return grads[0], grad_context, dict(zip(names, grads[len(inputs) :]))


def nll_and_grad(flow, x, context, sample_weight):
    """The mean negative log-likelihood, and a dict of its gradients with respect to the parameters."""
    names, parameters = list(dict(flow.named_parameters())), list(flow.parameters())
    nll = flow.nll(x, context, sample_weight)
    grads = torch.autograd.grad(nll, parameters, materialize_grads=True) if parameters else ()
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
    """The minimum distance from kinks in both directions, in units of the magnitudes that determine rounding errors.

    For the input of a ReLU, the distance of W h + c from zero is divided by |W| |h| + |c|. For the argument of a spline, the
    distance from a knot, or from the bound where inputs are clamped, is divided by the tail bound.
    """
    flow = build(case, draw.parameters)
    margin = math.inf

    def measure(linear, inputs, output):
        nonlocal margin
        size = inputs[0].abs() @ linear.weight.abs().T + linear.bias.abs()
        margin = min(margin, (output.abs() / size).min().item())

    for layer in flow.layers:
        for net in (getattr(layer, name, ()) for name in ("s_net", "b_net", "net")):
            for linear, following in zip(net, list(net)[1:]):
                if isinstance(following, nn.ReLU):
                    linear.register_forward_hook(measure)
    if case.n:
        with torch.no_grad():
            inputs = [torch.tensor(array) for array in (draw.points, draw.context) if array is not None]
            flow(*inputs), flow.inverse(*inputs)
    return min([margin, *(layer.knot_distance for layer in flow.layers if isinstance(layer, SplineCoupling))])
