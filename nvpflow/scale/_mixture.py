"""Expectation-maximisation in passes over all rows: the sums of each step are exact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from nvpflow import _core
from nvpflow._training.covariances import CovariancePrior
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import weakest_prior
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow._typing import Search
    from nvpflow.scale._group import Group
    from nvpflow.scale._inside import Training

__all__ = ["Passes", "PassesOfGroup", "RowSums"]

# Passes at most, and the gain of a pass in nats from which another one follows. Where there are more than twice as many rows
# as FIRST_ROWS, so many at random have passes of their own first: these do most of the work.
MOST_PASSES, LEAST_GAIN, FIRST_ROWS = 20, 2e-4, 2**20
# The prior of the covariances, in samples per dimension, is the weakest of those in the fit to the sample, and no stronger
# than this: each component has more rows now.
STRONGEST_PRIOR = 0.3
ROWS_PER_TASK = 2**13  # whose sums are added in order, whatever the number of threads


class RowSums:
    """What a step takes from rows. It can be sent to other processes.

    Parameters
    ----------
    mixture : tuple of ndarray
        Weights, means and covariances of standardised rows.
    units : ColumnUnits
    is_single : bool
        Whether rows are read in float32.
    """

    def __init__(self, mixture: tuple[Floats, ...], units: ColumnUnits, is_single: bool) -> None:
        self._mixture, self._units, self._is_single = mixture, units, is_single

    def of(self, batches: Iterable[Floats], run: Callable[..., Iterable[list[Floats]]] = map) -> Floats:
        """The NLL, the number of rows and the sums of each component, one after the other."""
        mixture = [np.array(part) for part in self._mixture]  # what comes from another process cannot be written to
        sums, nll, n = [np.zeros_like(part) for part in mixture], np.zeros(1), 0

        def sums_of(z: Floats) -> list[Floats]:
            own = [np.zeros_like(part) for part in mixture]
            return [np.array([_core.em_sums(z, *mixture, *own)]), *own]

        for rows in batches:
            z = self._units.standardize(rows).astype(np.float32 if self._is_single else np.float64, copy=False)
            tasks = [np.ascontiguousarray(z[i : i + ROWS_PER_TASK]) for i in range(0, len(z), ROWS_PER_TASK)]
            for part in run(sums_of, tasks):
                for total, one in zip([nll, *sums], part):
                    total += one
            n += len(rows)
        return np.concatenate([nll, [n], *(part.ravel() for part in sums)])


class Passes(ABC):
    """A mixture of standardised rows, and the passes that fit it to all of them.

    Parameters
    ----------
    base : MixtureBase
    sample : ndarray, shape (n, D)
        Some of the rows. They set the pooled covariance and the floors of the prior.
    search : dict
        What competed in the fit to the sample, as `FlowDensity.search_`.
    n_rows : int
        That train, of all members.

    Attributes
    ----------
    n_passes, n_first_passes : int
        Over all rows, and over the first ones.
    """

    def __init__(self, base: MixtureBase, sample: Floats, search: Search, n_rows: int) -> None:
        self._n_rows, self.n_passes, self.n_first_passes = n_rows, 0, 0
        self._units = ColumnUnits(sample, None)
        z = self._units.standardize(sample)
        self._is_single = z.dtype == np.float32
        prior = min(weakest_prior(search["candidate"][search["weight"] > 0]), STRONGEST_PRIOR)
        self._prior = CovariancePrior(np.ascontiguousarray(z), None, float(n_rows)).for_core(prior)
        self._mixture: tuple[Floats, ...] = ()
        self.start(base)

    @abstractmethod
    def _total(self, sums: RowSums, share: float | None) -> Floats:
        """The sums over all rows that train, or over a share of them at random, the same in every call."""

    def start(self, base: MixtureBase) -> None:
        """Let the next pass begin with this mixture."""
        scale = self._units.deviation
        self._mixture = (
            base.weights,
            (base.means.astype(np.float64) - self._units.mean) / scale,
            base.covariances / np.outer(scale, scale),
        )

    def over_some(self) -> Iterator[MixtureBase]:
        """Yield the mixture after each pass over the first rows, as long as passes gain. None where there are few rows."""
        if self._n_rows > 2 * FIRST_ROWS:
            for n in self._gaining(FIRST_ROWS / self._n_rows):
                self.n_first_passes = n
                yield self._units.base(*self._mixture)

    def over_all(self) -> Iterator[MixtureBase]:
        """The same over all rows."""
        for n in self._gaining(None):
            self.n_passes = n
            yield self._units.base(*self._mixture)

    def _gaining(self, share: float | None) -> Iterator[int]:
        """Take steps until one has gained little. Yield how many there were, after each."""
        before = np.inf
        for n in range(1, MOST_PASSES + 1):
            nll = self._step(share)
            yield n
            if before - nll < LEAST_GAIN:
                break
            before = nll

    def _step(self, share: float | None) -> float:
        """Take one step. Return the mean NLL before it."""
        total = self._total(RowSums(self._mixture, self._units, self._is_single), share)
        nll, n, *sums = np.split(total, np.cumsum([1, 1, *(part.size for part in self._mixture)])[:-1])
        sums = [one.reshape(part.shape) for one, part in zip(sums, self._mixture)]
        _core.em_step(int(n[0]), self._is_single, self._prior, *self._mixture, *sums)
        return float(nll[0] / n[0])


class PassesOfGroup(Passes):
    """Passes over the rows of all members of a group."""

    def __init__(
        self,
        settings: Settings,
        base: MixtureBase,
        sample: Floats,
        search: Search,
        n_rows: int,
        training: Training,
        group: Group,
        seed: int,
    ) -> None:
        super().__init__(base, sample, search, n_rows)
        self._settings, self._training, self._group, self._seed = settings, training, group, seed

    def _total(self, sums: RowSums, share: float | None) -> Floats:
        n_jobs, training = self._settings.n_jobs, self._training
        if share is None:
            batches, what, n_read = training.batches(), "mixture, all rows", training.source.n_rows
        else:
            batches, what, n_read = training.some(share, self._seed), "mixture, first rows", None
        with watched_rows(what, n_read, self._settings.verbose) as show, _mapper(n_jobs) as run:

            def shown() -> Iterator[Floats]:
                for _, rows in batches:
                    yield rows
                    show(len(rows))

            return self._group.sum(sums.of(shown(), run))


@contextmanager
def _mapper(n_jobs: int) -> Iterator[Callable[..., Iterator[list[Floats]]]]:
    """A function like `map`, in threads if there is more than one."""
    if n_jobs == 1:
        yield map
        return
    with ThreadPoolExecutor(n_jobs, "nvpflow") as pool:
        yield pool.map
