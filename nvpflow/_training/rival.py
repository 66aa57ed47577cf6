"""The rival of a conditional flow: one whose base depends on the context."""

from __future__ import annotations

import warnings

import numpy as np

from nvpflow._training.build import new_flow
from nvpflow._training.conditional_mixture import find_conditional_mixture
from nvpflow._training.start import Start
from nvpflow._training.statistics import mean_and_error
from nvpflow.flow import ConvergenceWarning

__all__ = ["adopt_better", "train_rival"]

# The share of a fit's epochs for a rival. Layers over a good base need few. With a quarter they came to fit the held-out
# samples: rivals were chosen that were up to 0.5 nats worse on others.
SHARE = 0.1


def train_rival(start: Start, seed: int) -> Start | None:
    """Train layers over a mixture of context and samples, given the context, and judge them.

    Parameters
    ----------
    start : Start
        Whose base is a mixture of the samples alone, after a regression on the context.
    seed : int

    Returns
    -------
    Start or None
        None if there is no context, no mixture, or no held-out sample; or if no mixture with the context is clearly better.
    """
    training, held_out = start.training, start.validation
    if training.context is None or start.mixture is None or held_out is None:
        return None
    base = find_conditional_mixture(start.mixture, training, held_out, start.seed)
    if base is None:
        return None
    flow = new_flow(start.settings, training, start.seed, base)
    rival = Start(start.settings, training, held_out, start.units, flow, base, start.seed, SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        rival.run(seed, None)
    rival.judge_layers()
    return rival


def adopt_better(start: Start, rival: Start) -> None:
    """Replace flow and base of a trained start by those of the rival, if these are more likely on held-out samples.

    Both are compared as trained and judged. The starts say little: layers that read the context gain up to a nat over a mixture
    of the samples alone, and a tenth of that over a mixture with the context. The rival was already better by a standard error
    than the base of the other one. A second such margin here, or half of it, missed good rivals: 0.13 instead of 0.10 nats.
    """
    held_out = start.validation
    assert held_out is not None
    with np.errstate(invalid="ignore"):  # for samples without a density
        gain = rival.flow.log_prob(*held_out[:2]).astype(np.float64) - start.flow.log_prob(*held_out[:2])
    if mean_and_error(gain, held_out)[0] > 0:
        start.flow, start.base, start.best_iter = rival.flow, rival.base, 0
