"""How likely rows are to be complete, given their values: complete rows that are held out stand for all rows by its inverse.

Where cells are missing may depend on others. Judged on complete rows alone, layers were kept that moved a column without gaps
by 0.28 of its deviation, to where rows are complete. Source: Seaman and White (2013), "Review of inverse probability weighting
for dealing with missing data".
"""

from __future__ import annotations

import numpy as np

from nvpflow._normal import probit
from nvpflow._typing import Bools, Floats

__all__ = ["inverse_propensity"]

MOST_ROWS, STEPS, RIDGE = 20_000, 25, 1.0
LEAST = 0.02  # probability: no row stands for more than fifty


def inverse_propensity(x: Floats, incomplete: Bools, weight: Floats | None) -> Floats | None:
    """The inverse probability (n,) that each row of x (n, D) is complete, or None if that tells no more than one for all.

    A logistic regression on normal scores of the columns and their squares, by Newton's method; Akaike's criterion tells.
    """
    scores = np.column_stack([_normal_scores(column) for column in x.T])
    features = np.column_stack([np.ones(len(x)), scores, scores**2 - 1])
    some = slice(None, None, max(1, len(x) // MOST_ROWS))
    given, is_complete = features[some], ~incomplete[some]
    count = np.ones(len(given)) if weight is None else weight[some]
    penalty = RIDGE * np.append(0.0, np.ones(features.shape[1] - 1))
    share = np.average(is_complete, weights=count)
    slopes = np.append(np.log(share / (1 - share)), np.zeros(len(penalty) - 1))
    for _ in range(STEPS):
        chance = _logistic(given @ slopes)
        curvature = (given * (count * chance * (1 - chance))[:, np.newaxis]).T @ given + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, given.T @ (count * (is_complete - chance)) - penalty * slopes)
        slopes += step
        if np.abs(step).max() < 1e-6:
            break
    chance = _logistic(given @ slopes)
    gain = count @ np.log(np.where(is_complete, chance / share, (1 - chance) / (1 - share)))
    if not gain > len(slopes) - 1:
        return None
    return 1 / np.maximum(_logistic(features @ slopes), LEAST)


def _normal_scores(column: Floats) -> Floats:
    """The ranks of a column (n,) as quantiles of a normal distribution."""
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    scores = probit((np.cumsum(counts) - counts / 2) / len(column))[place]
    deviation = scores.std()
    return scores / deviation if deviation > 0 else scores


def _logistic(z: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(z, -30, 30)))
