"""Files of models, for tests of the C library that read them."""

import numpy as np

import nvpflow
from support.flows import make_model


def save_models(directory):
    """Save a flow of every layer, in both precisions and on a mixture, a density and a flow without parameters. Return the paths."""
    make_model(2).save(directory / "flow.npz")
    make_model(dtype="float32").save(directory / "single.npz")
    make_model(dtype="float32", n_components=2).save(directory / "mixture.npz")
    X = np.random.RandomState(0).normal(size=(9, 5))
    nvpflow.FlowDensity(2, 3, max_iter=2, random_state=0).fit(X).save(directory / "model.npz")
    nvpflow.Flow([nvpflow.Permutation(3)]).save(directory / "empty.npz")
    return sorted(directory.glob("*.npz"))
