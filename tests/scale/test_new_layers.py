"""Layers compete on all rows, also where a mixture was better on the sample."""

import numpy as np

import nvpflow
from nvpflow.scale import as_source, fit_from


def squares(n, seed):
    """Rows (n, 2), even on the dark ones of 4 x 4 squares."""
    rng = np.random.default_rng(seed)
    column, half = rng.integers(4, size=n), rng.integers(2, size=n)
    return np.stack([column, 2 * half + column % 2], axis=1) + rng.random((n, 2))


def test_layers_gain_on_a_mixture_of_the_sample():
    model = fit_from(nvpflow.FlowDensity(random_state=0), as_source(squares(20_000, 0)), n_sample=500)
    found = model.refinement_
    assert model.best_iter_ == 0 and found["n_passes"] > 0  # a mixture of the sample, refined
    assert found["kind"] == "layers" and found["n_steps"] > 0 and found["gain"] > found["error"]
