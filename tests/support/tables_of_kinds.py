"""Tables with a column of each kind."""

import numpy as np
import pandas


def table_of_all_kinds(n=400):
    """A frame of related columns: real numbers, shares, positive numbers, angles, counts and a category."""
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal(np.zeros(3), np.eye(3) * 0.3 + 0.7, size=n)
    return pandas.DataFrame({
        "real": z[:, 0],
        "share": 1 / (1 + np.exp(-z[:, 2])),
        "positive": np.exp(0.5 * z[:, 1]),
        "angle": np.mod(z[:, 0] + 6 + 0.4 * rng.normal(size=n), 2 * np.pi),
        "count": rng.poisson(np.exp(0.5 * z[:, 0])).astype(float),
        "kind": np.where(z[:, 2] > 0.8, "a", np.where(z[:, 2] > -0.3, "b", "c")).astype(object),
    })  # fmt: skip
