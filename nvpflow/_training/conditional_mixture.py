"""Fit a mixture of context and samples together, given the context, to initialise a flow over a `ConditionalMixtureBase`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.em import Mixture, standardized
from nvpflow._training.kmeans import Clusters
from nvpflow._training.mixture_search import COMPONENTS, PATIENCE, SEARCH_ITER
from nvpflow._training.statistics import effective_size, mean_and_error
from nvpflow._typing import Floats
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.mixture_base import MixtureBase

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data

__all__ = ["find_conditional_mixture", "gain_of_refit", "refit_conditional_mixture"]

# Cross-validation predicts at least ENOUGH_ROWS rows, if it can, with at most FOLDS folds. With the 10 held-out rows of 50
# alone, it chose so many components that a linear task of seven columns was 0.3 nats worse.
ENOUGH_ROWS, FOLDS = 200, 5
MAX_ITER = 100  # steps at most where a mixture is fitted to other samples
# A mixture with the context must be more likely by this many standard errors.
LEAST_GAIN = 1.0
# More columns take too long, and a mixture of them seldom says more than the regression.
MOST_COLUMNS = 40
# Training rows that the search reads. All take part in the training that follows, and in the fit to all samples.
MOST_ROWS = 1500


def find_conditional_mixture(base: MixtureBase, training: Data, held_out: Data, seed: int) -> ConditionalMixtureBase | None:
    """Find the mixture of context and samples with the best likelihood of the samples given their context.

    The number of components is chosen by cross-validation of this conditional likelihood: the Bayesian information criterion
    of the joint density chose too few components, which left a gap of 0.9 instead of 0.2 on pairs of modes for each category.

    Parameters
    ----------
    base : MixtureBase
        A mixture of the samples alone, fitted to the training data.
    training, held_out : Data
        Standardised, with their context.
    seed : int

    Returns
    -------
    ConditionalMixtureBase or None
        Fitted to the training data. None if it does not improve the likelihood over `base` by a standard error.
    """
    if _joint(training).shape[1] > MOST_COLUMNS:
        return None
    some = training.rows(slice(None, None, -(-len(training.x) // MOST_ROWS)))  # their order is random
    folds = _folds(some, held_out, seed)
    left_out = folds[0][1]
    for _, rows in folds[1:]:
        left_out = left_out.and_those(rows)
    best, log_prob = _best_by_cross_validation(folds, seed)
    alone = [base, *(_refit(base, kept.x, kept.weight) for kept, _ in folds[1:])]
    with np.errstate(invalid="ignore"):  # for samples without a density
        gain = log_prob - _log_prob(alone, folds)
    mean, error = mean_and_error(gain, left_out.weight)
    return best if mean > LEAST_GAIN * error else None


def refit_conditional_mixture(base: ConditionalMixtureBase, data: Data) -> ConditionalMixtureBase:
    """Fit the mixture to other samples of its density, standardised and with their context."""
    return _given_context(_refit(base._joint(), _joint(data), data.weight), data)


def gain_of_refit(base: MixtureBase, training: Data, both: Data) -> float:
    """How much a fit to all samples instead of the training samples raises the log-density of new ones, in nats.

    A fit of p parameters to n samples loses p / 2n: Akaike (1974), "A new look at the statistical model identification".
    """
    return base.n_parameters / 2 * (1 / effective_size(training) - 1 / effective_size(both))


def _refit(base: MixtureBase, x: Floats, weight: Floats | None) -> MixtureBase:
    """Fit a mixture to other samples of its density. It starts from where it is, and keeps the number of components."""
    samples, units = standardized(x, weight)
    mixture = Mixture(samples, base.n_components)
    mixture.weights, mixture.means = base.weights, (base.means - units.mean) / units.deviation
    mixture.covariances = base.covariances / np.outer(units.deviation, units.deviation)
    mixture.fit(MAX_ITER)
    return units.base(mixture.weights, mixture.means, mixture.covariances)


class _Search:
    """Mixtures of context and samples, of growing numbers of components. The attribute n is the effective number of rows."""

    def __init__(self, data: Data, seed: int) -> None:
        self._data = data
        self._samples, self._units = standardized(_joint(data), data.weight)
        self._clusters = Clusters(self._samples.x, data.weight, np.random.default_rng(seed))
        self.n = self._samples.n

    def fit(self, k: int) -> ConditionalMixtureBase:
        """Fit k components, at least as many as in the call before."""
        mixture = Mixture(self._samples, k)
        mixture.start(self._clusters)
        mixture.fit(SEARCH_ITER)
        return _given_context(self._units.base(mixture.weights, mixture.means, mixture.covariances), self._data)


def _folds(training: Data, held_out: Data, seed: int) -> list[tuple[Data, Data]]:
    """Pairs of kept and left out rows. The first one is that of training and held-out rows."""
    n, both = len(training.x), training.and_those(held_out)
    n_more = min(FOLDS, round(ENOUGH_ROWS / len(held_out.x)), n // 2) - 1
    fold = np.append(np.random.default_rng(seed).permutation(n) % (FOLDS - 1), np.full(len(held_out.x), FOLDS))
    more = [(both.rows(fold != i), both.rows(fold == i)) for i in range(n_more)]
    return [(training, held_out), *more]


def _best_by_cross_validation(folds: list[tuple[Data, Data]], seed: int) -> tuple[ConditionalMixtureBase, Floats]:
    """The mixture of the first fold with the best number of components, and the log-densities of all left out rows."""
    searches = [_Search(kept, seed) for kept, _ in folds]
    weight = np.concatenate([np.ones(len(rows.x)) if rows.weight is None else rows.weight for _, rows in folds])
    best, since = None, 0
    for k in COMPONENTS:
        too_few_rows = any(k * (_joint(folds[0][0]).shape[1] + 2) > search.n for search in searches)
        if best and (since == PATIENCE or too_few_rows):
            break
        mixtures = [search.fit(k) for search in searches]
        log_prob = _log_prob(mixtures, folds)
        mean = np.average(log_prob, weights=weight)
        best, since = ((mean, mixtures[0], log_prob), 0) if best is None or mean > best[0] else (best, since + 1)
    assert best
    return best[1], best[2]


def _log_prob(mixtures: Sequence[MixtureBase], folds: list[tuple[Data, Data]]) -> Floats:
    """Log-densities of the rows that each fold leaves out, given their context if the mixture reads one."""
    parts = [
        mixture.log_prob(rows.x, rows.context if mixture.context_dim else None) for mixture, (_, rows) in zip(mixtures, folds)
    ]
    return np.concatenate(parts).astype(np.float64)


def _joint(data: Data) -> Floats:
    """The columns of context and samples."""
    return np.hstack([part for part in (data.context, data.x) if part is not None])


def _given_context(joint: MixtureBase, data: Data) -> ConditionalMixtureBase:
    """The mixture given the context. Constant columns, which tell nothing, have unit variance."""
    context = data.context
    assert context is not None
    base = ConditionalMixtureBase._of_joint(joint, context.shape[1])
    constant = np.flatnonzero(context.min(axis=0) == context.max(axis=0))
    row, column = np.tril_indices(joint.data_dim)
    base.factors[:, np.isin(row, constant) | np.isin(column, constant)] = 0  # logarithms on the diagonal
    return base
