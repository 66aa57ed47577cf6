"""The training of an ensemble: each member as one flow, but with held-out samples and a start of its own.

All members read the same inputs: one origin, and one origin, range and unit of the context, come from all samples.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._training.context import ContextScaler
from nvpflow._training.dataset import Data
from nvpflow._training.fit import learned, make_starts, train_best, watched
from nvpflow._training.history import joined
from nvpflow._training.limit import Limit
from nvpflow._training.origin import origin_of
from nvpflow._training.search import joined as joined_searches
from nvpflow._training.settings import Settings
from nvpflow._training.split import split_for_members
from nvpflow._training.start import Start
from nvpflow._training.statistics import location_and_scale
from nvpflow._training.threads import run_in_threads
from nvpflow._typing import Callback, Floats
from nvpflow._validation.arguments import count_threads, draw_seeds
from nvpflow.ensemble import FlowEnsemble

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.supports._fitted import Supports

__all__ = ["check_members", "train_members"]


def train_members(
    settings: Settings,
    data: Sequence[Data],
    fitted: dict[str, Any],
    callback: Callback | None = None,
    before: FlowDensity | None = None,
    supports: Supports | None = None,
    blocks: tuple[int, ...] = (),
    of_table: bool = False,
) -> None:
    """Train the members of an ensemble. The parameters are those of `train`, but for the data: those of each member.

    They are the same but for what was drawn for missing cells.

    A callback is called in the calling thread, so members are then trained one after the other. The results are the same.
    """
    n_models = settings.n_models
    split_seed, *seeds = draw_seeds(settings.random_state, 1 + 2 * n_models)
    limit = Limit(settings.time_limit)
    scaler = ContextScaler(data[0], settings.standardize, settings.dtype, n_indicators=sum(blocks))
    splits = [split_for_members(settings, one, split_seed, n_models)[k] for k, one in enumerate(data)]
    n_jobs = count_threads(settings.n_jobs)
    n_threads = 1 if callback else min(n_jobs, n_models)
    own = replace(settings, n_jobs=n_jobs // n_threads)
    members = [
        _Member(own, *splits[k], scaler, supports, blocks, of_table, *seeds[2 * k : 2 * k + 2]) for k in range(n_models)
    ]
    origin, models = _origin(settings, data[0], supports), _models_of(before, n_models)
    run = functools.partial(run_in_threads, n_threads=n_threads, interrupt=limit.interrupt)
    run(functools.partial(member.begin, origin, model) for member, model in zip(members, models))
    try:
        with watched(callback, sum(member.max_iter for member in members), settings.verbose) as watch:
            counted = watch and _Counted(watch)
            run(
                functools.partial(member.train, counted, functools.partial(_share, limit, n_models - k, n_threads))
                for k, member in enumerate(members)
            )
    finally:
        parts = [part for part in (member.learned() for member in members) if part]
        if parts:  # even if interrupted
            fitted |= _together(parts, settings)


def check_members(before: FlowDensity, n_models: int) -> None:
    """Raise a ValueError if a fitted model has more flows than those to train from it."""
    flow = before._fitted_flow()
    n = len(flow) if isinstance(flow, FlowEnsemble) else 1
    if n > n_models:
        raise ValueError(f"warm_start needs n_models to be at least that of the fit before, got n_models {n} -> {n_models}")


def _models_of(before: FlowDensity | None, n_models: int) -> list[FlowDensity | None]:
    """For each member the fitted model to start from, with one flow; None for new members."""
    if before is None:
        return [None] * n_models
    flows = before.flow_ if isinstance(before.flow_, FlowEnsemble) else [before.flow_]
    models: list[FlowDensity | None] = []
    for flow in flows:
        model = copy.copy(before)
        model.flow_ = flow
        models.append(model)
    return models + [None] * (n_models - len(models))


def _origin(settings: Settings, data: Data, supports: Supports | None) -> Floats | float:
    """What is subtracted from all samples, as training sees them, before a member reads them."""
    if not settings.standardize:
        return 0.0
    location, deviation, _ = location_and_scale(data.x if supports is None else supports.to_reals(data).x, data.weight)
    origin = origin_of(location, deviation, settings.dtype)
    return origin if supports is None else supports.origin_within(origin)


def _share(limit: Limit, n_left: int, n_threads: int) -> Limit:
    """The limit of the next of `n_left` members: its share of the time that is left, if all have one."""
    rounds = -(-n_left // n_threads)
    return limit.share(1 / rounds, in_thread=n_threads > 1)


class _Member:
    """The training of one member. `training` and `validation` are in their own units."""

    def __init__(
        self,
        settings: Settings,
        training: Data,
        validation: Data | None,
        scaler: ContextScaler,
        supports: Supports | None,
        blocks: tuple[int, ...],
        of_table: bool,
        seed: int,
        shuffle_seed: int,
    ) -> None:
        self.settings, self.training, self.validation, self.scaler = settings, training, validation, scaler
        self.seed, self.shuffle_seed, self.supports = seed, shuffle_seed, supports
        self.blocks, self.of_table = blocks, of_table
        self.starts: list[Start] = []
        self.is_new = True

    def begin(self, origin: Floats | float, before: FlowDensity | None) -> None:
        parts = self.training, self.validation
        seed, supports, blocks = self.seed, self.supports, self.blocks
        self.starts = make_starts(self.settings, *parts, self.scaler, seed, before, supports, blocks, self.of_table)
        self.is_new = before is None
        for start in self.starts:
            start.units.origin = origin

    @property
    def max_iter(self) -> int:
        return self.starts[0].max_iter

    def train(self, counted: _Counted | None, limit: Callable[[], Limit]) -> None:
        if counted is None:
            train_best(self.starts, None, self.shuffle_seed, limit(), self.is_new)
        elif not counted.stopped:
            train_best(self.starts, counted, self.shuffle_seed, limit(), self.is_new)

    def learned(self) -> dict[str, Any]:
        return learned(self.settings, self.starts, self.scaler, self.supports)


class _Counted:
    """A callback that counts the epochs of all members, and notes when it has stopped one of them: it then stops all."""

    def __init__(self, callback: Callback) -> None:
        self.callback, self.n_epochs, self.stopped = callback, 0, False
        self.lock = threading.Lock()  # of threads that show their progress

    def __call__(self, epoch: int, train_nll: float, validation_nll: float) -> None:
        with self.lock:
            self.n_epochs += 1
            try:
                self.callback(self.n_epochs, train_nll, validation_nll)
            except StopIteration:
                self.stopped = True
                raise


def _together(parts: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """The fitted attributes of the ensemble, from those of its members."""
    ensemble = FlowEnsemble([part["flow_"] for part in parts])
    ensemble.n_jobs = settings.n_jobs
    searches = [part["search_"] for part in parts if "search_" in part]
    found = {"search_": joined_searches(searches)} if len(searches) == len(parts) else {}
    return (
        parts[0]
        | found
        | {
            "flow_": ensemble,
            "n_iter_": sum(part["n_iter_"] for part in parts),
            "best_iter_": np.array([part["best_iter_"] for part in parts]),
            "history_": joined([part["history_"] for part in parts]),
        }
    )
