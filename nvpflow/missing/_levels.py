"""How likely a row is among samples of the fitted density with the same missing cells.

Log-densities of rows with different missing cells have different units. The share of the fitted distribution that is less
likely, with the same cells missing, can be compared.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats
from nvpflow.missing._model import IncompleteModel
from nvpflow.missing._patterns import Mask, patterns
from nvpflow.missing._table import IncompleteTable

__all__ = ["levels", "levels_of", "shares_up_to", "thresholds"]

TIE = 1e-5  # nats: whole numbers and categories have equal densities, but for rounding
# For each pattern: where densities are exact, and where they are estimated. Fewer where each is a sum of so many that those of
# all samples would be more than MOST_EVALUATIONS, or five times as many for complete rows: 1500 rows with an angle, counts and
# categories took ten minutes, now 14 s.
N_SAMPLES, N_SAMPLED, FEWEST_SAMPLES, MOST_EVALUATIONS = 10_000, 1000, 500, 150_000


def levels(model: IncompleteModel | IncompleteTable, x: Floats) -> Floats:
    """The share of the fitted distribution that is at most as likely as a row, with the same missing cells, (n,)."""
    scores, found = model.score(x, None).log_density, np.empty(len(x))
    for missing, rows in patterns(np.isnan(x)):
        found[rows] = levels_of(model, missing, scores[rows])
    return found


def levels_of(model: IncompleteModel | IncompleteTable, missing: Mask, scores: Floats) -> Floats:
    """The share of the fitted distribution with these missing cells (D,) whose log-density is at most scores (n,)."""
    return shares_up_to(_ranked(model, missing), scores)


def shares_up_to(ranked: Floats, scores: Floats) -> Floats:
    """The shares of sorted log-densities (N,) that are at most these scores (m,)."""
    shares: Floats = np.searchsorted(ranked, scores + TIE, side="right") / len(ranked)
    return shares


def thresholds(model: IncompleteModel | IncompleteTable, missing: Mask, level: float) -> Floats:
    """The log-density below which this share of the fitted distribution is, with the missing cells (n, D) of each row."""
    found = np.empty(len(missing))
    for pattern, rows in patterns(missing):
        found[rows] = np.quantile(_ranked(model, pattern), level)
    return found


def _n_samples(model: IncompleteModel | IncompleteTable, missing: Mask) -> int:
    is_whole = not missing.any()
    if not model.is_exact:
        return N_SAMPLES if is_whole else N_SAMPLED
    most = (5 if is_whole else 1) * MOST_EVALUATIONS // model.n_evaluations(missing)
    return max(FEWEST_SAMPLES, min(N_SAMPLES, most))


def _ranked(model: IncompleteModel | IncompleteTable, missing: Mask) -> Floats:
    """Log-densities of samples with these missing cells, in increasing order."""
    key = missing.tobytes()
    if key not in model.ranked:
        x = model.samples(_n_samples(model, missing))
        model.ranked[key] = np.sort(model.score(np.where(missing, np.nan, x), None).log_density)
    return model.ranked[key]
