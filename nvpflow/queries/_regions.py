"""Regions of highest density: the densities on their edges, and how far out a row is.

Samples of the model tell both: Hyndman (1996), "Computing and graphing highest density regions", section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Seed
from nvpflow._validation.arguments import check_int, shown
from nvpflow._validation.arrays import as_array
from nvpflow.diagnostics._tables import own_log_density
from nvpflow.missing._levels import levels, shares_up_to

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity

__all__ = ["density_levels", "p_values"]

MOST_SAMPLES = 1_000_000  # in memory at a time, of rows with a context each


def density_levels(
    model: FlowDensity, mass: ArrayLike, context: ArrayLike | None, n_samples: int, random_state: Seed
) -> tuple[Floats, Floats]:
    """Log-densities on the edges of regions that hold these masses, and their standard errors."""
    given = as_array("mass", mass)
    if given.size and given.dtype.kind not in "fiu":
        raise TypeError(f"mass must be numbers between 0 and 1, got {shown(mass)}")
    shares = given.astype(np.float64)
    if shares.ndim > 1 or not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"mass must be numbers between 0 and 1, got {shares.tolist()!r:.80}")
    n_samples = check_int("n_samples", n_samples, 100)
    seed = 0 if random_state is None else random_state
    scores = own_log_density(model, n_samples, seed, context)
    found = np.quantile(scores, 1 - shares)
    # A share has a normal error; the order statistics one such error away tell what it means for the level.
    errors = np.sqrt(shares * (1 - shares) / n_samples)
    ends = [np.quantile(scores, np.clip(1 - shares + sign * errors, 0, 1)) for sign in (-1, 1)]
    return found, (ends[1] - ends[0]) / 2


def p_values(
    model: FlowDensity, X: ArrayLike, context: ArrayLike | None, n_samples: int, random_state: Seed
) -> tuple[Floats, Floats]:
    """The share of samples whose density is at most that of each row, and its standard error."""
    n_samples = check_int("n_samples", n_samples, 100)
    seed: Any = 0 if random_state is None else random_state
    if model._takes_missing(X):
        if context is not None:
            raise ValueError("X must have no missing cells where there is a context, got NaN")
        found = levels(model._incomplete_model(), model._check_incomplete(X))
        return found, _error(found, 1000)
    scores = np.asarray(model.score_samples(X, context=context))  # also of Dask
    if context is None:
        drawn = np.sort(own_log_density(model, n_samples, seed))
        found = shares_up_to(drawn, scores)
        return found, _error(found, n_samples)
    # Equal contexts share their samples.
    read, found = model._check_context(context, len(scores)), np.empty(len(scores))
    assert read is not None
    unique, group = np.unique(read, axis=0, return_inverse=True)
    step, flow = max(1, MOST_SAMPLES // n_samples), model.flow_
    for start in range(0, len(unique), step):
        part = unique[start : start + step]
        x, log_p = flow.sample_and_log_prob(n_samples, seed, part, per_context=True)
        given = np.repeat(part, n_samples, axis=0)
        log_p = model._log_density_of_draws(x.reshape(-1, x.shape[-1]), log_p.ravel(), given).reshape(log_p.shape)
        for place, drawn in enumerate(np.sort(log_p, axis=1), start=start):
            at = np.flatnonzero(group.ravel() == place)
            found[at] = shares_up_to(drawn, scores[at])
    return found, _error(found, n_samples)


def _error(share: Floats, n: int) -> Floats:
    """Standard errors, which are not 0 where no sample is below: with one more on either side."""
    smoothed = (share * n + 1) / (n + 2)
    error: Floats = np.sqrt(smoothed * (1 - smoothed) / n)
    return error
