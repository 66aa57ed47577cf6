"""A density of each class, and what they say of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._training.dataset import Data
from nvpflow._training.threads import run_in_threads
from nvpflow._typing import Bools, Floats, Ints
from nvpflow._validation.arguments import count_threads
from nvpflow._warnings import kept_warnings, warn_user

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity

__all__ = ["ClassFits", "log_densities"]

# The weight that rows of other classes have together, where they are needed. It is no ratio of whole numbers to 1, which would
# be read as counts of equal rows.
BORROWED = 1 / np.sqrt(2)


class ClassFits:
    """Fits of one density to the rows of each class, or to some of them.

    Parameters
    ----------
    make : callable
        ``make(random_state, columns)`` creates an estimator for some of the columns, a bool (D,) for each.
    data : Data
        Rows x (n, D), and as the context their classes (n, 1).
    spread : ndarray, shape (n, D)
        The rows that densities are fitted to. They score those of `data`.
    labels : sequence of str
        The names of the classes in warnings.
    n_jobs : int
        Threads. The results are the same for any number.
    """

    def __init__(
        self,
        make: Callable[[int, Bools], FlowDensity],
        data: Data,
        spread: Floats,
        labels: Sequence[str],
        n_jobs: int | None,
    ) -> None:
        assert data.context is not None
        self.make, self.data, self.spread, self.labels = make, data, spread, labels
        self.codes: Ints = data.context[:, 0].astype(np.intp)
        self.n_threads = count_threads(n_jobs)

    def fit(self, seeds: Sequence[int]) -> list[FlowDensity]:
        """The densities of the classes, fitted to all rows, with their warnings."""
        densities: list[Any] = [None] * len(self.labels)
        self._run([functools.partial(self._fit_one, densities, c, seeds[c]) for c in range(len(densities))])
        return densities

    def hold_out(self, folds: Ints, n_folds: int, seeds: Sequence[int]) -> Floats:
        """Log-densities (n, C) of each row by densities that have not seen its fold; 0 of rows in no fold."""
        found = np.zeros((len(self.codes), len(self.labels)))
        tasks = [
            functools.partial(self._hold_out_one, found, folds == k, c, seeds[k * len(self.labels) + c])
            for k in range(n_folds)
            if (folds == k).any()
            for c in range(len(self.labels))
        ]
        self._run(tasks)
        return found

    def _run(self, tasks: Sequence[Callable[[], None]]) -> None:
        run_in_threads(tasks, min(self.n_threads, len(tasks)), interrupt=lambda: None)

    def _fit_one(self, densities: list[FlowDensity], code: int, seed: int) -> None:
        with kept_warnings() as kept:
            densities[code] = self._fitted(np.ones(len(self.codes), bool), code, seed, np.ones(self.data.x.shape[1], bool))
        for message, category in kept:
            warn_user(f"class {self.labels[code]}: {message}", category)

    def _hold_out_one(self, found: Floats, held_out: Bools, code: int, seed: int) -> None:
        columns = _varying(self.spread[~held_out])  # one that is constant but for held-out rows tells nothing of classes
        if not columns.any():
            return
        with kept_warnings():  # the fit to all rows repeats them
            density = self._fitted(~held_out, code, seed, columns)
            found[held_out, code] = density.score_samples(self.data.x[held_out][:, columns])

    def _fitted(self, given: Bools, code: int, seed: int, columns: Bools) -> FlowDensity:
        x, own = self.spread[:, columns], np.flatnonzero(given & (self.codes == code))
        others = _borrowed(x, own, np.flatnonzero(given & (self.codes != code)))
        weight = None if self.data.weight is None else self.data.weight[own]
        if len(others):
            unit = 1.0 if weight is None else float(weight.mean())
            weight = np.append(
                np.ones(len(own)) if weight is None else weight, np.full(len(others), BORROWED * unit / len(others))
            )
        return self.make(seed, columns).fit(x[np.append(own, others)], sample_weight=weight)


def _borrowed(x: Floats, own: Ints, others: Ints) -> Ints:
    """Rows of other classes with which no column of the class is constant, and the class has two rows: few, or none.

    A density needs a spread in every column. In a class without one, those rows give it some.
    """
    chosen: list[int] = []
    if not len(others):
        return np.array(chosen, dtype=np.intp)
    first = np.where(np.isnan(x[own]).all(axis=0), np.nan, _first_values(x[own]))
    constant = ((x[own] == first) | np.isnan(x[own])).all(axis=0)
    while constant.any():
        differs = (x[others] != first) & ~np.isnan(x[others])
        gains = differs[:, constant].sum(axis=1)
        best = int(gains.argmax())
        if not gains[best]:
            break
        chosen.append(int(others[best]))
        constant &= ~differs[best]
    if not chosen and len(own) < 2:
        chosen.append(int(others[0]))
    return np.array(chosen, dtype=np.intp)


def _varying(x: Floats) -> Bools:
    """Which columns (D,) have different values."""
    varying: Bools = ((x != _first_values(x)) & ~np.isnan(x)).any(axis=0)
    return varying


def _first_values(x: Floats) -> Floats:
    """The first value of each column that is not missing."""
    first: Floats = x[np.isnan(x).argmin(axis=0), np.arange(x.shape[1])]
    return first


def log_densities(densities: Sequence[FlowDensity], x: Floats) -> npt.NDArray[np.float64]:
    """Log-density of each row in each class (n, C), in float64."""
    return np.stack([np.asarray(density.score_samples(x), np.float64) for density in densities], axis=1)
