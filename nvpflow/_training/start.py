"""One random start of training: a flow and its training state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nvpflow._training.broad import with_floor
from nvpflow._training.callbacks import wants_stop
from nvpflow._training.conditional_stacking import stack_conditional_mixtures
from nvpflow._training.course import (
    EARLY,
    EARLY_OF_REFIT,
    FIRST_CYCLE,
    FIRST_OF_REFIT,
    LAST_CYCLE,
    LEFT_OF_REFIT,
    STOPPED,
    Contest,
    cycle_ends,
    has_course,
)
from nvpflow._training.defaults import option
from nvpflow._training.heavy_tails import student_t_noise
from nvpflow._training.noise import bandwidth
from nvpflow._training.options import TrainingOptions
from nvpflow._training.search import alone, with_candidate
from nvpflow._training.stacking import Stack, stack_mixtures
from nvpflow._training.statistics import effective_size, mean_and_error
from nvpflow._training.tails import Tails
from nvpflow._typing import Callback, Floats, Search
from nvpflow._warnings import kept_warnings
from nvpflow.bases import FittedBase, fitted_base
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.flow import Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.optim import TrainingState
from nvpflow.student_t_base import StudentTBase

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.limit import Limit
    from nvpflow._training.settings import Settings
    from nvpflow._training.standardize import Units
    from nvpflow.supports._fitted import Supports

__all__ = ["Start"]

# For max_iter=None: steps that take less than half a second of one core for any number of parameters, but at least ten passes
# over the samples.
MOST_STEPS, STEPS_TIMES_PARAMETERS, LEAST_STEPS, LEAST_EPOCHS = 4500, 22_000_000, 120, 10
# A warm start without cycles takes this part of the steps. Refits to samples that became narrower from fit to fit (two
# clusters and curved pairs in four and eight columns, one task with a context; normal, heavy-tailed and default bases; 300 to
# 10,000 samples) took 0.27 to 0.75 of the time. Their likelihoods differed by -0.025 to 0.03 nats from those after all steps,
# and by -0.01 to 0.5 from those of new fits. Stopping after 30 epochs without a gain took 0.25 of the time, and lost 0.15 nats
# on curved pairs: validation gets worse before the learning rate falls.
PART_OF_REFIT = 0.25
# Beyond this number of training samples the steps grow with its square root, since there is more to learn. At 100,000 samples
# the gap fell from 0.054 to 0.028 on a checkerboard, from 0.026 to 0.017 on a Swiss roll, from 0.042 to 0.032 on gamma margins
# with a copula; on densities that did not take part in the choice from 0.092 to 0.058 (torus), 0.037 to 0.026 (uniform in
# five dimensions) and 0.157 to 0.132 (bananas in ten). It takes 1.5 to 2 times as long. In proportion to the number of samples
# it would take up to 5 times as long.
FEW_SAMPLES = 10_000
# In a fit, and in a cycle: they take little time, and come close to the best parameters.
VALIDATIONS, VALIDATIONS_OF_CYCLE = 50, 10
TRIAL = 0.1  # the share of a fit before one start is chosen
# Layers must have a higher held-out likelihood than an average of mixtures, by this many standard errors. On densities and
# tables with 50 to 1000 samples, the choice was 0.003 nats worse in the mean than always the better of both. With 0 and 0.5
# errors it was 0.020 and 0.005, with 1.5 to 3 also 0.005. Of few validation samples an error says little: with two errors,
# layers were kept in half as many fits to 50 to 180 samples of 20 densities, and likelihoods rose in 7 of 9 that changed.
LEAST_GAIN, LEAST_GAIN_OF_FEW, FEW_TO_JUDGE = 1.0, 2.0, 40
# Where few rows are complete, those that are held out have weights by which they stand for all, and tell little: with 1.0,
# layers that were 0.05 nats better on a checkerboard were left out in half of the fits.
CLEARLY_LOWER = 2.0


class Start:
    """A flow of standardised samples and its training state.

    Parameters
    ----------
    settings : Settings
    training, validation : Data
        Standardised, with their context. `validation` may be None.
    units : Units
        Of the standardised samples.
    flow : Flow
    mixture : MixtureBase or None
        The base of the flow if its layers are the identity, else None.
    seed : int
        For fits of the mixture.
    rate : float, optional
        The learning rate. Default: that of the settings, or their default for the base.
    slower : Start, optional
        The same start with a smaller rate. If more training of it does not pay, this one is not tried.
    """

    def __init__(
        self,
        settings: Settings,
        training: Data,
        validation: Data | None,
        units: Units,
        flow: Flow,
        mixture: MixtureBase | None,
        seed: int,
        rate: float | None = None,
        slower: Start | None = None,
    ) -> None:
        self.settings, self.units, self.flow = settings, units, flow
        self.base: FittedBase | None = fitted_base(flow.base)
        self.training, self.validation = training, validation
        if isinstance(self.base, StudentTBase):
            self.noise = student_t_noise(settings.noise, training, effective_size(training))
        else:
            self.noise = bandwidth(settings.noise, training, effective_size(training), mixture)
        self.state, self.best_iter = TrainingState(), 0
        # log|det dx/dy|, in nats, of samples x, training and validation, that training sees as y; see `Supports`.
        n_held_out = 0 if validation is None else len(validation.x)
        self.log_slopes: tuple[Floats, Floats] = (np.zeros(len(training.x)), np.zeros(n_held_out))
        self.supports: Supports | None = None  # of the columns, if any has one
        self.blocks: tuple[int, ...] = ()  # sizes of the blocks of indicators at the end of the context
        self.of_table = False  # whether the context is what a flow reads of categories of the table itself
        self.history: dict[str, Floats] = {}
        self.search: Search | None = None
        self.rate = option(settings, "learning_rate", self._over_full_mixture()) if rate is None else rate
        self.is_refit = False  # of trained layers to new samples
        self.cycles = self._cycles(mixture)
        self.max_iter = self.cycles[-1] if self.cycles else self._max_iter()
        self.ended, self.was_stopped = "", False  # why training in cycles has ended; whether the callback stopped it
        self.slower = slower
        self.known: set[str] | None = None  # mixtures that are good, from a fit before: only these compete
        self.losers: list[Start] = []  # other starts that were tried, for the record of densities that competed
        self._contest: Contest | None = None
        self._without_layers: Floats | None = None
        self._gain = 0.0  # of an average of mixtures beside those that had not seen the validation samples
        self.mixture, self.seed = mixture and mixture.copy(), seed
        self.stack: Stack | None = None  # of mixtures, which competes with the flow
        self.given: tuple[Data, Data | None] | None = None  # training and validation, if known before they were standardised
        if self.base is not None:
            self.before = flow.parameters.copy()

    def _max_iter(self) -> int:
        """The number of epochs."""
        settings, n = self.settings, len(self.training.x)
        if settings.max_iter is not None:
            return settings.max_iter
        steps = min(MOST_STEPS, max(LEAST_STEPS, STEPS_TIMES_PARAMETERS // max(1, self.flow.n_parameters)))
        return max(LEAST_EPOCHS, round(steps * math.sqrt(max(1, n / FEW_SAMPLES)) * settings.batch_of(n) / n))

    def shorten(self) -> None:
        """Train for a part of the epochs, if their number is left to the estimator: the flow is good from a fit before."""
        if not self.cycles and self.validation is not None and has_course(self.settings):
            self.max_iter = max(LEAST_EPOCHS, round(PART_OF_REFIT * self.max_iter))

    def take_known(self, names: set[str] | None) -> None:
        """Let only these mixtures compete, which were better than layers in a fit before. None: all."""
        self.known = names
        if names:
            self._begin_with_short_cycle()

    def continue_layers(self) -> None:
        """Train the layers of the last fit in cycles, as long as these gain."""
        self.is_refit = True
        self._begin_with_short_cycle()

    def _begin_with_short_cycle(self) -> None:
        self.cycles = self._cycles(self.mixture, FIRST_OF_REFIT)
        if self.cycles:
            self.max_iter = self.cycles[-1]

    def _cycles(self, mixture: MixtureBase | None, first: int = FIRST_CYCLE) -> list[int]:
        """The epochs at which cycles end, with so many steps in the first. Without any, the number of epochs is fixed."""
        has_start = mixture is not None or self.is_refit
        if not has_start or self.validation is None or self.training.context is not None or not has_course(self.settings):
            return []
        n = len(self.training.x)
        return cycle_ends(n, self.settings.batch_of(n), self.flow.n_parameters, first)

    def _over_full_mixture(self) -> bool:
        """Whether the base is a mixture that reads the context, if there is one."""
        return isinstance(self.flow.base, MixtureBase) and self.flow.base.context_dim == self.flow.context_dim

    def _validate_every(self) -> int:
        return max(1, self.max_iter // VALIDATIONS) if self.settings.n_iter_no_change is None else 1

    def _shifts(self) -> tuple[float, float]:
        """What to add to the training and to the validation NLL, for the data's units."""
        of_training, of_validation = self.log_slopes
        log_det, validation = self.units.log_det, self.validation
        validation_shift = 0.0 if validation is None else float(np.average(of_validation, weights=validation.weight))
        return log_det + float(np.average(of_training, weights=self.training.weight)), log_det + validation_shift

    def try_out(self, seed: int, limit: Limit | None = None) -> None:
        """Train for a share of the epochs, or of the time. No warning if it diverges, since another start may converge."""
        every, trial = self._validate_every(), limit and limit.share(TRIAL)
        with kept_warnings():
            if self.cycles:
                self._run_cycle(seed, None, trial)
                if trial and trial.has_passed:
                    self.ended = ""  # the time of the trial ended this cycle, not that of the fit
                return
            pause_after = max(1, round(TRIAL * self.max_iter / every)) * every
            self.run(seed, None, trial, pause_after)

    def replay(self, callback: Callback) -> bool:
        """Call the callback for the epochs so far. Return whether it stops training."""
        train_nll = self.history.get("train_nll", np.empty(0))
        validation_nll = self.history.get("validation_nll", np.full(len(train_nll), np.nan))
        return any(wants_stop(callback, i, *nll) for i, nll in enumerate(zip(train_nll, validation_nll), start=1))

    def train(self, seed: int, callback: Callback | None, limit: Limit | None = None) -> None:
        """Continue training to the end, or to the limit. In cycles: as long as it pays."""
        if not self.cycles:
            self.run(seed, callback, limit)
        while self.pays:
            self._run_cycle(seed, callback, limit)

    @property
    def pays(self) -> bool:
        """Whether another cycle of training may pay."""
        return bool(self.cycles) and not self.ended

    @property
    def n_epochs(self) -> int:
        """The number of epochs so far."""
        return len(self.history.get("train_nll", ()))

    def _run_cycle(self, seed: int, callback: Callback | None, limit: Limit | None) -> None:
        """Run the next cycle, and set `ended`: why there should be no other one."""
        assert self.validation is not None
        if self._contest is None:
            self._contest = self._new_contest()
        n, first = len(self.training.x), self.n_epochs
        end, *left = [end for end in self.cycles if end > first]
        n_steps = first * -(-n // self.settings.batch_of(n))
        every = max(1, (end - first) // VALIDATIONS_OF_CYCLE)
        # The cosine begins where the warm-up ends.
        self.run(seed, callback, limit, max_iter=end, warmup=n_steps or self.settings.warmup, validate_every=every)
        if self.n_epochs < end or self.was_stopped:
            self.ended = STOPPED
        else:
            n_left = min(len(left), LEFT_OF_REFIT) if self.known else len(left)
            self.ended = self._contest.end(self.log_prob_of_flow(), n_left) if left else LAST_CYCLE

    def _new_contest(self) -> Contest:
        assert self.validation is not None
        if self.mixture is None:
            return Contest(self.validation, self.log_prob_of_flow(), None)
        stack = self.stack_of_mixtures()
        before, to_beat = self._log_prob(self.mixture), stack.held_out + stack.gain
        return Contest(self.validation, before, to_beat, EARLY_OF_REFIT if self.known else EARLY)

    def run(
        self, seed: int, callback: Callback | None, limit: Limit | None = None, pause_after: int | None = None, **cycle: Any
    ) -> None:
        """Continue training, to the end, to the limit or for `pause_after` epochs. `cycle`: other options, for a cycle."""
        settings, flow = self.settings, self.flow
        course = {"max_iter": self.max_iter, "warmup": settings.warmup, "validate_every": self._validate_every()} | cycle
        train_shift, validation_shift = self._shifts()
        part: dict[str, Any] = {}

        def in_own_units(epoch: int, train_nll: float, validation_nll: float) -> object:
            try:
                return callback and callback(epoch, train_nll + train_shift, validation_nll + validation_shift)
            except StopIteration:
                self.was_stopped = True
                raise

        try:
            flow._fit(
                part,
                *self.training.arguments,
                TrainingOptions(
                    batch_size=settings.batch_of(len(self.training.x)),
                    learning_rate=self.rate,
                    schedule=settings.schedule,
                    average=settings.average,
                    noise=self.noise,
                    validation_data=self.validation and self.validation.arguments,
                    n_iter_no_change=settings.n_iter_no_change,
                    tol=settings.tol,
                    random_state=seed,
                    callback=callback and in_own_units,
                    pause_after=pause_after,
                    state=self.state,
                    **course,
                ),
                limit,
            )
        finally:
            if "train_nll" in part:
                self.best_iter = part["best_iter"]
                for name, shift in (("train_nll", train_shift), ("validation_nll", validation_shift)):
                    if name in part:
                        self.history[name] = np.append(self.history.get(name, []), part[name] + shift)

    def validation_nll(self) -> float:
        """The lowest validation NLL so far, in the data's units. Infinite before the first validation."""
        curve = self.history.get("validation_nll", np.empty(0))
        return float(np.min(curve[np.isfinite(curve)], initial=np.inf))

    def judge_layers(self) -> None:
        """Keep layers over a fitted base only if they clearly are better than such bases alone on held-out samples.

        Otherwise reset the layers to the identity, and change a mixture to an average of mixtures, of the samples alone or
        given the context, like the base.
        """
        if isinstance(self.base, StudentTBase) and self.validation is not None:
            self._judge_against_start()
        if self.is_refit and self.cycles:
            self.search = alone(f"flow of the last fit, {self.ended}", self.score(self.log_prob_of_flow()))
        if self.mixture is None or self.validation is None:
            return
        log_prob, stack = self.log_prob_of_flow(), self.stack_of_mixtures()
        is_better = self._keep_layers(log_prob, stack.held_out, stack.gain)
        if not is_better:
            self.base, self._without_layers, self._gain = stack.base, stack.held_out, stack.gain
        self.search = stack.search
        margins = self.units.margins
        if margins is not None and margins.scores is not None:
            for way, score in zip(("columns as they are", margins.name), margins.scores):
                self.search = with_candidate(self.search, f"average of mixtures, {way}", score, False)
        for loser in self.losers:
            self.search = with_candidate(self.search, loser.name(loser.n_epochs), loser.score(loser.log_prob_of_flow()), False)
        self.search = with_candidate(self.search, self.name(), self.score(log_prob), is_better)

    def _judge_against_start(self) -> None:
        """Keep layers over a Student t base only if they are better than the base alone, as it was fitted at the start."""
        trained, log_prob, best_iter = self.flow.parameters.copy(), self.log_prob_of_flow(), self.best_iter
        self.reset_layers()
        if best_iter and self._is_better(log_prob, self.log_prob_of_flow()):
            self.flow.parameters[:], self.best_iter = trained, best_iter

    def name(self, n_epochs: int | None = None) -> str:
        """The name among the densities that competed. With the number of epochs: of one that did not get more."""
        assert self.mixture is not None
        if n_epochs is None:
            course = f", {self.ended}" if self.ended else ""
        else:
            course = f", learning rate {self.rate:g}, for {n_epochs} epochs"
        return f"flow over a mixture of {self.mixture.n_components}{course}"

    def stack_of_mixtures(self) -> Stack:
        """The average of mixtures without layers, which is fitted once."""
        assert self.validation is not None
        if self.stack is None and self.slower is not None:
            self.stack = self.slower.stack_of_mixtures()
        if self.stack is None:
            self.stack = self._fit_stack()
        return self.stack

    def _fit_stack(self) -> Stack:
        """Fit an average of mixtures like the base."""
        assert self.validation is not None
        slopes: Floats = np.broadcast_to(self.units.log_det, sum(map(len, self.log_slopes)))  # which takes no memory
        if any(part.any() for part in self.log_slopes):
            slopes = np.concatenate(self.log_slopes) + slopes
        if isinstance(self.mixture, ConditionalMixtureBase):
            return stack_conditional_mixtures(
                self.training, self.validation, self.blocks, self.seed, slopes, self.tails(self.units)
            )
        context = self.training.context
        n_context = 0 if context is None else context.shape[1] - sum(self.blocks)
        return stack_mixtures(
            self.training,
            self.validation,
            self.seed,
            slopes,
            n_context,
            self.known,
            deviations=self.units.deviations,
            tails=self.tails(self.units),
        )

    def tails(self, units: Units) -> Tails | None:
        """How wide components may be in these units: see `Supports.widest`, `Supports.doubled` and `Margins.widest`."""
        margins, free = units.margins, np.full(self.training.x.shape[1], np.inf)
        of_margins = free if margins is None else margins.widest
        if self.supports is None:
            return None if margins is None else Tails(of_margins, free, free)
        deviations = np.ones(len(free)) if units.in_place else units.whole_deviation
        of_supports = self.supports.widest(deviations) / deviations
        return Tails(np.minimum(of_supports, of_margins), of_supports, self.supports.doubled / deviations)

    def base_with_floor(self) -> FittedBase | None:
        """The base of what is kept. Below layers, a mixture gets what an average of mixtures has by itself."""
        has_layers = self.best_iter > 0 and self.training.context is None
        if not has_layers or not isinstance(self.base, MixtureBase):
            return self.base
        return with_floor(self.base, self.training.x, self.tails(self.units))

    def _keep_layers(self, log_prob: Floats, held_out: Floats, gain: float) -> bool:
        """Keep the layers if they are better than another base, and reset them if not. Return which.

        The validation samples have the log-density `log_prob` by the flow, and `held_out` by mixtures that have not seen
        them. That of the base is higher by `gain`.
        """
        is_better = self.best_iter > 0 and self._is_better(log_prob, held_out, gain)
        if not is_better:
            self.reset_layers()
        return is_better

    def _is_better(self, log_prob: Floats, other: Floats, gain: float = 0.0) -> bool:
        """Whether log-densities of the validation samples are clearly higher than others, plus `gain`, and not clearly lower
        where they stand for all rows."""
        assert self.validation is not None
        if self.settings.keeps_layers is not None:
            return self.settings.keeps_layers
        with np.errstate(invalid="ignore"):  # for samples without a density
            mean, error = mean_and_error(log_prob - other, self.validation.weight)
            if self.validation.for_all is not None:
                for_all, error_for_all = mean_and_error(log_prob - other, self.validation.for_all)
                if for_all + CLEARLY_LOWER * error_for_all < gain:
                    return False
        least = LEAST_GAIN_OF_FEW if len(log_prob) < FEW_TO_JUDGE else LEAST_GAIN
        return mean > gain + least * error

    def reset_layers(self) -> None:
        """Let the layers be the identity."""
        self.flow.parameters[:], self.best_iter = self.before, 0

    def adopt(self, stack: Stack, units: Units) -> None:
        """Let the layers be the identity, over an average of mixtures in these units."""
        self.reset_layers()
        self.base, self.units, self._without_layers, self._gain = stack.base, units, stack.held_out, stack.gain

    def log_prob_of_flow(self) -> Floats:
        """Log-density of the validation samples by the flow, in float64."""
        assert self.validation is not None
        return self._log_prob(self.flow)

    def _log_prob(self, density: Flow | MixtureBase, data: Data | None = None) -> Floats:
        data = data or self.validation
        assert data is not None
        with np.errstate(invalid="ignore"):  # for samples without a density
            return density.log_prob(*data[:2]).astype(np.float64)

    def log_prob_of(self, data: Data) -> Floats:
        """Log-density of standardised samples by what is kept."""
        is_average = self._without_layers is not None and isinstance(self.base, MixtureBase)
        return self._log_prob(cast(MixtureBase, self.base) if is_average else self.flow, data)

    def log_prob_of_kept(self) -> Floats:
        """Log-density of the validation samples by what is kept, the flow or an average of mixtures, had it not seen them."""
        return self.log_prob_of_flow() if self._without_layers is None else self._without_layers + self._gain

    def first_log_probs_of_kept(self, n: int) -> Floats:
        """Log-densities (n,) of the first validation samples in the data's units, by what is kept, had it not seen them.

        The gain of an average is left out, which one sample far out may make large.
        """
        held_out = self.log_prob_of_flow() if self._without_layers is None else self._without_layers
        in_own_units = held_out - (self.log_slopes[1] + self.units.log_det)
        found: Floats = in_own_units[:n]
        return found

    def score(self, log_prob: Floats) -> float:
        """Mean of log-densities of the validation samples, in the data's units."""
        assert self.validation is not None
        in_own_units = log_prob - (self.log_slopes[1] + self.units.log_det)
        return float(np.average(in_own_units, weights=self.validation.weight))
