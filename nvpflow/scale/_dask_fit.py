"""The fit of a density to an array or a frame of Dask, by all workers.

An ordinary fit to some rows, drawn at random, is the start. If it kept a mixture, workers take the sums of steps of
expectation-maximisation over all rows. Then they train on all rows: in each round every one takes
steps on a partition of its own, from the same parameters, and the average of their parameters begins the next round.
References: McMahan et al. (2017), "Communication-efficient learning of deep networks from decentralized data"; Stich (2019),
"Local SGD converges fast and communicates little".
"""

from __future__ import annotations

import copy
import math
import operator
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import dask
import dask.array
import numpy as np
from dask.delayed import delayed

from nvpflow._sklearn.feature_names import feature_names
from nvpflow._training.callbacks import wants_stop
from nvpflow._training.course import MANY_SAMPLES, has_course, rates_to_try
from nvpflow._training.defaults import option
from nvpflow._training.fit import watched
from nvpflow._training.statistics import mean_and_error
from nvpflow._typing import Callback, FloatDType, Floats, Search
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import warn_user
from nvpflow.flow import ConvergenceWarning
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._dask_passes import LazyPasses
from nvpflow.scale._fit import SAMPLE, run_passes
from nvpflow.scale._group import Alone
from nvpflow.scale._held_out import HeldOut
from nvpflow.scale._local_steps import Shard, Task, first_state, local_steps, some_rows
from nvpflow.supports import Category, Declared

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity

__all__ = ["fit_lazy"]

# Rows of the ordinary fit, as out of core, and of those that judge the rounds. With fewer rows the ordinary fit is
# all: on 130,000 rows of bent columns in ten dimensions, one to 100,000 of them and rounds were 0.017 nats worse.
SAMPLE_ROWS, HELD_OUT_ROWS = SAMPLE, 50_000
# Steps of each worker in a round. Two workers took 300 steps in rounds of 25, 50 and 100 in at most a twentieth of the time of
# 300 sums of gradients, each of which waits for the scheduler, with the same held-out likelihood or a higher one.
STEPS_PER_ROUND = 100
# Rounds of the first cycle of the learning rate; each one is twice as long as that before, until one has gained too little.
# The first does not count: it brings a trained flow back to where it was.
FIRST_CYCLE, LEAST_GAIN = 8, 0.5
# As in an ordinary fit.
MOST_STEPS, FEW_ROWS, MANY_ROWS = 5000, 10_000, MANY_SAMPLES
LOWEST = -1e6  # log-density of a row without one, where parameters are compared
WARMUP = 50  # steps of the first round, while Adam's moments are unknown


def fit_lazy(model: FlowDensity, X: Any, callback: Callback | None = None) -> Any:
    """Fit a model to an array or a frame of Dask.

    Returns
    -------
    sample : ndarray or pandas.DataFrame
        The rows of the ordinary fit: all rows, or some that were drawn at random.
    """
    settings, begin = model._settings(), time.monotonic()
    *_, seed = draw_seeds(settings.random_state, 4)
    parts, shards = _partitions(X, seed)
    n = sum(shard.n_rows for shard in shards)
    if n <= SAMPLE_ROWS:
        rows = _rows_between(X, parts, shards, 0.0, 1.0)
        model.fit(rows, callback=callback)
        return rows
    limit = min(HELD_OUT_ROWS, (settings.validation_fraction or 0) * n) / n
    _refuse_what_needs_all_rows(settings, X)
    rows = _rows_between(X, parts, shards, limit, limit + SAMPLE_ROWS / n, settings.dtype)
    start = _fit_to_sample(model, settings, rows)
    rounds = _Rounds(settings, start, parts, shards, _rows_between(X, parts, shards, 0.0, limit), limit, seed)
    rounds.end = begin + (math.inf if settings.time_limit is None else settings.time_limit)
    try:
        if start.best_iter_ == 0 and isinstance(rounds.task.flow.base, MixtureBase):
            rounds.fit_mixture(rounds.task.standardize(rows, seed), start.search_)
        with watched(callback, rounds.most, settings.verbose) as watch:
            rounds.train(watch)
    finally:  # an interruption leaves the best parameters so far
        model.__dict__ = vars(start) | {"time_limit": model.time_limit, "n_samples_seen_": n} | rounds.fitted_attributes()
    return rows


def _fit_to_sample(model: FlowDensity, settings: Settings, rows: Any) -> FlowDensity:
    """A copy of the model, fitted to some rows in the memory of the caller, in half of the time that there is."""
    start = copy.copy(model)
    if settings.time_limit is not None:
        start.time_limit = settings.time_limit / 2
    return start.fit(rows)


class _Course(NamedTuple):
    """What a round begins with: parameters and moments of Adam (3, P), and the moving average of the parameters (P,)."""

    state: Floats
    average: Floats


