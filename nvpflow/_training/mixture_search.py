"""A mixture of few components, by the Bayesian information criterion, to start a flow over a `MixtureBase`."""

from __future__ import annotations

from typing import cast

import numpy as np

from nvpflow._training.em import Mixture, Samples, standardized
from nvpflow._training.kmeans import Clusters, Marks
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

__all__ = ["COMPONENTS", "PATIENCE", "SEARCH_ITER", "fit_mixture"]

# Numbers of components to try. The search ends after PATIENCE of them in a row without improvement.
COMPONENTS, PATIENCE = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64), 3
MOST_ROWS = 20_000  # of the samples, at random, are read
SEARCH_ITER = 15  # steps; more gained nothing, as the flow is trained afterwards
# Small data get several searches: 1000 moons had a worst gap of 0.12 with one search, which had stopped too early, and of
# 0.09 with five.
SEARCHED_NUMBERS, MOST_SEARCHES = 10_000, 10


def fit_mixture(x: Floats, weight: Floats | None = None, seed: int = 0, most_searches: int = MOST_SEARCHES) -> MixtureBase:
    """Fit a mixture. The number of components minimises the Bayesian information criterion.

    Source: Schwarz (1978), "Estimating the dimension of a model".

    Parameters
    ----------
    x : ndarray, shape (n, D)
        Finite.
    weight : ndarray, shape (n,), optional
        With a mean of 1.
    seed : int
    most_searches : int
        Small samples get several searches, from other start values.

    Returns
    -------
    MixtureBase
        In the dtype of x.
    """
    rng = np.random.default_rng(seed)
    if len(x) > MOST_ROWS:
        some = rng.permutation(len(x))[:MOST_ROWS]
        x, weight = x[some], None if weight is None else weight[some]
    samples, units = standardized(x, weight)
    n_searches = min(max(1, SEARCHED_NUMBERS // x.size), most_searches)
    best = _best_search(samples, rng, n_searches)
    return units.base(best.weights, best.means, best.covariances)


def _best_search(samples: Samples, rng: np.random.Generator, n: int) -> Mixture:
    """The mixture with the lowest criterion of n searches. If values repeat, n more searches start with them separated."""
    ways = (Marks.NONE, Marks.FREQUENT) if samples.prior.repeated.any() else (Marks.NONE,)
    searches = [_search(samples, rng, marks) for _ in range(n) for marks in ways]
    return min(searches, key=lambda search: search[0])[1]


def _search(samples: Samples, rng: np.random.Generator, marks: Marks) -> tuple[float, Mixture]:
    """Search for the mixture with the lowest criterion. Return both."""
    clusters = Clusters(samples.x, samples.weight, rng, marks)
    best, best_bic, since = None, np.inf, 0
    for k in COMPONENTS:
        if best and (
            since == PATIENCE or k * (samples.x.shape[1] + 2) > samples.n
        ):  # too few rows per component for a covariance
            break
        mixture = Mixture(samples, k)
        mixture.start(clusters)
        bic = mixture.fit(SEARCH_ITER)
        best, best_bic, since = (mixture, bic, 0) if bic < best_bic else (best, best_bic, since + 1)
    return best_bic, cast(Mixture, best)
