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

from nvpflow._training.covariances import factor_model, shrunk_to_identity
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits, Mixture, Samples
from nvpflow._training.kmeans import Clusters
from nvpflow._training.mixture_search import COMPONENTS, PATIENCE
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Floats, Search
from nvpflow.mixture_base import MixtureBase

__all__ = ["Stack", "stack_mixtures"]

# Priors of the covariances, in samples per dimension; each number of components is fitted with one after the other. With an
# infinite one the components share a covariance, so that many of them are a kernel density estimate.
PRIORS, STEPS = (np.inf, 0.3, 0.03, 0.003), 6
# Rows per component at least, if all share a covariance, and numbers that all covariances may hold.
ROWS_OF_SHARED, MOST_NUMBERS = 3, 50_000
# Parts of the samples: a small sample needs more of them, in a large one not all are held out in turn.
FEW_ROWS, MANY_PARTS, FEW_PARTS, MOST_ROWS_HELD_OUT_IN_TURN = 500, 10, 5, 20_000
NORMAL, FACTORS, COLUMNS_OF_FACTOR = (
    "normal",
    (1, 2, 3, 5, 8, 12),
    3,
)  # factors of a normal distribution, and columns at least for each
LEAST_WEIGHT = 0.05  # of a mixture in the stack: less gained nothing, and cost time in every density
EXPECTATION_STEPS = 300
# Broad distributions, in standard deviations of the columns, so that a point far out has a density. They have the weight of
# one sample at least.
BROAD, BROAD_NAME = (2.0, 4.0, 8.0, 16.0, 32.0), "broad normals"
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
    search: Search


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
    parts = [
        _Part(both, units, held_out, i, seed) for i, held_out in enumerate(_parts(len(training.x), len(validation.x), seed))
    ]
    weight = None if both.weight is None else np.concatenate([both.weight[part.held_out] for part in parts])
    candidates = _fit_candidates(parts, weight)
    log_probs = {name: np.concatenate([part.log_probs[name] for part in parts]) for name in candidates}
    shares = _choose(log_probs, weight)
    held_out = parts[0].base(shares).log_prob(validation.x).astype(np.float64)
    if all(name.startswith(NORMAL) for name in shares):  # they are fitted to all samples, since averages gain nothing
        parts = [_Part(both, units, np.zeros(len(both.x), bool), 0, seed)]
        parts[0].fit_simple()
    bases = [part.base(shares) for part in parts]
    base = _average(bases)
    search = _search(log_probs, shares, weight, len(validation.x), units.log_det)
    return Stack(base, held_out, _gain_of_average(base, bases, seed), search)


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
        fitted, self.held_out, self.units = data.rows(~held_out), held_out, units
        z = units.standardize(data.x)
        self.samples, self.left = Samples(z[~held_out], fitted.weight), z[held_out]
        rng = np.random.default_rng([seed, i])
        marks = (False, True) if self.samples.prior.repeated.any() else (False,)
        self.clusters = {marked: Clusters(self.samples.x, fitted.weight, rng, marked) for marked in marks}
        self.mixtures: dict[str, _Parameters] = {}
        self.log_probs: dict[str, Floats] = {}
        self.factors: dict[str, int] = {}

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
                yield self._keep(_name(k, prior) + ", values apart" * marked, mixture)

    def _most_components(self, prior: float) -> float:
        dim = self.samples.x.shape[1]
        rows = ROWS_OF_SHARED if prior == np.inf else dim + 2
        most: float = min(self.samples.n / rows, 2 * MOST_NUMBERS / (dim * (dim + 1)))
        return max(1.0, most)

    def _keep(self, name: str, mixture: Mixture) -> str:
        self.mixtures[name] = _Parameters(mixture.weights, mixture.means, mixture.covariances)
        self.log_probs[name] = mixture.log_prob(self.left) if len(self.left) else np.empty(0)
        return name

    def fit_simple(self) -> list[str]:
        """Fit broad and normal distributions. Return the names of the normal ones."""
        self._fit_broad()
        return [*self._fit_normal(), *self.fit(1)]

    def _fit_normal(self) -> Iterator[str]:
        """Fit normal distributions with structured covariances. Yield their names."""
        x, dim = self.samples.x.astype(np.float64), self.samples.x.shape[1]
        mixture = Mixture(self.samples, 1)
        mixture.start(Clusters(self.samples.x, self.samples.weight, np.random.default_rng(0)))
        floor = np.diag(self.samples.prior.floor)
        mixture.covariances = shrunk_to_identity(x, self.samples.weight, self.samples.n)[np.newaxis] + floor
        yield self._keep(f"{NORMAL}, shrunk to the identity", mixture)
        covariance = np.cov(x.T, bias=True, aweights=self.samples.weight).reshape(dim, dim)
        for n_factors in FACTORS:
            if n_factors <= dim / COLUMNS_OF_FACTOR:
                mixture.covariances = factor_model(covariance, n_factors)[np.newaxis] + floor
                name = f"{NORMAL}, {n_factors} factor(s)"
                self.factors[name] = n_factors
                yield self._keep(name, mixture)

    def _fit_broad(self) -> str:
        """Normal distributions of growing width."""
        dim = self.samples.x.shape[1]
        mixture = Mixture(self.samples, len(BROAD))
        mixture.weights, mixture.means = np.full(len(BROAD), 1 / len(BROAD)), np.zeros((len(BROAD), dim))
        mixture.covariances = np.array(BROAD)[:, None, None] ** 2 * np.eye(dim)
        return self._keep(BROAD_NAME, mixture)

    def base(self, shares: dict[str, float]) -> MixtureBase:
        """The average of mixtures with these shares. The broad ones have that of a sample at least."""
        least = 1 / self.samples.n
        shares = {name: share * (1 - least) for name, share in shares.items()}
        shares[BROAD_NAME] = shares.get(BROAD_NAME, 0.0) + least
        mixtures = [self.mixtures[name] for name in shares]
        weights = [share * mixture.weights for share, mixture in zip(shares.values(), mixtures)]
        means, covariances = ([mixture[i] for mixture in mixtures] for i in (1, 2))
        return self.units.base(np.concatenate(weights), np.concatenate(means), np.concatenate(covariances))


