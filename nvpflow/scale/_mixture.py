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
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.scale._group import Group
    from nvpflow.scale._inside import Training

__all__ = ["Passes"]

# Passes at most, and the gain of a pass in nats from which another one follows.
MOST_PASSES, LEAST_GAIN = 20, 2e-4
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
    """

    def __init__(self, settings: Settings, base: MixtureBase, sample: Floats, prior: float, n_rows: int, group: Group) -> None:
        self._settings, self._group, self.n_rows, self.n_passes = settings, group, n_rows, 0
        self._units = ColumnUnits(sample, None)
        z = self._units.standardize(sample)
        self._is_single = z.dtype == np.float32
        self._prior = CovariancePrior(np.ascontiguousarray(z), None, float(n_rows)).for_core(min(prior, STRONGEST_PRIOR))
        scale = self._units.deviation
        self._mixture: tuple[Floats, ...] = (
            base.weights,
            (base.means.astype(np.float64) - self._units.mean) / scale,
            base.covariances / np.outer(scale, scale),
        )

    def run(self, training: Training) -> Iterator[MixtureBase]:
        """Yield the mixture after each pass that has gained enough to go on, and after the last one."""
        before = np.inf
        while self.n_passes < MOST_PASSES:
            nll = self._step(training)
            self.n_passes += 1
            yield self._units.base(*self._mixture)
            if before - nll < LEAST_GAIN:
                break
            before = nll

    def _step(self, training: Training) -> float:
        """Take one step. Return the mean NLL before it."""
        sums = [np.zeros_like(part) for part in self._mixture]
        nll = np.zeros(1)
        what, settings = f"mixture, pass {self.n_passes + 1}", self._settings
        with watched_rows(what, training.source.n_rows, settings.verbose) as show, _mapper(settings.n_jobs) as run:
            for _, rows in training.batches():
                z = self._units.standardize(rows).astype(np.float32 if self._is_single else np.float64, copy=False)
                tasks = [np.ascontiguousarray(z[i : i + ROWS_PER_TASK]) for i in range(0, len(z), ROWS_PER_TASK)]
                for part in run(self._sums_of, tasks):
                    for total, one in zip([nll, *sums], part):
                        total += one
                show(len(rows))
        parts = [nll, *sums]
        joined = self._group.sum(np.concatenate([part.ravel() for part in parts]))
        split = np.split(joined, np.cumsum([part.size for part in parts])[:-1])
        nll, *sums = (one.reshape(part.shape) for one, part in zip(split, parts))
        _core.em_step(self.n_rows, self._is_single, self._prior, *self._mixture, *sums)
        return float(nll[0]) / self.n_rows

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
