"""The training of `FlowDensity.fit`: split and standardise the samples, try starts, train the best one, judge its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._training.build import new_flow, reads, whole_flow
from nvpflow._training.context import ContextScaler
from nvpflow._training.course import rates_to_try
from nvpflow._training.dataset import Data
from nvpflow._training.defaults import base_of
from nvpflow._training.degenerate import with_narrow_columns
from nvpflow._training.heavy_tails import STUDENT_T, heavy_tailed_units, student_t_of
from nvpflow._training.history import validated
from nvpflow._training.lattice_search import search_lattices, spread_given_context
from nvpflow._training.limit import Limit
from nvpflow._training.margin_search import search_margins
from nvpflow._training.margins import Margins
from nvpflow._training.mixture_search import MOST_SEARCHES, fit_mixture
from nvpflow._training.outdone import Outdone, is_outdone
from nvpflow._training.resolution import MANY_ROWS, are_wide, is_lost_behind, warn_of_lost_resolution, warn_of_wide
from nvpflow._training.rival import adopt_better_rival
from nvpflow._training.search import mixtures_of
from nvpflow._training.settings import Settings
from nvpflow._training.split import split
from nvpflow._training.standardize import Units
from nvpflow._training.start import Start
from nvpflow._training.statistics import effective_size
from nvpflow._training.warm_start import find_warm_start
from nvpflow._typing import Bools, Callback, Floats
from nvpflow._validation.arguments import draw_seeds
from nvpflow.mixture_base import MixtureBase
from nvpflow.progress import progress

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.supports._fitted import Supports

SEARCHES_BESIDE_STACK = 2

__all__ = ["learned", "make_starts", "train", "train_best", "watched"]


def train(
    settings: Settings,
    data: Data,
    fitted: dict[str, Any],
    callback: Callback | None = None,
    before: FlowDensity | None = None,
    supports: Supports | None = None,
    blocks: tuple[int, ...] = (),
    incomplete: Bools | None = None,
    of_table: bool = False,
) -> None:
    """Train a flow.

    Parameters
    ----------
    settings : Settings
    data : Data, n >= 2
        Finite in the dtype of the settings.
    fitted : dict
        Receives the fitted attributes, even if training is interrupted.
    callback : callable, optional
        As in `FlowDensity.fit`.
    before : FlowDensity, optional
        The fitted model to start from. It is not changed.
    supports : Supports, optional
        Of the columns of the data. Default: all are real.
    blocks : tuple of int
        The sizes of blocks of indicators, numbers 0 and 1 that sum to 1, which are the last columns of the context.
    incomplete : ndarray of bool, shape (n,), optional
        The rows in which drawn numbers stand for missing cells. They are held out last.
    of_table : bool
        Whether the context is what a flow reads of categories of the table itself.
    """
    init_seed, split_seed, shuffle_seed = draw_seeds(settings.random_state, 3)
    limit = Limit(settings.time_limit)
    training, validation = split(settings, data, split_seed, incomplete)
    scaler = ContextScaler(training, settings.standardize, settings.dtype, data.context, sum(blocks))
    starts = make_starts(settings, training, validation, scaler, init_seed, before, supports, blocks, of_table)
    wide = are_wide(data.x, settings.dtype)
    near = np.zeros(len(wide), bool) if supports is None else supports.come_near_upper_bounds(data.x, settings.dtype)
    may_lose = bool((wide | near).any())
    some = validation.rows(np.arange(min(MANY_ROWS, len(validation.x)))) if validation and may_lose else None
    del training, validation  # the starts have them in the units of training
    try:
        with watched(callback, starts[0].max_iter, settings.verbose) as watch:
            train_best(starts, watch, shuffle_seed, limit, with_rival=before is None)
    finally:
        fitted |= learned(settings, starts, scaler, supports)  # even if interrupted
    if some is not None and "flow_" in fitted:
        inputs = reads(fitted, some, marks=False)
        expected = min(starts, key=Start.validation_nll).first_log_probs_of_kept(len(some.x))
        found = fitted["flow_"].log_prob(inputs.x, inputs.context)
        warn_of_lost_resolution(expected, found, wide, near, settings.dtype)


def make_starts(
    settings: Settings,
    training: Data,
    validation: Data | None,
    scaler: ContextScaler,
    seed: int,
    before: FlowDensity | None = None,
    supports: Supports | None = None,
    blocks: tuple[int, ...] = (),
    of_table: bool = False,
) -> list[Start]:
    """Create the starts of one flow: new ones, or a warm start from a fitted model with one flow."""
    log_slopes = np.zeros(len(training.x)), np.zeros(0 if validation is None else len(validation.x))
    if supports is not None:
        log_slopes = (supports.log_slopes(training), supports.log_slopes(validation) if validation else np.empty(0))
        training, validation = supports.to_reals(training), validation and supports.to_reals(validation)
    training, validation = with_narrow_columns(settings, training, validation, seed)
    training, validation = scaler.transform(training), validation and scaler.transform(validation)
    if before is None:
        may_bend = None if supports is None else supports.may_have_margins
        starts = _new_starts(settings, training, validation, seed, blocks, may_bend, of_table)
    else:
        units, flow, mixture = find_warm_start(before, settings, training, scaler, seed, blocks)
        inner = _standardized(units, training), validation and _standardized(units, validation)
        starts = [Start(settings, *inner, units, flow, mixture, seed)]
        if mixture is None and isinstance(flow.base, MixtureBase):
            starts[0].continue_layers()
        elif mixture is not None and training.context is None:
            starts[0].take_known(mixtures_of(getattr(before, "search_", None), mixture.n_components))
        starts[0].shorten()
    for start in starts:
        start.blocks, start.of_table = blocks, of_table
        of_slower = start.slower and start.slower.log_slopes
        start.log_slopes = of_slower or _log_slopes(start.units, log_slopes, training, validation)
        if supports is not None:
            start.supports = supports
            start.units.origin = supports.origin_within(start.units.origin)
    return starts


def _log_slopes(
    units: Units, of_supports: tuple[Floats, Floats], training: Data, validation: Data | None
) -> tuple[Floats, Floats]:
    """Those of supports and margins together. Without margins nothing is copied: zeros that nobody writes take no memory."""
    if units.margins is None:
        return of_supports
    of_validation = of_supports[1] if validation is None else of_supports[1] + units.log_slopes(validation.x)
    return of_supports[0] + units.log_slopes(training.x), of_validation


def learned(
    settings: Settings, starts: list[Start], scaler: ContextScaler, supports: Supports | None = None
) -> dict[str, Any]:
    """The fitted attributes, from the best start. None if no epoch was completed."""
    best = min(starts, key=Start.validation_nll)
    if not best.history:
        return {}
    origin: Floats = np.zeros(best.flow.data_dim) + best.units.origin
    found: dict[str, Any] = {} if best.search is None else {"search_": best.search}
    found |= {"origin_": origin} if supports is None else {"origin_": origin + supports.origin, "_supports": supports}
    return found | {
        "flow_": whole_flow(settings, best.flow.layers, best.base_with_floor(), best.units, scaler, supports),
        **scaler.fitted_attributes(),
        "n_iter_": len(best.history["train_nll"]),
        "best_iter_": best.best_iter,
        "history_": validated(best.history),
    }


def _new_starts(
    settings: Settings,
    training: Data,
    validation: Data | None,
    seed: int,
    blocks: tuple[int, ...],
    may_bend: Bools | None,
    of_table: bool,
) -> list[Start]:
    """Create the starts. There is only one without held-out samples, which would choose between several.

    `may_bend`: the columns (D,) that may have margins. None: all.
    """
    base, starts, margins = base_of(settings, training, validation is not None, of_table), [], None
    if settings.standardize and validation is not None:
        if base == "mixture":
            margins = _margins(settings, training, seed, blocks, may_bend)
        elif settings.base == "auto":  # many samples share a value, given a context
            margins = spread_given_context(training, seed, settings.dtype, blocks, may_bend)
            base = base if margins is None else "mixture"
    others = draw_seeds(np.random.SeedSequence(seed), settings.n_init - 1) if validation else []
    for i, start_seed in enumerate([seed, *others]):
        # Over N(0, I), some tables are better fitted with whitening and others without: starts alternate.
        whitens, peaks = base == "normal" and i % 2 == 1, of_table and base == "mixture"
        units = Units.of(training, settings.standardize, whitens, settings.dtype, 0, margins, peaks)
        if base == STUDENT_T:
            heavy_tailed_units(units, training)
        inner = _standardized(units, training)
        mixture = _mixture(inner, start_seed, validation is not None) if base == "mixture" else None
        held_out = validation and _standardized(units, validation)
        slower = None
        for rate in _rates(settings, training, held_out, mixture):
            if slower is not None:
                flow = slower.flow.copy()
            else:
                student = student_t_of(inner.x, inner.weight) if base == STUDENT_T else None
                flow = new_flow(settings, inner, start_seed, student or (mixture and mixture.copy()), effective_size(inner))
            slower = Start(settings, inner, held_out, units, flow, mixture, start_seed, rate=rate, slower=slower)
            if training.context is not None:  # which the rival reads
                slower.given = training, validation
            starts.append(slower)
    return starts


def _margins(settings: Settings, data: Data, seed: int, blocks: tuple[int, ...], may_bend: Bools | None) -> Margins | None:
    """Margins of the columns that gain by them, but for those that the dtype does not resolve behind them."""
    dtype = settings.dtype

    def search(among: Bools | None) -> Margins | None:
        found = search_lattices(data, seed, dtype, blocks, among, settings.spread)
        return found or search_margins(data, seed, dtype, blocks, among)

    margins, wide = search(may_bend), are_wide(data.x, dtype)
    if margins is None or not (wide & margins.columns).any() or not is_lost_behind(margins, data, dtype, seed):
        return margins
    warn_of_wide(wide, dtype, "leaves them without the shape that fits them best")
    return search(~wide if may_bend is None else may_bend & ~wide)


def _mixture(data: Data, seed: int, has_rival: bool) -> MixtureBase:
    """The mixture below the layers. Two searches are as good as ten if an average of mixtures stands in for a bad one."""
    has_stack = has_rival and data.context is None
    return fit_mixture(data.x, data.weight, seed, SEARCHES_BESIDE_STACK if has_stack else MOST_SEARCHES)


def _rates(settings: Settings, training: Data, held_out: Data | None, mixture: MixtureBase | None) -> tuple[float | None, ...]:
    """The learning rates to try. None: a default."""
    has_cycles = mixture is not None and held_out is not None and training.context is None
    return rates_to_try(settings, len(training.x)) if has_cycles else (None,)


def _standardized(units: Units, data: Data) -> Data:
    return data._replace(x=units.standardize(data.x, data.context))


def train_best(starts: list[Start], watch: Callback | None, seed: int, limit: Limit, with_rival: bool) -> None:
    """Try all starts briefly, train the best one to the end, and judge its layers.

    `with_rival`: a better rival replaces it. Else it is a warm start, and Outdone says that it should have been a new one.
    """
    if len(starts) > 1:
        for start in starts:
            if start.slower is None or start.slower.pays:
                start.try_out(seed, limit)
    best = min(starts, key=Start.validation_nll)
    if watch is None or not best.replay(watch):
        best.train(seed, watch, limit)
    best.losers = [start for start in starts if start is not best and start.mixture and start.n_epochs]
    best.judge_layers()
    if with_rival:
        adopt_better_rival(best)
    elif not best.was_stopped and is_outdone(best):
        raise Outdone


@contextmanager
def watched(callback: Callback | None, max_iter: int, verbose: int) -> Iterator[Callback | None]:
    """The user's callback. If `verbose`, progress is shown before each call."""
    with progress(max_iter, verbose) as show:

        def watch(epoch: int, train_nll: float, validation_nll: float) -> object:
            show(epoch, train_nll, validation_nll)
            return callback and callback(epoch, train_nll, validation_nll)

        yield watch if verbose else callback
