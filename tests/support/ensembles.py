"""Small ensembles that are quick to make."""

import numpy as np

import nvpflow
from support.estimators import X, make
from support.flows import make_model

POINTS = np.random.default_rng(5).normal(size=(40, 3))
CONTEXTS = np.random.default_rng(6).normal(size=(40, 2))


def ensemble_of(n=3, context_dim=0, dtype="float64", weights=None):
    """Flows with a layer of each kind, over N(0, I) and mixtures, with different parameters."""
    flows = [make_model(context_dim, dtype, n_components=k % 3) for k in range(n)]
    for k, flow in enumerate(flows):
        flow.parameters[:] *= 1 + 0.1 * k
    return nvpflow.FlowEnsemble(flows, weights)


def fitted(cls=nvpflow.FlowDensity, x=X, n_models=3, **parameters):
    """A fitted ensemble, and its arguments of `fit` beside X."""
    arguments = {name: parameters.pop(name) for name in ("context", "sample_weight", "callback") if name in parameters}
    return make(cls, n_models=n_models, **parameters).fit(x, **arguments)
