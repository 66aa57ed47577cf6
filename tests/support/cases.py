"""Models and numbers for the comparison of nvpflow with the oracle.

Everything here is deterministic and needs only NumPy. So the script that stores the oracle's outputs and the tests that read
them use the same numbers. They come from ``numpy.random.RandomState``, whose streams NumPy has frozen. Every number is a
float32, so that models of both precisions get exactly the same function and data.

A ReLU with an input within rounding of zero, or an output that is a small difference of large terms, tells nothing about the
quality of float32 code. So each draw of a case has a number ``attempt``: `make_oracle` increases it until the draw is free of
both, and stores it with the outputs.
"""

import itertools
import zlib
from dataclasses import dataclass, replace

import numpy as np

MASK_KINDS = ("random", "ones", "zeros", "alternating")
DIMS = (1, 2, 3, 7, 64, 100)
BATCHES = (0, 1, 15, 16, 17, 1000)
HIDDEN = (1, 5, 64, 100)


@dataclass(frozen=True)
class Coupling:
    """An affine coupling layer. The fields are the arguments of ``nvpflow.CouplingLayer``."""

    mask: tuple[int, ...]
    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    scale: str = "tanh"
    scale_bound: float = 2.0
    networks: str = "separate"
    context_dim: int = 0

    @property
    def network_names(self):
        return ("net",) if self.networks == "shared" else ("s_net", "b_net")

    def outputs_of(self, column):
        """Indices of the outputs of a full-shape network for a column: s, or b, or s and b."""
        return (column, len(self.mask) + column) if self.networks == "shared" else (column,)


@dataclass(frozen=True)
class Additive:
    """An additive coupling layer. The fields are the arguments of ``nvpflow.AdditiveCoupling``."""

    mask: tuple[int, ...]
    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    context_dim: int = 0
    network_names = ("net",)

    def outputs_of(self, column):
        return (column,)


@dataclass(frozen=True)
class Spline:
    """A spline coupling layer. The fields are the arguments of ``nvpflow.SplineCoupling``."""

    mask: tuple[int, ...]
    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    n_bins: int = 8
    tail_bound: float = 4.0
    context_dim: int = 0
    network_names = ("net",)

    def outputs_of(self, column):
        """Indices of the outputs for a column: widths, heights, derivatives."""
        n = 3 * self.n_bins - 1
        return tuple(range(n * column, n * (column + 1)))


@dataclass(frozen=True)
class ActNorm:
    """An act norm layer. The field is the argument of ``nvpflow.ActNorm``."""

    dim: int


@dataclass(frozen=True)
class LULinear:
    """An LU linear layer. The field is the argument of ``nvpflow.LULinear``."""

    dim: int


