"""Small estimators that are quick to fit, and normal samples for them."""

import numpy as np

import nvpflow

_rng = np.random.RandomState(0)
X = _rng.normal(size=(300, 2)) @ [[1.0, 2.0], [0.0, 0.5]] + [5.0, -3.0]
FRESH = _rng.normal(size=(3000, 2)) @ [[1.0, 2.0], [0.0, 0.5]] + [5.0, -3.0]


def make(cls=nvpflow.FlowDensity, **parameters):
    return cls(**dict(n_layers=2, hidden_dim=8, max_iter=20, random_state=0) | parameters)
