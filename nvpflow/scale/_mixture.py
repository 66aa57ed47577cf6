"""Expectation-maximisation in passes over all rows: the sums of each step are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from nvpflow import _core
from nvpflow._training.covariances import CovariancePrior
from nvpflow._training.em import ColumnUnits
from nvpflow._typing import Floats, Ints
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.scale._group import Group
    from nvpflow.scale._inside import Training

__all__ = ["Passes"]

# Passes at most, and the gain of a pass in nats from which another one follows. Where there are more than twice as many rows
# as FIRST_ROWS, so many at random have passes of their own first: these do most of the work.
MOST_PASSES, LEAST_GAIN, FIRST_ROWS = 20, 2e-4, 2**20
# The prior of the covariances, in samples per dimension, is the weakest of those in the fit to the sample, and no stronger
# than this: each component has more rows now.
STRONGEST_PRIOR = 0.3
ROWS_PER_TASK = 2**13  # whose sums are added in order, whatever the number of threads


class Passes:
    """A mixture of standardised rows, and the passes that fit it to all of them.

    Parameters
    ----------
    base : MixtureBase
    sample : ndarray, shape (n, D)
        Some of the rows. They set the pooled covariance and the floors of the prior.
    prior : float
        That of the fit to the sample, in samples per dimension.
    n_rows : int
        That train, of all members.

    Attributes
    ----------
    n_passes, n_first_passes : int
        Over all rows, and over the first ones.
    """

    def __init__(
        self, settings: Settings, base: MixtureBase, sample: Floats, prior: float, n_rows: int, group: Group, seed: int
    ) -> None:
        self._settings, self._group, self._n_rows, self._seed = settings, group, n_rows, seed
        self.n_passes = self.n_first_passes = 0
        self._units = ColumnUnits(sample, None)
        z = self._units.standardize(sample)
        self._is_single = z.dtype == np.float32
        self._prior = CovariancePrior(np.ascontiguousarray(z), None, float(n_rows)).for_core(min(prior, STRONGEST_PRIOR))
        self._mixture: tuple[Floats, ...] = ()
        self.start(base)

    def start(self, base: MixtureBase) -> None:
        """Let the next pass begin with this mixture."""
        scale = self._units.deviation
        self._mixture = (
            base.weights,
            (base.means.astype(np.float64) - self._units.mean) / scale,
            base.covariances / np.outer(scale, scale),
        )

    def over_some(self, training: Training) -> Iterator[MixtureBase]:
        """Yield the mixture after each pass over the first rows, as long as passes gain. None where there are few rows."""
        if self._n_rows > 2 * FIRST_ROWS:
            share = FIRST_ROWS / self._n_rows
            for n in self._gaining(lambda: self._step(training.some(share, self._seed), "mixture, first rows", None)):
                self.n_first_passes = n
                yield self._units.base(*self._mixture)

    def over_all(self, training: Training) -> Iterator[MixtureBase]:
        """The same over all rows."""
        for n in self._gaining(lambda: self._step(training.batches(), "mixture, all rows", training.source.n_rows)):
            self.n_passes = n
            yield self._units.base(*self._mixture)

    def _gaining(self, step: Callable[[], float]) -> Iterator[int]:
        """Take steps until one has gained little. Yield how many there were, after each."""
        before = np.inf
        for n in range(1, MOST_PASSES + 1):
            nll = step()
            yield n
            if before - nll < LEAST_GAIN:
                break
            before = nll

    def _step(self, batches: Iterator[tuple[Ints, Floats]], what: str, n_read: int | None) -> float:
        """Take one step on the rows of all members. Return the mean NLL before it."""
        sums = [np.zeros_like(part) for part in self._mixture]
        nll, n_jobs, n = np.zeros(1), self._settings.n_jobs, np.zeros(1)
        with watched_rows(what, n_read, self._settings.verbose) as show, _mapper(n_jobs) as run:
            for _, rows in batches:
                z = self._units.standardize(rows).astype(np.float32 if self._is_single else np.float64, copy=False)
                tasks = [np.ascontiguousarray(z[i : i + ROWS_PER_TASK]) for i in range(0, len(z), ROWS_PER_TASK)]
                for part in run(self._sums_of, tasks):
                    for total, one in zip([nll, *sums], part):
                        total += one
                n += len(rows)
                show(len(rows))
        parts = [nll, n, *sums]
        joined = self._group.sum(np.concatenate([part.ravel() for part in parts]))
        split = np.split(joined, np.cumsum([part.size for part in parts])[:-1])
        nll, n, *sums = (one.reshape(part.shape) for one, part in zip(split, parts))
        _core.em_step(int(n[0]), self._is_single, self._prior, *self._mixture, *sums)
        return float(nll[0] / n[0])

    def _sums_of(self, z: Floats) -> list[Floats]:
        sums = [np.zeros_like(part) for part in self._mixture]
        nll = _core.em_sums(z, *self._mixture, *sums)
        return [np.array([nll]), *sums]


@contextmanager
def _mapper(n_jobs: int) -> Iterator[Callable[..., Iterator[list[Floats]]]]:
    """A function like `map`, in threads if there is more than one."""
    if n_jobs == 1:
        yield map
        return
    with ThreadPoolExecutor(n_jobs, "nvpflow") as pool:
        yield pool.map