class _Rounds:
    """Rounds of training by the workers, of which held-out rows choose the best one."""

    def __init__(
        self,
        settings: Settings,
        start: FlowDensity,
        parts: list[Any],
        shards: list[Shard],
        held_out: Any,
        limit: float,
        seed: int,
    ) -> None:
        self.settings, self.parts, self.shards = settings, parts, shards
        self.counts = np.array([shard.n_rows for shard in shards], float)
        self.task = Task(start, settings, limit, int(self.counts.sum()))
        self.y = self.task.standardize(held_out, seed)
        self.task.set_noise(self.y, int(self.counts.sum()))
        self.width = min(len(shards), max(1, _count_threads()))
        self.most = self._most_rounds()
        self.rng = np.random.default_rng([seed, 2])
        self.end = math.inf
        self.n_steps = 0
        self.history: dict[str, list[float]] = {"train_nll": [], "validation_nll": []}
        self.best, self.best_round = self.task.flow.parameters.copy(), 0
        self.best_scores = self._scores(self.best)
        # From NLLs of standardised rows to those of the data.
        self.shift = float(self.best_scores.mean() - start.score(held_out))

    def fit_mixture(self, sample: Floats, search: Search) -> None:
        """Fit the mixture below the layers to all rows, as long as held-out rows gain."""
        task, flow, base = self.task, self.task.flow, cast(MixtureBase, self.task.flow.base)
        flow.parameters[:] = self.best
        passes = LazyPasses(task, self.parts, self.shards, base, sample, search)
        run_passes(passes, flow, HeldOut(self.y, Alone()), Alone(), self.end)
        task.set_noise(self.y, int(self.counts.sum()))
        self.best = flow.parameters.copy()
        self.best_scores = self._scores(self.best)

    def _most_rounds(self) -> int:
        n = self.counts.sum()
        if self.settings.max_iter is not None:
            steps = self.settings.max_iter * n / (self.task.batch_size * self.width)
        else:
            steps = MOST_STEPS * math.sqrt(min(max(n, FEW_ROWS), MANY_ROWS) / FEW_ROWS)
        return max(1, math.ceil(steps / STEPS_PER_ROUND))

    @property
    def n_rounds(self) -> int:
        """The number of rounds so far."""
        return len(self.history["train_nll"])

    def train(self, watch: Callback | None) -> None:
        """Train in cycles, while they pay."""
        flow, settings = self.task.flow, self.settings
        default = option(settings, "learning_rate", flow.base is not None)
        rates = [default if rate is None else rate for rate in rates_to_try(settings, int(self.counts.sum()))]
        start = _Course(first_state(self.best), self.best.copy())
        if not has_course(settings):
            self._cycle(start, rates[0], self.most, watch)
            return
        length, ends = FIRST_CYCLE, []
        for rate in rates:
            self.n_steps = 0
            course = self._cycle(start, rate, length, watch)
            if course is None:
                return
            ends.append((self._scores(course.average).mean(), rate, course))
        _, rate, course = max(ends, key=operator.itemgetter(0))
        while course is not None and self.n_rounds < self.most:
            before, length = self.best_scores, 2 * length
            course = self._cycle(course, rate, min(length, self.most - self.n_rounds), watch)
            if not self._has_gained(before):
                return

    def _has_gained(self, before: Floats) -> bool:
        gain, error = mean_and_error(self.best_scores - before, None)
        return gain > LEAST_GAIN * error

    def _cycle(self, course: _Course, rate: float, n_rounds: int, watch: Callback | None) -> _Course | None:
        """Rounds in which the learning rate falls to 0. None: training has to end."""
        decay = self.settings.average**STEPS_PER_ROUND
        for i in range(n_rounds):
            found = self._round(course.state, self._rates(rate, i, n_rounds))
            if found is None:
                warn_user(
                    f"training diverged in round {self.n_rounds + 1}: a loss or its gradient was not finite on every worker; "
                    "the best parameters were kept",
                    ConvergenceWarning,
                )
                return None
            state, train_nll = found
            average = (decay * course.average + (1 - decay) * state[0]).astype(state.dtype)
            course = _Course(state, average)
            if self._ends(average, train_nll, watch):
                return None
        return course

    def _rates(self, rate: float, i: int, n_rounds: int) -> Floats:
        """The learning rates of the steps of round i of a cycle."""
        steps = i * STEPS_PER_ROUND + np.arange(STEPS_PER_ROUND)
        rates = np.full(STEPS_PER_ROUND, float(rate))
        if self.settings.schedule == "cosine":
            rates *= (1 + np.cos(np.pi * (steps + 0.5) / (n_rounds * STEPS_PER_ROUND))) / 2
        warm = (self.n_steps + np.arange(STEPS_PER_ROUND) + 1) / WARMUP
        floored: Floats = np.maximum(rates * np.minimum(1, warm), np.finfo(np.float32).tiny)
        return floored

    def _round(self, state: Floats, rates: Floats) -> tuple[Floats, float] | None:
        """The average of what the workers' steps give, and their training NLL. None if none of them is finite."""
        chosen = self.rng.choice(len(self.shards), self.width, p=self.counts / self.counts.sum())
        seeds = self.rng.integers(2**63, size=self.width).tolist()
        task, shared = delayed(self.task, traverse=False), delayed(state, traverse=False)
        steps = delayed(local_steps, pure=False)
        tasks = [
            steps(self.parts[k], self.shards[k], task, shared, self.n_steps, rates, seed) for k, seed in zip(chosen, seeds)
        ]
        found = [one for one in dask.compute(*tasks) if one is not None]
        self.n_steps += STEPS_PER_ROUND
        if not found:
            return None
        states, nlls = zip(*found)
        mean: Any = np.mean(states, axis=0, dtype=np.float64)
        return mean.astype(state.dtype), float(np.mean(nlls))

    def _ends(self, parameters: Floats, train_nll: float, watch: Callback | None) -> bool:
        """Note a round. Whether it is the last one."""
        scores, curves = self._scores(parameters), self.history
        nlls = train_nll + self.shift, float(self.shift - scores.mean())
        for curve, nll in zip(("train_nll", "validation_nll"), nlls):
            curves[curve].append(nll)
        if scores.mean() > self.best_scores.mean():
            self.best, self.best_scores, self.best_round = parameters, scores, self.n_rounds
        patience = self.settings.n_iter_no_change
        is_over = (patience is not None and self.n_rounds - self.best_round >= patience) or time.monotonic() > self.end
        return (watch is not None and wants_stop(watch, self.n_rounds, *nlls)) or is_over

    def _scores(self, parameters: Floats) -> Floats:
        """Log-densities of the standardised held-out rows."""
        self.task.flow.parameters[:] = parameters
        with np.errstate(invalid="ignore"):  # for rows without a density
            scores = self.task.flow.log_prob(self.y).astype(np.float64)
        return np.where(np.isfinite(scores), scores, LOWEST)

    def fitted_attributes(self) -> dict[str, Any]:
        """What the model keeps of the rounds."""
        curves: dict[str, Any] = {name: np.array(curve) for name, curve in self.history.items()}
        return {
            "flow_": self.task.whole_flow(self.best),
            "history_": curves | {"validation_epoch": np.arange(1, self.n_rounds + 1)},
            "n_iter_": self.n_rounds,
            "best_iter_": self.best_round,
        }


