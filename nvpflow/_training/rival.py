"""The rival of a conditional flow: one whose base depends on the context."""

from __future__ import annotations

import numpy as np

from nvpflow._training.build import new_flow
from nvpflow._training.conditional_mixture import find_conditional_mixture
from nvpflow._training.limit import Limit
from nvpflow._training.search import with_candidate
from nvpflow._training.start import Start
from nvpflow._training.statistics import mean_and_error, moments
from nvpflow._typing import Floats
from nvpflow._warnings import kept_warnings

__all__ = ["adopt_better_rival"]

# The share of a fit's epochs for a rival. Layers over a good base need few. With a quarter they came to fit the held-out
# samples: rivals were chosen that were up to 0.5 nats worse on others.
SHARE = 0.1
# A rival that is this many standard errors behind before its layers are trained seldom catches up.
FAR_BEHIND = 2.0
# The least standard deviation that a regression leaves, in its own units.
LEAST_LEFT = 0.5


def adopt_better_rival(start: Start, seed: int, limit: Limit) -> None:
    """Replace flow and base of a trained start by those of its rival, if these are more likely on held-out samples.

    Both are compared as trained and judged: with their layers, or with the base that is kept without them. Their bases say
    little: layers that read the context gain up to a nat over a mixture of the samples alone, and a tenth of that over one
    with the context. The rival's base has to be better than the other base by a standard error. A second such margin here, or
    half of it, missed good rivals: a gap of 0.13 instead of 0.10.

    Parameters
    ----------
    start : Start
        Trained and judged. It stays as it is without a context, held-out samples or a mixture as its base.
    seed : int
        For the training of the rival.
    limit : Limit
    """
    training, held_out = start.training, start.validation
    if training.context is None or start.mixture is None or held_out is None or _is_determined(start):
        return
    base = find_conditional_mixture(start.mixture, training, held_out, start.seed)
    if base is None:
        return
    flow = new_flow(start.settings, training, start.seed, base)
    rival = Start(start.settings, training, held_out, start.units, flow, base, start.seed, SHARE)
    rival.log_slopes, rival.blocks = start.log_slopes, start.blocks
    log_prob = start.log_prob_of_kept()
    gain, error = mean_and_error(_gain(rival, log_prob), held_out.weight)
    if gain < -FAR_BEHIND * error:
        return
    with kept_warnings():
        rival.run(seed, None, limit)
    rival.judge_layers()
    is_better = mean_and_error(_gain(rival, log_prob), held_out.weight)[0] > 0
    if start.search is not None:
        words = "flow over a mixture" if rival.best_iter else "mixture"
        name = f"{words} of {base.n_components} given the context"
        start.search = with_candidate(start.search, name, rival.score(rival.log_prob_of_kept()), is_better)
    if is_better:
        start.flow, start.base, start.best_iter = rival.flow, rival.base, 0


def _gain(rival: Start, log_prob: Floats) -> Floats:
    """The gain in log-density of each held-out sample over `log_prob`."""
    with np.errstate(invalid="ignore"):  # for samples without a density
        gain: Floats = rival.log_prob_of_kept() - log_prob
    return gain


def _is_determined(start: Start) -> bool:
    """Whether the regression leaves only rounding errors of a column, which are others in the units of the data."""
    left = moments(start.training.x, start.training.weight)[1]  # 1, unless the units had to stay above the resolution
    return start.units.regression is not None and bool((left < LEAST_LEFT).any())