@dataclass(frozen=True)
class Permutation:
    """A permutation. The field is the argument of ``nvpflow.Permutation``."""

    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A flow and its number of samples.

    ``weighted``: the samples have weights in the NLL. ``n_components``: of a mixture as the base density, 0 for N(0, I).
    """

    group: str
    name: str
    dim: int
    n: int
    layers: tuple[Coupling | Additive | Spline | ActNorm | LULinear | Permutation, ...]
    weighted: bool = False
    n_components: int = 0

    @property
    def context_dim(self):
        return max(getattr(layer, "context_dim", 0) for layer in self.layers)


@dataclass(frozen=True)
class Draw:
    """The numbers of a case: float64 arrays with float32 values.

    ``parameters`` have full shapes and the keys of ``Flow.state_dict``. ``points`` (n, D) is the argument of both
    directions. ``grad_output`` (n, D) and ``grad_log_det`` (n,) are the cotangents of both VJPs. ``context`` (n, C) and
    ``sample_weight`` (n,), which includes zeros, are None if the case has none.
    """

    parameters: dict[str, np.ndarray]
    points: np.ndarray
    grad_output: np.ndarray
    grad_log_det: np.ndarray
    context: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


def mask_of(kind, dim):
    """A mask of one of `MASK_KINDS`. A random one has both values if dim > 1."""
    if kind == "ones":
        return (1,) * dim
    if kind == "zeros":
        return (0,) * dim
    if kind == "alternating":
        return tuple((1 - i % 2) for i in range(dim))
    rng = np.random.RandomState(dim)
    while True:
        mask = tuple(int(bit) for bit in rng.randint(0, 2, dim))
        if dim == 1 or 0 < sum(mask) < dim:
            return mask


def linear_shapes(layer):
    """Full shapes (outputs, inputs) of the linear maps of a conditioner network."""
    dim = len(layer.mask)
    widths = (dim + layer.context_dim, *layer.hidden, dim * len(layer.outputs_of(0)))
    return list(zip(widths[1:], widths[:-1]))


def parameter_shapes(case):
    """Full shape of every parameter, under the keys and in the order of ``Flow.state_dict``."""
    shapes = {}
    for i, layer in enumerate(case.layers):
        if isinstance(layer, ActNorm):
            shapes[f"{i}.log_scale"] = shapes[f"{i}.bias"] = (layer.dim,)
            continue
        if isinstance(layer, LULinear):
            shapes[f"{i}.lu"], shapes[f"{i}.bias"] = (layer.dim, layer.dim), (layer.dim,)
            continue
        if isinstance(layer, Permutation):
            continue
        for net, (k, shape) in itertools.product(layer.network_names, enumerate(linear_shapes(layer))):
            shapes[f"{i}.{net}.{2 * k}.weight"] = shape
            shapes[f"{i}.{net}.{2 * k}.bias"] = shape[:1]
    if case.n_components:
        shapes |= base_shapes(case)
    return shapes


def base_shapes(case):
    """Shapes of the parameters of the base density."""
    n, dim = case.n_components, case.dim
    return {"base.logits": (n,), "base.means": (n, dim), "base.factors": (n, dim * (dim + 1) // 2)}


def quantities(case):
    """Names and shapes of all compared quantities, in the order of storage."""
    points, per_sample = (case.n, case.dim), (case.n,)
    gradient = parameter_shapes(case)
    shapes = {
        "forward.x": points,
        "forward.log_det": per_sample,
        "inverse.z": points,
        "inverse.log_det": per_sample,
        "forward_vjp.grad_z": points,
        **{f"forward_vjp.{key}": shape for key, shape in gradient.items()},
        "inverse_vjp.grad_x": points,
        **{f"inverse_vjp.{key}": shape for key, shape in gradient.items()},
    }
    if case.context_dim:
        shapes |= {f"{way}_vjp.grad_context": (case.n, case.context_dim) for way in ("forward", "inverse")}
    if case.n:
        shapes |= {"nll": (), **{f"nll_grad.{key}": shape for key, shape in gradient.items()}}
    return shapes


def _float32_values(array):
    return np.asarray(array, np.float32).astype(np.float64)


def _draw_parameter(rng, case, key, shape):
    """Draw uniformly in +-1/sqrt(fan_in) for linear maps, as ``torch.nn.Linear``, and from a normal distribution otherwise."""
    if key.startswith("base."):
        deviation = {"base.logits": 0.7, "base.means": 1.5, "base.factors": 0.3}[key]
        return _float32_values(deviation * rng.normal(size=shape))
    layer = case.layers[int(key.split(".")[0])]
    if isinstance(layer, ActNorm):
        return _float32_values((0.3 if key.endswith("log_scale") else 1.0) * rng.normal(size=shape))
    if isinstance(layer, LULinear):
        return _float32_values((0.3 if key.endswith("lu") else 1.0) * rng.normal(size=shape) / np.sqrt(layer.dim))
    _, fan_in = linear_shapes(layer)[int(key.split(".")[2]) // 2]
    return _float32_values(rng.uniform(-1, 1, shape) / np.sqrt(fan_in))


def draw(case, attempt):
    """Draw the numbers of a case. Each ``attempt`` gives another draw."""
    rng = np.random.RandomState([zlib.crc32(case.name.encode()), attempt])
    parameters = {key: _draw_parameter(rng, case, key, shape) for key, shape in parameter_shapes(case).items()}
    return Draw(
        parameters,
        points=_float32_values(rng.normal(size=(case.n, case.dim))),
        grad_output=_float32_values(rng.normal(size=(case.n, case.dim))),
        grad_log_det=_float32_values(rng.normal(size=case.n)),
        context=_float32_values(rng.normal(size=(case.n, case.context_dim))) if case.context_dim else None,
        sample_weight=np.maximum(0, _float32_values(rng.normal(1, 1, case.n))) if case.weighted else None,
    )


def _single_layers():
    """Every dimension x mask x batch x hidden size, with the two scales alternating as on a chessboard."""
    axes = (DIMS, MASK_KINDS, BATCHES, HIDDEN)
    for at in itertools.product(*(range(len(axis)) for axis in axes)):
        dim, kind, n, hidden = (axis[i] for axis, i in zip(axes, at))
        scale = ("exp", "tanh")[sum(at) % 2]
        layer = Coupling(mask_of(kind, dim), (hidden,), scale=scale)
        yield Case(f"D={dim}", f"D{dim}-{kind}-n{n}-h{hidden}-{scale}", dim, n, (layer,))


def _activations():
    """Every activation x scale, with one hidden layer and with two."""
    for dim, activation, scale, hidden in itertools.product(
        (2, 7), ("relu", "tanh", "silu"), ("exp", "tanh"), ((16,), (9, 5))
    ):
        layer = Coupling(mask_of("random", dim), hidden, activation, scale, scale_bound=0.7)
        widths = "x".join(map(str, hidden))
        yield Case("activations", f"act-D{dim}-{activation}-{scale}-h{widths}", dim, 33, (layer,))


def _deep_nets():
    """Two and three hidden layers: narrow, wide, uneven."""
    for dim, kind, hidden, n in (
        (2, "alternating", (64, 64), 17),
        (3, "random", (1, 1), 16),
        (3, "zeros", (5, 6), 15),
        (7, "ones", (5, 6), 15),
        (7, "random", (3, 17, 5), 100),
        (64, "random", (100, 33), 15),
        (100, "alternating", (5, 100), 1),
    ):
        layer = Coupling(mask_of(kind, dim), hidden)
        widths = "x".join(map(str, hidden))
        yield Case("deep nets", f"deep-D{dim}-{kind}-n{n}-h{widths}", dim, n, (layer,))


def _flows():
    """Two to eight layers with alternating masks, with and without act norms, at the end or between."""
    even, odd = lambda dim: mask_of("alternating", dim), lambda dim: mask_of("alternating", dim + 1)[1:]

    for dim, n, hidden in itertools.product((1, 2, 3, 7, 64), (1, 17), ((5,), (16,), (9, 5))):
        layers = (Coupling(even(dim), hidden), Coupling(odd(dim), hidden), ActNorm(dim))
        widths = "x".join(map(str, hidden))
        yield Case("flows", f"flow-D{dim}-n{n}-h{widths}", dim, n, layers)

    mixed = (
        Coupling(mask_of("random", 7), (5,), scale="exp"),
        ActNorm(7),
        Coupling(mask_of("zeros", 7), (4, 4), "silu"),
        Coupling(mask_of("alternating", 7), (64,), "tanh", "tanh", 0.5),
    )
    yield Case("flows", "flow-mixed", 7, 100, mixed)
    yield Case("flows", "flow-act-norm-alone", 3, 50, (ActNorm(3),))
    yield Case("flows", "flow-two-act-norms", 2, 16, (ActNorm(2), ActNorm(2)))
    published = tuple(Coupling((1, 0) if i % 2 == 0 else (0, 1), scale="exp") for i in range(8))
    yield Case("flows", "flow-published-8", 2, 50, published)
    default = tuple(Coupling((1, 0) if i % 2 == 0 else (0, 1)) for i in range(8))
    yield Case("flows", "flow-default-8", 2, 50, (*default, ActNorm(2)))


def _conditional():
    """Narrow and wide contexts, in part as the only input of the networks; single layers, and flows with weighted samples."""
    for dim, context_dim, kind, hidden in itertools.product((1, 2, 7), (1, 3, 40), ("alternating", "zeros"), ((64,), (9, 5))):
        layer = Coupling(mask_of(kind, dim), hidden, context_dim=context_dim)
        widths = "x".join(map(str, hidden))
        yield Case("context", f"context-D{dim}-C{context_dim}-{kind}-h{widths}", dim, 17, (layer,))

    for dim, context_dim, (activation, scale) in itertools.product(
        (1, 3), (1, 4), (("relu", "tanh"), ("tanh", "exp"), ("silu", "tanh"))
    ):
        layers = [
            Coupling(tuple((i + d) % 2 for d in range(dim)), hidden, activation, scale, context_dim=context_dim)
            for i, hidden in enumerate(((16,), (16,), (7, 6)))
        ]
        layers.insert(2, ActNorm(dim))
        name = f"context-flow-D{dim}-C{context_dim}-{activation}-{scale}"
        yield Case("context", name, dim, 700, tuple(layers), weighted=True)


def _weighted():
    """Sample weights without a context, in one tile and in several."""
    for n in (2, 17, 1000):
        layers = (Coupling((1, 0, 0), (5,)), Coupling((0, 1, 1), (9, 5), "silu"), ActNorm(3))
        yield Case("weights", f"weights-n{n}", 3, n, layers, weighted=True)


def _other_layers():
    """Splines, additive couplings, shared networks, LU maps and permutations, alone and in flows."""
    for dim, kind, n, hidden, activation, n_bins, tail_bound in (
        (1, "zeros", 33, (5,), "relu", 8, 4.0),
        (1, "ones", 3, (5,), "relu", 8, 4.0),
        (2, "alternating", 1, (16,), "relu", 8, 4.0),
        (2, "alternating", 17, (64,), "relu", 8, 4.0),
        (2, "alternating", 1000, (64,), "relu", 8, 4.0),
        (2, "zeros", 16, (), "relu", 4, 1.5),
        (3, "random", 0, (7,), "tanh", 8, 4.0),
        (3, "random", 33, (7,), "tanh", 5, 0.5),
        (7, "random", 33, (9, 5), "silu", 2, 3.0),
        (7, "random", 15, (9, 7, 5), "relu", 3, 3.0),
        (3, "alternating", 17, (8,), "silu", 16, 3.0),
        (64, "random", 15, (33,), "relu", 8, 4.0),
    ):
        layer = Spline(mask_of(kind, dim), hidden, activation, n_bins, tail_bound)
        widths = "x".join(map(str, hidden))
        name = f"spline-D{dim}-{kind}-n{n}-h{widths}-{activation}-K{n_bins}-B{tail_bound:g}"
        yield Case("splines", name, dim, n, (layer,))
    # Most identity columns lie beyond the bound, where the network reads them clamped. So does the context, but unclamped.
    for dim, hidden, activation, tail_bound in ((2, (64,), "relu", 0.6), (5, (9, 5), "silu", 0.3)):
        layer = Spline(mask_of("alternating", dim), hidden, activation, 6, tail_bound, context_dim=2)
        yield Case("splines", f"spline-clamped-D{dim}-{activation}", dim, 100, (layer,))
    for dim, kind, n, hidden in (
        (1, "zeros", 33, (5,)),
        (2, "alternating", 1000, (64,)),
        (7, "random", 33, (9, 5)),
        (64, "random", 15, (33,)),
    ):
        widths = "x".join(map(str, hidden))
        mask, end = mask_of(kind, dim), f"D{dim}-{kind}-n{n}-h{widths}"
        yield Case("other couplings", f"additive-{end}", dim, n, (Additive(mask, hidden),))
        for scale in ("exp", "tanh"):
            layer = Coupling(mask, hidden, scale=scale, networks="shared")
            yield Case("other couplings", f"shared-{scale}-{end}", dim, n, (layer,))
    for dim, n in ((1, 17), (2, 1), (3, 33), (16, 100), (17, 15), (50, 33)):
        yield Case("linear maps", f"lu-D{dim}-n{n}", dim, n, (LULinear(dim),))
        order = tuple(np.random.RandomState(dim).permutation(dim).tolist())
        yield Case("linear maps", f"permutation-D{dim}-n{n}", dim, n, (Permutation(order),))
        plu = (Permutation(order), LULinear(dim), ActNorm(dim))
        yield Case("linear maps", f"plu-D{dim}-n{n}", dim, n, plu)

    for n in (1, 50):
        layers = (
            Spline((1, 0, 1, 0), (16,), n_bins=8),
            Permutation((2, 0, 3, 1)),
            Additive((0, 0, 1, 1), (8,), "tanh"),
            LULinear(4),
            Coupling((1, 1, 0, 0), (7, 5), "silu", networks="shared"),
            Spline((0, 1, 0, 1), (9, 5), "silu", n_bins=5, tail_bound=3.0),
            ActNorm(4),
        )
        yield Case("mixed flows", f"mixed-everything-n{n}", 4, n, layers)
        given = tuple(replace(layer, context_dim=2) if hasattr(layer, "mask") else layer for layer in layers)
        yield Case("mixed flows", f"mixed-context-n{n}", 4, n, given, weighted=True)
        splines = tuple(Spline((1, 0) if i % 2 == 0 else (0, 1), (16,)) for i in range(4))
        yield Case("mixed flows", f"mixed-splines-n{n}", 2, n, (*splines, ActNorm(2)))


def _mixtures():
    """Mixtures as the base, in few dimensions and in more, which other kernels compute."""
    for dim, n_components, n in (
        (1, 1, 0),
        (1, 7, 33),
        (2, 1, 17),
        (2, 2, 1),
        (2, 7, 1000),
        (3, 2, 33),
        (3, 7, 16),
        (4, 1, 15),
        (4, 2, 700),
        (4, 7, 33),
        (5, 1, 17),
        (5, 2, 33),
        (5, 7, 700),
        (19, 1, 1),
        (19, 2, 33),
        (19, 7, 100),
    ):
        even, odd = mask_of("alternating", dim), mask_of("alternating", dim + 1)[1:]
        end = f"D{dim}-K{n_components}-n{n}"
        alone = (Permutation(tuple(range(dim))[::-1]),)
        yield Case("mixtures", f"mixture-alone-{end}", dim, n, alone, n_components=n_components)
        layers = (Coupling(even, (9,), "tanh"), Coupling(odd, (5,)), ActNorm(dim))
        yield Case("mixtures", f"mixture-{end}", dim, n, layers, n > 1, n_components)
    for dim, n_components in ((1, 2), (3, 7), (5, 2)):
        layers = (
            Coupling(mask_of("zeros", dim), (9,), "tanh", context_dim=2),
            Spline(mask_of("alternating", dim), (5,), context_dim=2),
        )
        yield Case("mixtures", f"mixture-context-D{dim}-K{n_components}", dim, 100, layers, True, n_components)


CASES = (
    *_single_layers(),
    *_activations(),
    *_deep_nets(),
    *_flows(),
    *_conditional(),
    *_weighted(),
    *_other_layers(),
    *_mixtures(),
)
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))