def _partitions(X: Any, seed: int) -> tuple[list[Any], list[Shard]]:
    """The partitions of X that have rows, as tasks of their own."""
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, D), got {X.shape}")
    if not isinstance(X, dask.array.Array):
        parts = X.to_delayed()
        counts = list(dask.compute(*[delayed(len)(part) for part in parts]))
    else:
        X = X.rechunk({1: -1})
        parts, counts = X.to_delayed().ravel().tolist(), list(X.chunks[0])
        if np.isnan(counts).any():
            counts = list(dask.compute(*[delayed(len)(part) for part in parts]))
    seeds = draw_seeds(np.random.SeedSequence(seed), len(parts))
    found = [
        (part, Shard(int(count), one, int(first)))
        for part, count, first, one in zip(parts, counts, np.cumsum(counts) - counts, seeds)
        if count
    ]
    if not found:
        raise ValueError("X has 0 sample(s) while a minimum of 2 is required.")
    return [part for part, _ in found], [shard for _, shard in found]


def _rows_between(
    X: Any, parts: list[Any], shards: list[Shard], low: float, high: float, checked: FloatDType | None = None
) -> Any:
    """The rows with keys in [low, high), in the memory of the caller. All are checked if a dtype is given."""
    take = delayed(some_rows)
    found = dask.compute(*[take(part, shard, low, high, checked) for part, shard in zip(parts, shards)])
    if isinstance(X, dask.array.Array):
        return np.concatenate(found)
    import pandas

    return pandas.concat(found)


def _refuse_what_needs_all_rows(settings: Settings, X: Any) -> None:
    """Raise a ValueError for what is fitted to all rows at once, when there are more rows than for that."""
    table = np.empty((0, X.shape[1])) if isinstance(X, dask.array.Array) else X._meta
    declared = Declared.of(settings.support, feature_names(table), table)
    kinds = () if declared is None else declared.of_all(table.shape[1])
    reasons = {
        "validation_fraction must not be None": settings.validation_fraction is None,
        "n_models must be 1": settings.n_models > 1,
        "missing must be 'error'": settings.missing != "error",
        "warm_start must be False": settings.warm_start,
        "no column may be a category": any(isinstance(kind, Category) for kind in kinds),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(f"{reason} for an X of Dask with more than {SAMPLE_ROWS} rows")


def _count_threads() -> int:
    """The number of tasks that run at the same time."""
    try:
        from distributed import get_client

        return sum(get_client().nthreads().values())
    except (ImportError, ValueError):  # no client: the threads of this process
        import os

        return os.cpu_count() or 1
