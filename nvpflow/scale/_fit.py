"""The fit of a density to a source: an ordinary fit to a sample of its rows, refined in passes over all of them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from nvpflow._training.course import MANY_SAMPLES
from nvpflow._training.settings import Settings
from nvpflow._typing import Callback, Floats
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import warn_user
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._first_pass import Drawn, first_pass
from nvpflow.scale._group import Alone, Group
from nvpflow.scale._held_out import HeldOut
from nvpflow.scale._inside import Inside, Training
from nvpflow.scale._layers import Cycles
from nvpflow.scale._mixture import Passes, PassesOfGroup
from nvpflow.supports import Category, Declared

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.scale._source import RowSource

__all__ = ["SAMPLE", "fit_and_draw", "fit_from", "run_passes"]

Model = TypeVar("Model", bound="FlowDensity")
# Rows of the ordinary fit: those up to which its steps grow. With 100,000 of them, fits to 400,000 and 600,000 rows of a
# checkerboard were 0.011 to 0.013 nats worse than in memory, as layers came out of reach in the sample, and took longer.
SAMPLE = MANY_SAMPLES
SHARE_OF_SAMPLE = 0.5  # of a time limit
MOST_WORSE = 2  # passes of a mixture in a row that do not gain on held-out rows


def fit_from(
    model: Model, source: RowSource, group: Group | None = None, *, callback: Callback | None = None, n_sample: int = SAMPLE
) -> Model:
    """Fit a density to all rows of a source, or of the sources of all members of a group.

    One pass counts and checks the rows and draws some at random: up to 100,000 that are held out, and `n_sample` others. An
    ordinary fit to these chooses base, margins, layers and all else. What it kept is then refined on all rows but those held
    out: a mixture by expectation-maximisation with exact sums, as long as passes gain; trained layers with their base, and new
    layers over a mixture, by steps on shuffled minibatches, in cycles, as long as cycles gain on held-out rows. The
    refined density is kept if it is not worse on the held-out rows. If all rows are no more than `n_sample`, the ordinary
    fit is all there is.

    Parameters
    ----------
    model : FlowDensity
    source : RowSource
        The rows of this member.
    group : Group, optional
        The processes that fit together; each calls this with its own source and equal parameters. Default: this one alone.
    callback : callable, optional
        Of the ordinary fit, as in `FlowDensity.fit`.
    n_sample : int
        Rows of the ordinary fit.

    Returns
    -------
    FlowDensity
        The model itself, with the same bits on every member, and with a dict `refinement_`. Its "kind" is "mixture", "layers"
        or "none"; "n_rows", "n_sample" and "n_held_out" count rows, "n_passes" passes of the mixture over all rows and
        "n_steps" those of the layers. "gain" is the held-out mean log-density of the refined density less that of the
        ordinary fit, in nats, and "error" its standard error; both are 0 if the refined density was not kept.

    Raises
    ------
    OSError, TypeError, ValueError
        As `FlowDensity.fit`, or if the model has parameters that need a table in memory. An earlier fit is unchanged then.
    """
    fit_and_draw(model, source, group, callback=callback, n_sample=n_sample)
    return model


def fit_and_draw(
    model: FlowDensity,
    source: RowSource,
    group: Group | None = None,
    *,
    callback: Callback | None = None,
    n_sample: int = SAMPLE,
) -> Floats:
    """What `fit_from` does. Return the rows (m, D) of the ordinary fit: all of them, or some at random."""
    group = group or Alone()
    settings = model._settings()
    names = source.names
    declared = Declared.of(settings.support, names)
    _check_possible(settings, declared, source.n_features)
    start = time.monotonic()
    (seed,) = group.broadcast(draw_seeds(settings.random_state, 5 + 2 * settings.n_models)[-1:])
    drawn = first_pass(settings, source, group, seed, n_sample, declared)
    twin = _fit_sample(model, source.with_names(drawn.sample), group, callback, drawn.n_rows > len(drawn.sample))
    found: dict[str, Any] = {
        "kind": "none",
        "n_rows": drawn.n_rows,
        "n_sample": len(drawn.sample),
        "n_held_out": len(drawn.held_out),
        "n_passes": 0,
        "n_steps": 0,
        "gain": 0.0,
        "error": 0.0,
    }
    fitted = vars(twin) | {"refinement_": found, "n_samples_seen_": drawn.n_rows, "time_limit": model.time_limit}
    try:
        if drawn.n_rows > len(drawn.sample):
            end = math.inf if settings.time_limit is None else start + settings.time_limit
            fitted["flow_"] = _refined(settings, twin, source, group, drawn, seed, end, found)
    except KeyboardInterrupt:
        model.__dict__ = fitted
        raise
    model.__dict__ = fitted
    return drawn.sample


def _check_possible(settings: Settings, declared: Declared | None, n_features: int) -> None:
    """Raise a ValueError that names a parameter that needs all rows in memory."""
    needs = "a table in memory: fit some of the rows"
    if settings.n_models > 1:
        raise ValueError(f"n_models must be 1 out of core, got {settings.n_models}: an ensemble needs {needs}")
    if settings.batch_size is None:
        raise ValueError(f"batch_size must be a number of rows out of core, got None: steps on all rows need {needs}")
    if declared is None:
        return
    for column, kind in enumerate(declared.of_all(n_features)):
        if isinstance(kind, Category):
            raise ValueError(f"column {declared.label(column)} must hold numbers out of core: a category needs {needs}")


def _fit_sample(model: Model, sample: Any, group: Group, callback: Callback | None, is_refined: bool) -> Model:
    """A copy of the model, fitted to the sample by the first member. All members raise its exception."""
    twin = copy.copy(model)
    twin.__dict__ = vars(model).copy()
    if is_refined and twin.time_limit is not None:
        twin.time_limit = SHARE_OF_SAMPLE * twin.time_limit
    if group.size == 1:
        return twin.fit(sample, callback=callback)
    outcome = group.broadcast(_outcome(lambda: twin.fit(sample, callback=callback)) if group.rank == 0 else None)
    if isinstance(outcome, BaseException):
        raise outcome
    twin.__dict__ = vars(outcome)
    return twin


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # to be raised by every member
        return error


def _refined(
    settings: Settings,
    model: FlowDensity,
    source: RowSource,
    group: Group,
    drawn: Drawn,
    seed: int,
    end: float,
    found: dict[str, Any],
) -> Flow:
    """The flow of the model, refined, or as it is where that is not better."""
    inside = Inside(model, settings)
    training = Training(source, inside, drawn, seed)
    sample = inside.standardize(drawn.sample, seed)
    held_out = HeldOut(inside.standardize(drawn.held_out, seed + 1) if len(drawn.held_out) else drawn.held_out, group)
    before, flow = held_out.log_prob(inside.flow), inside.flow
    kept, n_rows = flow.parameters.copy(), drawn.n_rows - len(drawn.held_out)
    best: Any = model.best_iter_
    if best == 0 and isinstance(flow.base, MixtureBase):
        found["kind"] = "mixture"
        passes = PassesOfGroup(settings, flow.base, sample, model.search_, n_rows, training, group, seed)
        run_passes(passes, flow, held_out, group, end)
        found["n_passes"] = passes.n_passes
    if best > 0 or found["kind"] == "mixture":
        n_own = round(drawn.n_own * n_rows / drawn.n_rows)
        cycles = Cycles(settings, flow, training, n_own, n_rows, group, seed)
        if cycles.run(sample, held_out, end, is_new=found["kind"] == "mixture"):
            found["kind"] = "layers"
        found["n_steps"] = cycles.n_steps
    gain = held_out.gain(held_out.log_prob(flow), before)
    if not (gain.exceeds(0.0) and np.isfinite(flow.parameters).all()):
        flow.parameters[:], gain = kept, gain._replace(mean=0.0, error=0.0)
    found["gain"], found["error"] = gain
    return inside.whole()


def run_passes(passes: Passes, flow: Flow, held_out: HeldOut, group: Group, end: float) -> None:
    """Let the base of the flow be the mixture that is best on the held-out rows, until a time."""
    parameters, best = flow.parameters[flow._base_offset :], held_out.log_prob(flow)
    kept = cast(MixtureBase, flow.base).copy()
    try:
        for over in (passes.over_some, passes.over_all):
            n_worse = 0
            passes.start(kept)
            for mixture in over():
                parameters[:] = mixture.parameters
                now = held_out.log_prob(flow)
                if held_out.gain(now, best).exceeds(0.0):
                    kept, best, n_worse = mixture, now, 0
                else:
                    n_worse += 1
                if group.any(n_worse > MOST_WORSE or time.monotonic() > end):
                    break
    except ValueError as error:
        if "positive definite" not in str(error):
            raise
        warn_user(f"the passes ended early: {error}", ConvergenceWarning)
    parameters[:] = kept.parameters
