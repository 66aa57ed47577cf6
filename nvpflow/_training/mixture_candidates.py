"""Mixtures that compete for held-out samples: many numbers of components, structures and priors of the covariances."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._training.broad import broad_normals
from nvpflow._training.covariances import PRIOR_SAMPLES, mean_and_covariance, shrunk_to_identity
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits, Mixture, Samples
from nvpflow._training.kmeans import Clusters, Marks, moments_of_shells, ways_to_mark
from nvpflow._training.merge import with_pair_merged
from nvpflow._training.mixture_search import COMPONENTS, PATIENCE
from nvpflow._training.neighbours import order_of_neighbours
from nvpflow._training.tails import Tails
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

__all__ = [
    "BROAD",
    "FLOOR",
    "FURTHER",
    "KERNELS",
    "LATER_STEPS",
    "MERGED",
    "NORMAL",
    "Candidates",
    "components_of",
    "floor_of",
    "origin_of",
    "weakest_prior",
]

# Priors of the covariances, in samples per dimension; each number of components is fitted with one after the other. With an
# infinite one the components share a covariance, so that many of them are a kernel density estimate. A weak one suits tables,
# whose values repeat.
PRIORS, STEPS = (np.inf, 0.3, 0.03, 0.003), 6
# More steps follow, as long as one gains this much, in nats: some mixtures get on slowly. Swiss rolls gained 0.01 to 0.15,
# bananas 0.01. Samples whose values repeat have none: weather and concrete would gain 1.1 and 0.7 nats, but storms,
# earthquakes and computing jobs lost 0.2, 0.08 and 0.03.
MORE_STEPS, LEAST_OF_STEP = 24, 0.01
# Instead, their best mixtures go on to so many steps, as long as held-out samples gain. Tables of 12,000 to 15,000 rows gained
# 0.1 to 0.6 nats (flights, rates of hotels, weather, storms), those with fewer rows than the last number nothing.
LATER_STEPS, FEW_FOR_STEPS = (24, 48, 96), 400
# A mixture that is fitted to a part of the rows takes so many steps on so many times as many: they are close to the best ones.
STEPS_OF_MANY, MANY_MORE = 3, 10
FEW_FOR_ALL = 200  # rows of one column from which all numbers of components are tried
# More components than the usual numbers start only as the best mixture did; where values are apart, with the last priors.
LAST_PRIORS = 2
# Weaker priors and more components, each once the last one has won; the first of these priors at once if values repeat. Tables
# gained 0.1 to 8 nats, mixtures of all fitted in 1.1 to 8 times the time.
WEAKER_PRIORS, MORE_COMPONENTS = (3e-4, 3e-5, 3e-6, 3e-7), (96, 128, 192, 256)
# Distinct rows per component at least, if all share a covariance, and numbers that all covariances may hold.
ROWS_OF_SHARED, MOST_NUMBERS = 3, 25_000
MOST_ROWS = 20_000
# Columns of which one has a deviation so many times that of another are not in the same unit.
MOST_UNEQUAL = 100
LEAST_OF_ALL = 0.5  # a column's deviation in a part, beside that in all samples
# Numbers of factors, columns and rows at least for each, and columns at most: their eigendecompositions take time.
NORMAL, FACTORS, COLUMNS_OF_FACTOR, MOST_COLUMNS = "normal", (1, 2, 3, 5, 8, 12), 3, 200
AROUND = ", nested"
# A cluster in which k-means has put two centres is one component after a merge. Log-densities rose by 0.025 (five normal
# distributions in ten dimensions) and 0.057 nats (a funnel in ten), and changed by -0.0003 to 0.0007 on nine other densities
# (1000 samples, three states each). Of 200 samples they fell by 0.002 in the mean.
MERGED, ROWS_TO_MERGE = ", merged from ", 500
FURTHER = ", after "  # what follows in the name of a mixture that took more steps
# How the clusters started that a mixture comes from. Those with values apart begin anew for each prior. When each prior went
# on from the one before, 24 components of 8000 rows of a simulated price list were 3 nats worse, and the search ended at 8 of
# them; earthquakes lost 2.2 nats, irises 1.3, storms and weather about 1.
APART = {Marks.NONE: "", Marks.FREQUENT: ", values apart", Marks.EACH: ", each value apart"}
# Broad normals compete all together, and each by itself. Where these may not be as wide as a floor, others are the floor: of
# log-normal columns with a deviation of 2 in logarithms, single rows of 26 times the largest one had log-densities of -8000,
# now of -40.
BROAD = "broad normals"
FLOOR = f"{BROAD}, as a floor"
# Kernels, in standard deviations of the columns, and for how many rows and columns. On 16 densities in one to three dimensions
# gaps fell by 0.031 nats in the mean with 50 samples (six states), by 0.024 with 100 (eight), by 0.004 with 200 (twelve), in
# 1.1 to 1.2 times the time. Fewer bandwidths, in proportion to Scott's, gained 0.026 with 50 samples; the covariance of the
# samples in place of the identity was no better.
KERNELS, BANDWIDTHS, MOST_KERNELS, MOST_COLUMNS_OF_KERNELS = "kernels", (0.1, 0.15, 0.22, 0.33, 0.5), 250, 3


# Numbers of components around one centre, and for how many rows. Means of four states: 0.041 and 0.014 nats on two normal
# distributions around one centre (200 samples), 0.19 and 0.16 on Student's t in five dimensions (200), 2.9 and 2.4 on a funnel
# in ten (200), without and with them. Of 12 other densities the largest loss was 0.007. Fits take 1.0 to 1.3 times as long.
NESTED, MOST_ROWS_OF_NESTED = (2, 4), 2000


class _Fitted(NamedTuple):
    """A mixture of standardised samples, and its prior; None if it was not fitted by EM."""

    weights: Floats
    means: Floats
    covariances: Floats
    prior_samples: float | None
    tables: Floats | None  # of categories


class Candidates:
    """Mixtures fitted to all samples but those that are held out.

    Parameters
    ----------
    data : Data
        Standardised, without a context.
    units : ColumnUnits
        Of the standardised samples.
    held_out : ndarray of bool, shape (n,)
    distinct : float
        The share of rows that differ from all others.
    seed : sequence of int

    Attributes
    ----------
    most_rows : int
        For a choice among the candidates; those that are chosen are then fitted to all.
    components, priors : tuple
        The numbers of components to try, and the priors.
    more_components, weaker_priors : tuple
        Those that follow, one by one, if the last ones are the best.
    most_kernels, most_nested : int
        The numbers of rows up to which kernels compete, and mixtures that start around one centre.
    rows_to_merge : float
        The number of rows from which components of the best mixture are merged.
    guards_tails : bool
        Whether broad normals have a share of every average.
    scales : ndarray, shape (D,), or None
        The deviations of the columns in the units of the user, up to a factor. One normal distribution is shrunk to equal
        variances in these.
    tails : Tails or None
        How wide components may be.
    among : collection of str or None
        The only mixtures of several components to fit, but for kernels. None: all.
    judged : ndarray of int
        The rows that the candidates are judged on: at most MOST_ROWS of those that are held out, which are in random order if
        there are more.
    log_probs : dict of str to ndarray
        Log-densities of these samples, in nats, in standardised units, by candidate.
    """

    most_rows: int = MOST_ROWS
    components: tuple[int, ...] = COMPONENTS
    priors: tuple[float, ...] = PRIORS
    more_components: tuple[int, ...] = MORE_COMPONENTS
    weaker_priors: tuple[float, ...] = WEAKER_PRIORS
    most_kernels: int = MOST_KERNELS
    most_nested: int = MOST_ROWS_OF_NESTED
    guards_tails: bool = True
    rows_to_merge: float = ROWS_TO_MERGE
    scales: Floats | None = None
    tails: Tails | None = None
    among: Collection[str] | None = None

    def __init__(
        self, data: Data, units: ColumnUnits, held_out: npt.NDArray[np.bool_], distinct: float, seed: list[int]
    ) -> None:
        self.judged = np.flatnonzero(held_out)[:MOST_ROWS]
        self.every, self.units = data, units
        self.all, self.held_out = data.rows(_others(held_out)), data.rows(self.judged)
        some = self.all.rows(slice(self.most_rows))
        self.samples = self._new_samples(some)
        rng = np.random.default_rng(seed)
        ways = ways_to_mark(some.x) if self.samples.prior.repeated.any() else (Marks.NONE,)
        self.clusters = {marks: Clusters(some.x, some.weight, rng, marks) for marks in ways}
        self.distinct, self.n_distinct = distinct, distinct * self.samples.n
        self.log_probs: dict[str, Floats] = {}
        self._mixtures: dict[str, _Fitted] = {}
        self._factors: dict[str, int] = {}

    def _new_samples(self, data: Data) -> Samples:
        return Samples(data.x, data.weight)

    def _new_mixture(self, samples: Samples, k: int, prior_samples: float = PRIOR_SAMPLES) -> Mixture:
        return Mixture(samples, k, prior_samples)

    def _log_prob(self, name: str, mixture: Mixture) -> Floats:
        """Log-density of the samples that were held out."""
        return mixture.log_prob(self.held_out.x)

    def fit_simple(self) -> list[str]:
        """Fit broad and normal distributions. Return their names."""
        return [*self._fit_broad(), *self._fit_normal(), *self.fit(1)]

    def fit(self, k: int) -> Iterator[str]:
        """Fit mixtures of k components. Yield their names."""
        for marks, clusters in self.clusters.items():
            priors = [prior for prior in self._priors(k, marks) if k <= self._most_components(prior)]
            names = [_name(k, prior) + APART[marks] for prior in priors]
            wanted = [k == 1 or self.among is None or name in self.among for name in names]
            if not any(wanted):
                continue
            mixture, moments = self._new_mixture(self.samples, k), clusters.moments(k)
            mixture.start_from(*moments)
            while not wanted[-1]:  # those before a wanted one are where its fit begins
                wanted.pop()
            for prior, name, is_wanted in zip(priors, names, wanted):
                mixture.prior_samples = prior
                if marks:  # a stronger prior would have let the values run together again
                    mixture.start_from(*moments)
                _take_steps(mixture)
                if is_wanted:
                    yield self._keep(name, mixture, prior)

    def fit_nested(self, among: Collection[str] | None = None) -> list[str]:
        """Fit mixtures that start with components around one centre, each as wide as a shell of samples. Return the names.

        `among`: the only ones to fit, if not all.

        K-means finds no such components. They suit heavy tails, and a cluster within a wider one.
        """
        samples = self.samples
        if len(samples.x) > self.most_nested or samples.prior.any_repeated:
            return []
        names = []
        for k in NESTED:
            mixture, shells = self._new_mixture(samples, k), moments_of_shells(samples.x, samples.weight, k)
            priors = [prior for prior in PRIORS if prior < np.inf and k <= self._most_components(prior)]
            names += self._fit_anew(mixture, partial(mixture.start_from, *shells), priors, AROUND, among)
        return names

    def _fit_anew(
        self,
        mixture: Mixture,
        start: Callable[[], None],
        priors: Iterable[float],
        what: str,
        among: Collection[str] | None,
    ) -> list[str]:
        """Fit a mixture with one prior after the other, each from the start. Return the names, which end with `what`."""
        names = []
        for prior in priors:
            name = f"{_name(mixture.k, prior)}{what}"
            if among is None or name in among:
                mixture.prior_samples = prior
                start()
                _take_steps(mixture)
                names.append(self._keep(name, mixture, prior))
        return names

    def fit_by_categories(self, among: Collection[str] | None = None) -> list[str]:
        """Fit mixtures that start with a component for each category. There are none here. Return the names."""
        return []

    @property
    def patience(self) -> float:
        """After how many numbers of components in a row without a better mixture no more are tried.

        In one column all are: heaps, such as ages in fives, need many at once. Of 1000 and 2000 such counts half of the fits
        lost 0.15 to 0.4 nats. With 100 rows more components overfitted.
        """
        return np.inf if self.samples.x.shape[1] == 1 and self.samples.n >= FEW_FOR_ALL else PATIENCE

    def _priors(self, k: int, marks: Marks) -> tuple[float, ...]:
        """The priors of mixtures of k components that start from these clusters."""
        if k == 1:
            return self.priors[:1]
        return self.priors[-LAST_PRIORS:] if marks and k > self.components[-1] else self.priors

    def keep_way_of(self, name: str) -> None:
        """Let further mixtures start as this one did."""
        start = name.partition(FURTHER)[0]
        way = next((marks for marks in (Marks.EACH, Marks.FREQUENT) if start.endswith(APART[marks])), Marks.NONE)
        self.clusters = {way: self.clusters[way]}

    def fit_merged(self, name: str) -> str:
        """Merge the two components of a mixture that are most alike, and take steps from there. Return the name."""
        fitted = self._mixtures[name]
        before = name.partition(MERGED)[2]
        mixture = self._new_mixture(self.samples, len(fitted.weights) - 1, cast(float, fitted.prior_samples))
        mixture.weights, mixture.means, covariances = with_pair_merged(*fitted[:3])
        mixture.covariances = self.samples.prior.regular(covariances)
        _take_steps(mixture)
        new = f"{_name(mixture.k, mixture.prior_samples)}{MERGED}{before or len(fitted.weights)}"
        return self._keep(new, mixture, mixture.prior_samples)

    def can_merge(self, name: str) -> bool:
        """Whether two components of a candidate may be merged: those of smooth samples, each with a covariance."""
        prior = self._mixtures[name].prior_samples
        is_smooth = len(self.samples.x) >= self.rows_to_merge and not self.samples.prior.any_repeated
        return is_smooth and prior is not None and prior < np.inf and components_of(name) > 2 and not name.endswith(AROUND)

    def fit_longer(self, name: str, n_steps: int) -> str:
        """Take more steps of a mixture, n_steps in all. Return the name of the mixture that they lead to."""
        first, _, before = name.partition(FURTHER)
        mixture, prior = self._continued(name, self.samples)
        mixture.fit(n_steps - int(before.split()[0]) if before else n_steps)
        return self._keep(f"{first}{FURTHER}{n_steps} steps", mixture, prior)

    def _continued(self, name: str, samples: Samples) -> tuple[Mixture, float]:
        """A mixture as it is, for further steps on these samples, and its prior."""
        weights, means, covariances, prior, tables = self._mixtures[name]
        assert prior is not None
        mixture = self._new_mixture(samples, len(weights), prior)
        mixture.weights, mixture.means, mixture.covariances, mixture.tables = weights, means, covariances, tables
        return mixture, prior

    def fit_kernels(self) -> list[str]:
        """Place a round normal distribution at each of a few samples whose values do not repeat. Return the names.

        One covariance for as many components as there are samples is a kernel density estimate: Parzen (1962), "On estimation
        of a probability density function and mode".
        """
        n, dim = self.samples.x.shape
        if n > self.most_kernels or dim > MOST_COLUMNS_OF_KERNELS or self.samples.prior.any_repeated:
            return []
        mixture = self._new_mixture(self.samples, n)
        weight = np.ones(n) if self.samples.weight is None else self.samples.weight
        mixture.weights, mixture.means = weight / weight.sum(), self.samples.x.astype(np.float64)
        names = []
        for bandwidth in BANDWIDTHS:
            squares = np.full((n, 1, 1), bandwidth**2) * np.eye(dim)
            mixture.covariances = self.samples.prior.regular(squares)
            names.append(self._keep(f"{KERNELS}, bandwidth {bandwidth:g}", mixture))
        return names

    def _most_components(self, prior: float) -> float:
        dim = self.samples.x.shape[1]
        by_rows = self.n_distinct / ROWS_OF_SHARED if prior == np.inf else self.samples.n / (dim + 2)
        most: float = min(by_rows, MOST_NUMBERS / (dim * (dim + 1) / 2))
        return max(1.0, most)

    def _fit_broad(self) -> Iterator[str]:
        """Fit broad normal distributions, all together and each by itself. Yield their names."""
        means, deviations = broad_normals(self.samples.x, self.tails)
        yield self._keep_broad(BROAD, means, deviations)
        for mean, deviation in zip(means, deviations):
            yield self._keep_broad(f"{BROAD} of {deviation.max():.3g} deviations", mean[np.newaxis], deviation[np.newaxis])
        if self.tails is not None and (self.tails.widest < self.tails.widest_of_floor).any():
            yield self._keep_broad(FLOOR, *broad_normals(self.samples.x, self.tails, of_floor=True))

    def _keep_broad(self, name: str, means: Floats, deviations: Floats) -> str:
        k, dim = means.shape
        mixture = self._new_mixture(self.samples, k)
        mixture.weights, mixture.means = np.full(k, 1 / k), means
        mixture.covariances = deviations[:, np.newaxis] ** 2 * np.eye(dim)
        return self._keep(name, mixture)

    def _fit_normal(self) -> Iterator[str]:
        """Fit normal distributions with structured covariances. Yield their names."""
        for name, mixture in self._normals(self.samples):
            yield self._keep(name, mixture)

    def _normals(self, samples: Samples) -> Iterator[tuple[str, Mixture]]:
        """Normal distributions of samples, with structured covariances, and their names."""
        x, weight, n_distinct = samples.x, samples.weight, self.distinct * samples.n
        mixture = self._new_mixture(samples, 1)
        mean, covariance = mean_and_covariance(x, weight)
        mixture.weights, mixture.means = np.ones(1), mean[np.newaxis]
        # Deviations without the rows that are held out, or it looks too good; not 0 if the others are equal.
        scales: dict[str, Floats] = {"the identity": 1 / np.maximum(np.sqrt(np.diag(covariance)), LEAST_OF_ALL)}
        if self.scales is not None and self.scales.max() < MOST_UNEQUAL * self.scales.min():
            scales["one variance"] = self.scales
        for target, scale in scales.items():
            mixture.covariances = samples.prior.regular(shrunk_to_identity(x, weight, n_distinct, scale)[np.newaxis])
            yield f"{NORMAL}, shrunk to {target}", mixture
        most = min(x.shape[1], n_distinct) / COLUMNS_OF_FACTOR if x.shape[1] <= MOST_COLUMNS else 0
        for n_factors in [number for number in FACTORS if number <= most]:
            name = f"{NORMAL}, {n_factors} factor" + "s" * (n_factors > 1)
            mixture.covariances = samples.prior.regular(_core.factor_model(covariance, n_factors)[np.newaxis])
            self._factors[name] = n_factors
            yield name, mixture

    def is_mixture(self, name: str) -> bool:
        """Whether a candidate has several components, fitted by expectation-maximisation."""
        return len(self._mixtures[name].weights) > 1 and self._mixtures[name].prior_samples is not None

    @property
    def wants_more_steps(self) -> bool:
        """Whether the best mixtures may get on slowly: values repeat, and there are rows enough to tell."""
        return bool(self.more_components) and self.samples.prior.any_repeated and len(self.samples.x) >= FEW_FOR_STEPS

    @staticmethod
    def has_more_steps(name: str) -> bool:
        """Whether a mixture has already taken more steps."""
        return FURTHER in name

    def has_weakest_prior(self, name: str) -> bool:
        """Whether a mixture has the weakest prior so far."""
        return self._mixtures[name].prior_samples == self.priors[-1]

    def stronger(self, name: str) -> str:
        """The mixture like this one of the weakest prior, with the prior before."""
        return name.replace(_words(self.priors[-1]), _words(self.priors[-2]))

    def count_weaker(self, name: str) -> int:
        """How many of the weaker priors a mixture of this name asks for."""
        return next((i for i, prior in enumerate(self.weaker_priors, start=1) if _words(prior) in name), 0)

    def add_prior(self) -> None:
        """Let mixtures of further numbers of components have a weaker prior, too."""
        self.priors, self.weaker_priors = (*self.priors, *self.weaker_priors[:1]), self.weaker_priors[1:]

    def take_structure(self, name: str) -> None:
        """Let the priors of further mixtures have the structure of the covariance of a normal distribution."""
        self.samples.prior.n_factors = self._factors.get(name, 0)

    def _keep(self, name: str, mixture: Mixture, prior: float | None = None) -> str:
        self._take(name, mixture, prior)
        self.log_probs[name] = self._log_prob(name, mixture) if len(self.held_out.x) else np.empty(0)
        return name

    def _take(self, name: str, mixture: Mixture, prior: float | None) -> None:
        if self.tails is not None and not name.startswith(BROAD):
            mixture.narrow(self.tails)
        self._mixtures[name] = _Fitted(mixture.weights, mixture.means, mixture.covariances, prior, mixture.tables)

    def fit_to_all(self, names: Collection[str]) -> None:
        """Continue to fit mixtures, now to all samples that are not held out, if it was only to some of them.

        Where these come first, and so are no copy, their order changes if there are mixtures of several components, whose
        steps it makes short: there may be too many of them for a copy.
        """
        if len(self.all.x) > len(self.samples.x):
            if any(self.is_mixture(name) for name in names):
                self.all.reorder(order_of_neighbours(self.all.x))
            samples = self._new_samples(self.all)
            samples.by_neighbours = samples.x, samples.weight
            for name, mixture, prior in self._continued_to(samples, names):
                self._keep(name, mixture, prior)

    @property
    def may_see_every(self) -> bool:
        """Whether all samples are few enough to be read by each mixture."""
        return len(self.every.x) <= self.most_rows

    def fit_to_every(self, names: Collection[str]) -> None:
        """Continue to fit mixtures, now also to the samples that were held out.

        What is held out has no say any more: `log_probs` stay.
        """
        for name, mixture, prior in self._continued_to(self._new_samples(self.every), names):
            self._take(name, mixture, prior)

    def _continued_to(self, samples: Samples, names: Collection[str]) -> Iterator[tuple[str, Mixture, float | None]]:
        samples.prior.n_factors = self.samples.prior.n_factors
        if any(name.startswith(NORMAL) for name in names):
            for name, mixture in self._normals(samples):
                if name in names:
                    yield name, mixture, None
        for name in names:
            if self._mixtures[name].prior_samples is not None:
                mixture, prior = self._continued(name, samples)
                if len(samples.x) > MANY_MORE * len(self.samples.x):
                    mixture.fit(STEPS_OF_MANY)
                else:
                    _take_steps(mixture)
                yield name, mixture, prior

    def average(self, shares: dict[str, float]) -> MixtureBase:
        """The average of mixtures with these shares, in the units of the samples."""
        mixtures = [self._mixtures[name] for name in shares]
        return self.units.base(
            np.concatenate([share * mixture.weights for share, mixture in zip(shares.values(), mixtures)]),
            np.concatenate([mixture.means for mixture in mixtures]),
            np.concatenate([mixture.covariances for mixture in mixtures]),
        )


def _others(held_out: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | slice:
    """The rows that are not held out. If they come first it is a slice, which copies nothing."""
    n = len(held_out) - np.count_nonzero(held_out)
    return ~held_out if held_out[:n].any() else slice(n)


def _take_steps(mixture: Mixture) -> None:
    if mixture.samples.prior.any_repeated:
        mixture.fit(STEPS)
    else:
        mixture.fit(MORE_STEPS, LEAST_OF_STEP, STEPS)


def origin_of(name: str) -> str:
    """The name of the mixture that a candidate comes from by further steps, or by merging components."""
    first, is_merged, before = name.partition(MERGED)
    if is_merged:
        return f"mixture of {before},{first.partition(',')[2]}"
    return name.partition(FURTHER)[0]


def floor_of(names: Container[str]) -> str:
    """The name of the broad normals that are the floor of these candidates."""
    return FLOOR if FLOOR in names else BROAD


def components_of(name: str) -> int:
    """The number of components of a candidate that is a mixture of several."""
    return int(name.removeprefix("mixture of ").split(",")[0])


def weakest_prior(names: Iterable[str]) -> float:
    """The weakest of the priors of candidates by these names: infinite where none says one."""
    known = [prior for prior in (*PRIORS, *WEAKER_PRIORS) if any(f", {_words(prior)}" in f"{name}," for name in names)]
    return min(known, default=np.inf)


def _name(k: int, prior: float) -> str:
    if k == 1:
        return f"{NORMAL}, shrunk to the diagonal"
    return f"mixture of {k}, {_words(prior)}"


def _words(prior: float) -> str:
    return "one covariance" if prior == np.inf else f"prior {prior:g}"
