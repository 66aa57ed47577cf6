"""Stacked mixtures: an average of many mixtures whose weights are what suits held-out samples.

Smyth and Wolpert (1999), "Linearly combining density estimators via stacking", for the weights; Breiman (1996), "Bagging
predictors", for the average over the parts of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._training.covariances import PRIOR_SAMPLES
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits, Mixture, Samples
from nvpflow._training.kmeans import Clusters
from nvpflow._training.mixture_search import COMPONENTS, PATIENCE
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

__all__ = ["Stack", "stack_mixtures"]

# Priors of the covariances, in samples per dimension; each number of components is fitted with one after the other. With an
# infinite one the components share a covariance, so that many of them are a kernel density estimate.
PRIORS, STEPS = (np.inf, PRIOR_SAMPLES, 0.1 * PRIOR_SAMPLES), 6
# Rows per component at least, if all share a covariance, and numbers that all covariances may hold.
ROWS_OF_SHARED, MOST_NUMBERS = 3, 50_000
# Parts of the samples: a small sample needs more of them, in a large one not all are held out in turn.
FEW_ROWS, MANY_PARTS, FEW_PARTS, MOST_ROWS_HELD_OUT_IN_TURN = 500, 10, 5, 20_000
LEAST_WEIGHT = 0.05  # of a mixture in the stack: less gained nothing, and cost time in every density
EXPECTATION_STEPS = 300
# Broad distributions, in standard deviations of the columns, so that a point far out has a density. They have the weight of
# one sample at least.
BROAD = (2.0, 4.0, 8.0, 16.0, 32.0)
DRAWS = 2000


class _Parameters(NamedTuple):
    """A mixture of standardised samples."""

    weights: Floats
    means: Floats
    covariances: Floats


@dataclass
class Stack:
    """An average of mixtures.

    Attributes
    ----------
    base : MixtureBase
        In the units of the samples.
    held_out : ndarray, shape (m,)
        Log-density of the validation samples by mixtures that have not seen them, in nats.
    gain : float
        How much higher the log-density of the average is, in nats.
    search : dict
        See `FlowDensity.search_`.
    """

    base: MixtureBase
    held_out: Floats
    gain: float
    search: dict[str, npt.NDArray[np.generic]]


def stack_mixtures(training: Data, validation: Data, seed: int) -> Stack:
    """Fit mixtures with many numbers of components and priors to parts of the samples, and average them.

    Parameters
    ----------
    training, validation : Data
        The validation samples are the first part that is held out.
    seed : int

    Returns
    -------
    Stack
    """
    both = training.and_those(validation)
    units = ColumnUnits(both.x, both.weight)
    parts = [_Part(both, units, held_out, i, seed) for i, held_out in enumerate(_parts(len(training.x), len(validation.x), seed))]
    weight = None if both.weight is None else np.concatenate([both.weight[part.held_out] for part in parts])
    candidates = _fit_candidates(parts, weight)
    log_probs = {name: np.concatenate([part.log_probs[name] for part in parts]) for name in candidates}
    shares = _choose(log_probs, weight)
    averages = [part.average(shares, 1 / effective_size(both)) for part in parts]
    whole = _Parameters(*(np.concatenate(arrays) for arrays in zip(*averages)))
    base = units.base(whole.weights / len(parts), whole.means, whole.covariances)
    bases = [units.base(*average) for average in averages]
    search = _search(log_probs, shares, weight, units.log_det)
    return Stack(base, bases[0].log_prob(validation.x).astype(np.float64), _gain_of_average(base, bases, seed), search)


def _parts(n_training: int, n_validation: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Masks of the rows that are held out, one after the other. The first are the validation rows, which come last."""
    n = n_training + n_validation
    n_parts = MANY_PARTS if n <= FEW_ROWS else FEW_PARTS
    part = np.random.default_rng(seed).permutation(n_training) % (min(n_parts, n_training) - 1 or 1) + 1
    part = np.append(part, np.zeros(n_validation, int))
    in_turn = max(1, min(part.max() + 1, MOST_ROWS_HELD_OUT_IN_TURN // n))
    return [part == i for i in range(in_turn)]


class _Part:
    """Samples of which some are held out, and the mixtures that are fitted to the others."""

    def __init__(self, data: Data, units: ColumnUnits, held_out: npt.NDArray[np.bool_], i: int, seed: int) -> None:
        fitted, self.held_out = data.rows(~held_out), held_out
        z = units.standardize(data.x)
        self.samples, self.left = Samples(z[~held_out], fitted.weight), z[held_out]
        rng = np.random.default_rng([seed, i])
        marks = (False, True) if self.samples.prior.repeated.any() else (False,)
        self.clusters = {marked: Clusters(self.samples.x, fitted.weight, rng, marked) for marked in marks}
        self.mixtures: dict[str, _Parameters] = {}
        self.log_probs: dict[str, Floats] = {}

    def fit(self, k: int) -> Iterator[str]:
        """Fit mixtures of k components. Yield their names."""
        for marked, clusters in self.clusters.items():
            mixture = Mixture(self.samples, k)
            mixture.start(clusters)
            for prior in PRIORS:
                if k == 1 and prior < np.inf or k > self._most_components(prior):
                    continue
                mixture.prior_samples = prior
                mixture.fit(STEPS)
                yield self._keep(f"{k}, prior {prior:g}" + ", values apart" * marked, mixture)

    def _most_components(self, prior: float) -> float:
        dim = self.samples.x.shape[1]
        rows = ROWS_OF_SHARED if prior == np.inf else dim + 2
        return max(1, min(self.samples.n / rows, 2 * MOST_NUMBERS / (dim * (dim + 1))))

    def _keep(self, name: str, mixture: Mixture) -> str:
        self.mixtures[name] = _Parameters(mixture.weights, mixture.means, mixture.covariances)
        self.log_probs[name] = mixture.log_prob(self.left)
        return name

    def fit_normal(self) -> str:
        """A normal distribution whose covariance is shrunk to a multiple of the identity."""
        mixture = Mixture(self.samples, 1)
        mixture.weights = np.ones(1)
        mixture.means, mixture.covariances = (part[np.newaxis] for part in _ledoit_wolf(self.samples))
        return self._keep("1, shrunk to the identity", mixture)

    def fit_broad(self) -> str:
        """Normal distributions of growing width."""
        dim = self.samples.x.shape[1]
        mixture = Mixture(self.samples, len(BROAD))
        mixture.weights, mixture.means = np.full(len(BROAD), 1 / len(BROAD)), np.zeros((len(BROAD), dim))
        mixture.covariances = np.array(BROAD)[:, None, None] ** 2 * np.eye(dim)
        return self._keep("broad", mixture)

    def average(self, shares: dict[str, float], least_broad: float) -> _Parameters:
        """The average of the mixtures. The broad ones have a share of `least_broad` at least."""
        shares = {name: share * (1 - least_broad) for name, share in shares.items()}
        shares["broad"] = shares.get("broad", 0.0) + least_broad
        mixtures = [self.mixtures[name] for name in shares]
        weights = [share * mixture.weights for share, mixture in zip(shares.values(), mixtures)]
        return _Parameters(
            np.concatenate(weights),
            np.concatenate([mixture.means for mixture in mixtures]),
            np.concatenate([mixture.covariances for mixture in mixtures]),
        )


def _fit_candidates(parts: list[_Part], weight: Floats | None) -> list[str]:
    """Fit mixtures of growing numbers of components to all parts, until they improve no more.

    Return the names of those that every part has.
    """
    for part in parts:
        part.fit_normal()
        part.fit_broad()
    best, since = -np.inf, 0
    for k in COMPONENTS:
        names = [list(part.fit(k)) for part in parts]
        scores = [
            np.average(np.concatenate([part.log_probs[name] for part in parts]), weights=weight)
            for name in names[0]
            if all(name in part.log_probs for part in parts)
        ]
        if not scores:
            break
        best, since = (max(scores), 0) if max(scores) > best else (best, since + 1)
        if since == PATIENCE:
            break
    return [name for name in parts[0].log_probs if all(name in part.log_probs for part in parts)]


def _choose(log_probs: dict[str, Floats], weight: Floats | None) -> dict[str, float]:
    """The mixtures with at least LEAST_WEIGHT in the stack, and their shares."""
    names = list(log_probs)
    shares = _stacked(np.array([log_probs[name] for name in names]), weight)
    names = [name for name, share in zip(names, shares) if share >= min(LEAST_WEIGHT, shares.max())]
    shares = _stacked(np.array([log_probs[name] for name in names]), weight)
    return dict(zip(names, shares.tolist()))


def _stacked(log_probs: Floats, weight: Floats | None) -> Floats:
    """Shares (M,) that maximise the likelihood of an average of densities, of which `log_probs` has shape (M, n)."""
    shares, best = np.full(len(log_probs), 1 / len(log_probs)), log_probs.max(axis=0)
    density = np.exp(log_probs - np.where(np.isfinite(best), best, 0))
    density = density[:, np.isfinite(best)]
    weight = None if weight is None else weight[np.isfinite(best)]
    for _ in range(EXPECTATION_STEPS):
        shares = shares * np.average(density / (shares @ density), axis=1, weights=weight)
    normalized: Floats = shares / shares.sum()
    return normalized


def _search(
    log_probs: dict[str, Floats], shares: dict[str, float], weight: Floats | None, log_det: float
) -> dict[str, npt.NDArray[np.generic]]:
    return {
        "candidate": np.array(list(log_probs)),
        "score": np.array([np.average(values, weights=weight) - log_det for values in log_probs.values()]),
        "weight": np.array([shares.get(name, 0.0) for name in log_probs]),
    }


def _gain_of_average(base: MixtureBase, bases: list[MixtureBase], seed: int) -> float:
    """How much higher the log-density of the average is than the mean log-density of its parts, where the average is right."""
    if len(bases) == 1:
        return 0.0
    x = base.sample(DRAWS, seed)
    return float(np.mean(base.log_prob(x) - np.mean([one.log_prob(x) for one in bases], axis=0, dtype=np.float64)))


def _ledoit_wolf(samples: Samples) -> tuple[Floats, Floats]:
    """Mean and covariance, shrunk to a multiple of the identity.

    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices", lemma 3.3.
    """
    x = samples.x.astype(np.float64)
    share = np.full(len(x), 1 / len(x)) if samples.weight is None else samples.weight / samples.weight.sum()
    mean, dim = share @ x, x.shape[1]
    offsets = x - mean
    covariance = (offsets * share[:, None]).T @ offsets
    scale = np.trace(covariance) / dim
    distance = np.sum(covariance**2) - dim * scale**2
    error = (share @ np.sum(offsets**2, axis=1) ** 2 - np.sum(covariance**2)) / samples.n
    shrinkage = min(1.0, error / distance) if distance > 0 else 1.0
    return mean, (1 - shrinkage) * covariance + (shrinkage * scale + float(samples.prior.floor.min())) * np.eye(dim)
