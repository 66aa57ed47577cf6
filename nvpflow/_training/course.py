"""The course of a fit over a mixture without a given number of epochs: cycles of training, each twice as long as the last.

In a cycle the learning rate falls from its full value to 0 along a cosine, so that what held-out samples judge after it is
finished, not half-way: Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts". Training ends
when a cycle has gained too little, for itself or to reach mixtures that have no layers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.statistics import mean_and_error
from nvpflow._typing import Floats

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings

__all__ = [
    "EARLY",
    "EARLY_OF_REFIT",
    "FIRST_CYCLE",
    "FIRST_OF_REFIT",
    "LAST_CYCLE",
    "LEFT_OF_REFIT",
    "MANY_SAMPLES",
    "STOPPED",
    "Contest",
    "cycle_ends",
    "has_course",
    "rates_to_try",
]

# Learning rates that are tried for the first cycle. The larger one won at 10,000 samples of margins and copulas (a gap of 0.12
# instead of 0.15 after as many steps), the smaller one at 1000 samples of a checkerboard (0.13 instead of 0.19).
RATES = (1e-3, 3e-3)
# With fewer training samples than this, those that are held out cannot tell, and only the first one is tried.
FEW_TO_TELL = 500
# Steps of the first cycle. It is as short as one that still tells which rate is better. Where mixtures without layers were
# better in a fit before, a shorter one tells whether layers gain at all, EARLY_OF_REFIT cycles count as early, and only
# LEFT_OF_REFIT of those that are left count. Refits of 2000 samples in four columns took 0.36 (two clusters) and 0.6 (curved)
# of the time of new fits. With only one cycle left to count it was 0.3, but layers that were 0.1 nats better on a
# checkerboard were never found again. The cycles of trained layers also begin with the shorter one: 20 refits to samples of a
# Rosenbrock density that shrinks took 0.4 of the time of a fixed number of steps, at 0.007 nats less. Over N(0, I), where
# no mixture has moved with the samples, they lost 0.04 nats and take the fixed number.
FIRST_CYCLE, FIRST_OF_REFIT, GROWTH = 150, 50, 2
EARLY_OF_REFIT, LEFT_OF_REFIT = 2, 2
# Otherwise the first cycle is early: it says little about later ones, which are longer.
EARLY = 1
# Steps of all cycles, which together take less than two seconds of one core for any number of parameters.
MOST_STEPS, STEPS_TIMES_PARAMETERS, LEAST_STEPS = 5000, 90_000_000, 480
# Between these numbers of training samples the steps grow with the square root, since there is more to learn.
FEW_SAMPLES, MANY_SAMPLES = 10_000, 300_000
# A cycle has to gain this many standard errors for another one to follow, and after early ones so many nats: of many samples
# the standard error is so small that cycles of twice the time each went on for gains of 0.001.
LEAST_GAIN, LEAST_NATS = 0.5, 0.002
# Layers are taken to be out of reach if they would not lead mixtures by a standard error were each of the cycles that are
# left to gain so many times as much as the last one: more after early cycles. In 20 fits to 10,000 samples of a checkerboard,
# whose layers gain 0.05 nats, 1.6 were needed after the first cycle and 0.3 after the second.
LEAST_LEAD, MOST_GAIN, MOST_GAIN_EARLY = 1.0, 0.75, 2.5
# Why training has ended, as `search_` says it.
NO_GAIN, OUT_OF_REACH = "until a cycle gained too little", "until mixtures were out of reach"
LAST_CYCLE, STOPPED = "until its last cycle", "until it was stopped"


def has_course(settings: Settings) -> bool:
    """Whether the length of training and its schedule are left to the estimator."""
    return (
        settings.max_iter is None
        and settings.n_iter_no_change is None
        and settings.schedule == "cosine"
        and settings.warmup < 1
    )


def rates_to_try(settings: Settings, n: int) -> tuple[float | None, ...]:
    """The learning rates to try for n training samples. None: a default."""
    if settings.learning_rate is not None or not has_course(settings):
        return (None,)
    return RATES if n >= FEW_TO_TELL else RATES[:1]


def cycle_ends(n: int, batch: int, n_parameters: int, first: int = FIRST_CYCLE) -> list[int]:
    """The epochs at which cycles end, for n training samples, `batch` of them a step, and so many steps of the first cycle."""
    most = min(MOST_STEPS, max(LEAST_STEPS, STEPS_TIMES_PARAMETERS // max(1, n_parameters)))
    most = round(most * math.sqrt(min(max(n, FEW_SAMPLES), MANY_SAMPLES) / FEW_SAMPLES))
    length = max(1, round(first * batch / n))
    ends = [length]
    while (ends[-1] + GROWTH * length) * n <= most * batch:
        length *= GROWTH
        ends.append(ends[-1] + length)
    return ends


class Contest:
    """Decides after every cycle whether another one may pay, or why not.

    Parameters
    ----------
    validation : Data
    log_prob : ndarray, shape (m,)
        Log-density of the validation samples by the flow before it is trained, in nats.
    to_beat : ndarray, shape (m,), or None
        That by mixtures without layers, if these compete.
    n_early : int
        The number of cycles after which much may still be gained.
    """

    def __init__(self, validation: Data, log_prob: Floats, to_beat: Floats | None, n_early: int = 0) -> None:
        self.weight, self.before, self.to_beat, self.n_early = validation.weight, log_prob, to_beat, n_early

    def end(self, log_prob: Floats, n_left: int) -> str:
        """Why to end with a flow that now has this log-density: empty if up to `n_left` more cycles may pay."""
        with np.errstate(invalid="ignore"):  # for samples without a density
            gain, error = mean_and_error(log_prob - self.before, self.weight)
            if self.to_beat is None:
                lead, error_of_lead = math.inf, 0.0
            else:
                lead, error_of_lead = mean_and_error(log_prob - self.to_beat, self.weight)
        is_early = self.n_early > 0
        most_left = (MOST_GAIN_EARLY if is_early else MOST_GAIN) * n_left * gain
        self.before, self.n_early = log_prob, self.n_early - 1
        if not gain > max(LEAST_GAIN * error, 0.0 if is_early else LEAST_NATS):
            return NO_GAIN
        return "" if lead + most_left > LEAST_LEAD * error_of_lead else OUT_OF_REACH
