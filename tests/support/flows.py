"""Shared flows and layers."""

import numpy as np

import nvpflow


def alternating(dim, parity=0):
    return [(i + 1 + parity) % 2 for i in range(dim)]


def make_flow(dtype="float64", dim=2, hidden=8, n_layers=3, **options):
    """Couplings with alternating masks, and an act norm at the end."""
    masks = [[(i + d) % 2 for d in range(dim)] for i in range(n_layers)]
    layers = [nvpflow.CouplingLayer(dim, hidden, mask, dtype=dtype, random_state=i, **options) for i, mask in enumerate(masks)]
    return nvpflow.Flow([*layers, nvpflow.ActNorm(dim, dtype=dtype)])


def default_flow(n_layers, dim, hidden=64, dtype="float64", **options):
    """Layers with default parameters and alternating masks, each with its own random state."""
    return nvpflow.Flow(
        [
            nvpflow.CouplingLayer(dim, hidden, mask=alternating(dim, i % 2), dtype=dtype, random_state=i, **options)
            for i in range(n_layers)
        ]
    )


def small_flow(dim, activation="relu", scale="tanh", hidden=(6, 5)):
    """Three couplings, with an act norm between them and one at the end, in float64, with strongly nonlinear scales."""
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


def strengthened(layer, factor):
    """Multiply the last weights and biases of the layer by a factor."""
    layer.net[-1].weight[:] *= factor
    layer.net[-1].bias[:] *= factor
    return layer


def spline(dim, hidden=(5, 4), mask=None, *, strength=5, **options):
    """A spline coupling far from the identity."""
    options = {"activation": "silu", "n_bins": 5, "tail_bound": 2.5, "dtype": "float64", "random_state": dim} | options
    return strengthened(nvpflow.SplineCoupling(dim, hidden, mask, **options), strength)


def circular(dim, hidden=(5, 4), mask=None, *, strength=5, **options):
    """A circular spline coupling far from the identity. Every other column is an angle, of a period wide enough for samples of
    N(0, I) times a few."""
    periods = [80.0 if i % 2 == 0 else None for i in range(dim)]
    options = {"activation": "silu", "n_bins": 5, "periods": periods, "dtype": "float64", "random_state": dim} | options
    return strengthened(nvpflow.CircularSplineCoupling(dim, hidden, mask, **options), strength)


def lu_linear(dim, dtype="float64", size=0.5):
    layer = nvpflow.LULinear(dim, dtype=dtype)
    layer.parameters[:] = size * np.random.RandomState(dim).normal(size=layer.n_parameters)
    return layer


def bounded(dim, dtype="float64"):
    """Columns of every support, wide enough for samples of N(0, I) times a few."""
    supports = [((-30, 40), 0), ((-20, None), 8), ((None, 25), 0), ((-25, None), 0), ((None, 20), 6), (None, 0)]
    supports += [((-9, None), -1), ((None, 9), -1), ((-5, 5), -1)]
    chosen = [supports[i % len(supports)] for i in range(dim)]
    return nvpflow.Bounded(dim, [bounds for bounds, _ in chosen], [scale for _, scale in chosen], dtype=dtype)


def one_of_each(dim, dtype="float64"):
    options = dict(activation="silu", dtype=dtype, random_state=dim)
    mask = np.random.RandomState(dim).permutation(alternating(dim, 1))
    return {
        "spline": spline(dim, mask=mask, dtype=dtype),
        "spline of two bins": spline(dim, 6, alternating(dim, 1), n_bins=2, tail_bound=0.7, dtype=dtype),
        "spline of no inputs": spline(dim, (), [0] * dim, dtype=dtype),
        "additive": nvpflow.AdditiveCoupling(dim, (5, 4), mask, **options),
        "shared": nvpflow.CouplingLayer(dim, (5, 4), mask, networks="shared", **options),
        "shared exp": nvpflow.CouplingLayer(dim, 5, mask, networks="shared", scale="exp", **options),
        "circular": circular(dim, mask=mask, dtype=dtype),
        "circular, other columns": circular(dim, 6, 1 - mask, n_bins=2, tail_bound=0.7, dtype=dtype),
        "LU": lu_linear(dim, dtype),
        "permutation": nvpflow.Permutation(dim, dtype=dtype, random_state=1),
        "bounded": bounded(dim, dtype),
    }


LAYERS = tuple(one_of_each(2))


def flow_of_everything(dim, dtype="float64"):
    return nvpflow.Flow([*one_of_each(dim, dtype).values(), nvpflow.ActNorm(dim, dtype=dtype)])


def make_model(context_dim=0, dtype="float64", n_components=0, conditional=False):
    """A flow with a layer of every type, over N(0, I) or a mixture, which may be one of the context as well."""
    options = {"context_dim": context_dim, "dtype": dtype, "random_state": 0}
    flow = nvpflow.Flow(
        [
            nvpflow.CouplingLayer(3, (5, 4), [1, 0, 1], activation="silu", **options),
            nvpflow.CouplingLayer(3, 7, [0, 1, 0], networks="shared", scale="exp", **options),
            nvpflow.Permutation(3, [2, 0, 1], dtype=dtype),
            nvpflow.SplineCoupling(3, 6, [1, 1, 0], n_bins=5, tail_bound=3, activation="tanh", **options),
            nvpflow.AdditiveCoupling(3, (), [0, 0, 1], **options),
            nvpflow.CircularSplineCoupling(3, 5, [0, 1, 0], n_bins=4, periods=[80, 70, 0], **options),
            nvpflow.LULinear(3, dtype=dtype),
            nvpflow.ActNorm(3, dtype=dtype),
            bounded(3, dtype),
        ],
        base=make_base(n_components, dtype, context_dim if conditional else 0) if n_components else None,
    )
    end = flow._base_offset
    flow.parameters[end - 18 : end] = np.linspace(-0.3, 0.4, 18)
    return flow


def make_base(n_components, dtype, context_dim=0):
    dim, weights = context_dim + 3, 1 + np.arange(n_components)
    means = np.random.RandomState(0).normal(size=(n_components, dim))
    covariances = [(1 + k) * (np.eye(dim) + 0.5) for k in range(n_components)]
    if context_dim:
        return nvpflow.ConditionalMixtureBase(weights, means, covariances, context_dim, dtype=dtype)
    return nvpflow.MixtureBase(weights, means, covariances, dtype=dtype)