def _average(bases: list[MixtureBase]) -> MixtureBase:
    """The average of mixtures."""
    n_components = sum(base.n_components for base in bases)
    average = MixtureBase._from_config({"n_components": n_components, "data_dim": bases[0].data_dim}, bases[0].dtype)
    for name in ("logits", "means", "factors"):
        getattr(average, name)[:] = np.concatenate([getattr(base, name) for base in bases])
    return average


def _name(k: int, prior: float) -> str:
    if k == 1:
        return f"{NORMAL}, shrunk to the diagonal"
    return f"mixture of {k}, " + ("one covariance" if prior == np.inf else f"prior {prior:g}")


def _fit_candidates(parts: list[_Part], weight: Floats | None) -> list[str]:
    """Fit mixtures of growing numbers of components to all parts, until they improve no more.

    Return the names of those that every part has.
    """

    def score(name: str) -> float:
        """Mean log-density of what was held out."""
        values = [part.log_probs.get(name, np.full(len(part.left), -np.inf)) for part in parts]
        return float(np.average(np.concatenate(values), weights=weight))

    simplest = max([part.fit_simple() for part in parts][0], key=score)
    best, since = score(simplest), 0
    for part in parts:
        part.samples.prior.n_factors = part.factors.get(simplest, 0)
    for k in COMPONENTS[1:]:
        if since == PATIENCE:
            break
        names = [list(part.fit(k)) for part in parts][0]
        if not names:
            break
        highest = max(map(score, names))
        best, since = (highest, 0) if highest > best else (best, since + 1)
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
    log_probs: dict[str, Floats], shares: dict[str, float], weight: Floats | None, n_validation: int, log_det: float
) -> Search:
    first = None if weight is None else weight[:n_validation]
    return {
        "candidate": np.array(list(log_probs)),
        "score": np.array([np.average(values, weights=weight) for values in log_probs.values()]) - log_det,
        "validation_score": np.array([np.average(values[:n_validation], weights=first) for values in log_probs.values()])
        - log_det,
        "weight": np.array([shares.get(name, 0.0) for name in log_probs]),
    }


def _gain_of_average(base: MixtureBase, bases: list[MixtureBase], seed: int) -> float:
    """How much higher the log-density of the average is than the mean log-density of its parts, where the average is right."""
    if len(bases) == 1:
        return 0.0
    x = base.sample(DRAWS, seed)
    return float(np.mean(base.log_prob(x) - np.mean([one.log_prob(x) for one in bases], axis=0, dtype=np.float64)))
