"""Mixtures as bases, and flows over them."""

import numpy as np

import nvpflow

EYE = [[1, 0], [0, 1]]


def random_mixture(dim, n_components=3, dtype="float64", seed=0):
    """Weights, means and covariances in float64, and the base that they define."""
    rng = np.random.RandomState(seed)
    roots = np.eye(dim) + 0.4 * rng.normal(size=(n_components, dim, dim))
    weights = rng.uniform(0.5, 2, n_components)
    means, covariances = 2 * rng.normal(size=(n_components, dim)), roots @ roots.transpose(0, 2, 1)
    return weights / weights.sum(), means, covariances, nvpflow.MixtureBase(weights, means, covariances, dtype=dtype)


def bare_flow(base, n_jobs=1):
    """A flow with the density of the base."""
    flow = nvpflow.Flow([nvpflow.Permutation(base.data_dim, range(base.data_dim), dtype=base.dtype)], base=base)
    flow.n_jobs = n_jobs
    return flow


def flow_over(dim, n_components=3, dtype="float64", context_dim=0):
    options = {"dtype": dtype, "random_state": 0}
    layers = [
        nvpflow.CouplingLayer(dim, 5, context_dim=context_dim, **options),
        nvpflow.CouplingLayer(dim, 5, [0] * dim, context_dim=context_dim, **options),
        nvpflow.ActNorm(dim, dtype=dtype),
    ]
    return nvpflow.Flow(layers, base=random_mixture(dim, n_components, dtype)[-1])
