"""What a worker does for a fit to more rows than one process reads: steps of training on a partition.

Each function depends on its arguments alone, so that what a worker loses when it dies can be computed again elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._training.dataset import Data, check_numbers
from nvpflow._training.noise import bandwidth
from nvpflow._typing import FloatDType, Floats
from nvpflow._validation.cells import CellError
from nvpflow.flow import Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.optim import Adam
from nvpflow.scale._inside import Inside
from nvpflow.scale._mixture import RowSums
from nvpflow.scale._source import rows_per_batch

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity

__all__ = ["Shard", "Task", "first_state", "local_steps", "row_keys", "some_rows", "sums_of_rows"]


@dataclass(frozen=True)
class Shard:
    """A partition, by its number of rows, the seed of what is drawn for them, and the number of rows before them."""

    n_rows: int
    seed: int
    first: int


class Task:
    """The flow that is trained, and how its rows come from those of the user.

    Parameters
    ----------
    model : FlowDensity
        Fitted to some of the rows.
    settings : Settings
    held_out : float
        Rows with keys below this are not trained on; see `row_keys`.
    n_rows : int
        Of all parts of the table.
    """

    def __init__(self, model: FlowDensity, settings: Settings, held_out: float, n_rows: int) -> None:
        self._model, self._inside = model, Inside(model, settings)
        self.batch_size, self.held_out, self._noise_of_settings = settings.batch_of(n_rows), held_out, settings.noise
        self.noise: Floats = np.zeros(self.flow.data_dim)

    @property
    def flow(self) -> Flow:
        """The flow of standardised rows."""
        return self._inside.flow

    def standardize(self, rows: Any, seed: int) -> Floats:
        """The numbers (n, D) that this flow reads for rows of a table, which are checked."""
        return self._inside.standardize(self._model._check_columns(rows), seed)

    def set_noise(self, y: Floats, n: int) -> None:
        """Set the deviations (D,) of the noise for n rows, by some that are standardised."""
        base = self.flow.base
        self.noise = bandwidth(self._noise_of_settings, Data(y), n, base if isinstance(base, MixtureBase) else None)

    def whole_flow(self, parameters: Floats) -> Flow:
        """The flow of rows in their own units, with these parameters in the place of those that are trained."""
        self.flow.parameters[:] = parameters
        return self._inside.whole()


def row_keys(shard: Shard) -> npt.NDArray[np.float64]:
    """A uniform number in [0, 1) for each row of a partition, the same in each call: the lowest are held out."""
    return np.random.default_rng([shard.seed, 0]).random(shard.n_rows)


def some_rows(part: Any, shard: Shard, low: float, high: float, checked: FloatDType | None = None) -> Any:
    """The rows of a partition whose keys are in [low, high). All rows are checked to be finite if a dtype is given."""
    if checked is not None:
        try:
            check_numbers("X", part, checked)
        except CellError as error:  # which counts the rows of this partition
            raise error.at(shard.first + error.row) from None
    keys = row_keys(shard)
    return _take(_checked(part, shard), np.flatnonzero((low <= keys) & (keys < high)))


def sums_of_rows(part: Any, shard: Shard, task: Task, sums: RowSums, share: float | None) -> Floats:
    """Sums for a step of expectation-maximisation: over the rows of a partition that train, or over a share of them."""
    keys = row_keys(shard)
    chosen = keys >= task.held_out
    if share is not None:
        chosen &= keys < task.held_out + share * (1 - task.held_out)
    rows, part, size = np.flatnonzero(chosen), _checked(part, shard), rows_per_batch(task.flow.data_dim)
    starts = range(0, len(rows), size)
    return sums.of(task.standardize(_take(part, rows[start : start + size]), shard.seed ^ start) for start in starts)


def first_state(parameters: Floats) -> Floats:
    """Parameters, and moments of Adam that are zero: (3, P)."""
    return np.stack([parameters, np.zeros_like(parameters), np.zeros_like(parameters)])


def local_steps(
    part: Any, shard: Shard, task: Task, state: Floats, n_steps: int, rates: Floats, seed: int
) -> tuple[Floats, float] | None:
    """Take steps of Adam on minibatches of a partition, drawn at random.

    Parameters
    ----------
    part : array or frame, shape (m, D)
    shard : Shard
    task : Task
    state : ndarray, shape (3, P)
        Parameters and moments to begin with.
    n_steps : int
        The number of steps before these.
    rates : ndarray
        The learning rate of each step.
    seed : int

    Returns
    -------
    state : ndarray, shape (3, P)
    train_nll : float
        Mean over the minibatches, each before its step, in nats of the standardised rows.
        None instead of both if a loss or a gradient is not finite, or no row is left to train on.
    """
    rng, size = np.random.default_rng([seed, 1]), task.batch_size
    rows = np.flatnonzero(row_keys(shard) >= task.held_out)
    if not len(rows):
        return None
    drawn = rows[rng.integers(len(rows), size=len(rates) * size)]
    y = task.standardize(_take(_checked(part, shard), drawn), seed)
    flow, total = task.flow.copy(), 0.0
    flow.parameters[:] = state[0]
    adam = _resumed(flow.parameters, state, n_steps)
    for i, rate in enumerate(rates):
        batch = y[i * size : (i + 1) * size]
        nll, grad = flow.nll_and_grad(batch + (task.noise * rng.standard_normal(batch.shape)).astype(batch.dtype))
        if not (np.isfinite(nll) and np.isfinite(grad).all()):
            return None
        adam.learning_rate = float(rate)
        adam.step(grad)
        total += nll
    return np.stack([flow.parameters, adam._m, adam._v]), total / len(rates)


def _resumed(parameters: Floats, state: Floats, n_steps: int) -> Adam:
    adam = Adam(parameters)
    adam._m[:], adam._v[:] = state[1:]
    adam.n_steps = n_steps
    return adam


def _checked(part: Any, shard: Shard) -> Any:
    if len(part) != shard.n_rows:
        raise ValueError(f"X must be the same each time it is computed, got {len(part)} rows in a partition of {shard.n_rows}")
    return part


def _take(part: Any, index: npt.NDArray[np.intp]) -> Any:
    return part.iloc[index] if hasattr(part, "iloc") else np.asarray(part)[index]
