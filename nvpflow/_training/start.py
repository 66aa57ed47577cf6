"""One random start of training: a flow and its training state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._training.callbacks import wants_stop
from nvpflow._training.conditional_mixture import gain_of_refit, refit_conditional_mixture
from nvpflow._training.defaults import option
from nvpflow._training.noise import bandwidth
from nvpflow._training.options import TrainingOptions
from nvpflow._training.search import with_candidate
from nvpflow._training.stacking import stack_mixtures
from nvpflow._training.statistics import effective_size, mean_and_error
from nvpflow._typing import Callback, Floats, Search
from nvpflow._warnings import kept_warnings
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.flow import Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.optim import TrainingState

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.limit import Limit
    from nvpflow._training.settings import Settings
    from nvpflow._training.standardize import Units

__all__ = ["Start"]

# For max_iter=None: steps that take less than half a second of one core for any number of parameters, but at least ten passes
# over the samples.
MOST_STEPS, STEPS_TIMES_PARAMETERS, LEAST_STEPS, LEAST_EPOCHS = 4500, 22_000_000, 120, 10
# Beyond this number of training samples the steps grow with its square root, since there is more to learn. At 100,000 samples
# the gap fell from 0.054 to 0.028 on a checkerboard, from 0.026 to 0.017 on a Swiss roll, from 0.042 to 0.032 on gamma margins
# with a copula; on densities that did not take part in the choice from 0.092 to 0.058 (torus), 0.037 to 0.026 (uniform in
# five dimensions) and 0.157 to 0.132 (bananas in ten). It takes 1.5 to 2 times as long. In proportion to the number of samples
# it would take up to 5 times as long.
FEW_SAMPLES = 10_000
VALIDATIONS = 50  # in a fit: they take little time, and come close to the best parameters
TRIAL = 0.1  # the share of a fit before one start is chosen
# Layers must have a higher held-out likelihood than an average of mixtures, by this many standard errors. On densities and
# tables with 50 to 1000 samples, the choice was 0.003 nats worse in the mean than always the better of both. With 0 and 0.5
# errors it was 0.020 and 0.005, with 1.5 to 3 also 0.005.
LEAST_GAIN = 1.0


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
    share : float
        Of the epochs of a fit.
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
        share: float = 1.0,
    ) -> None:
        self.settings, self.units, self.flow, self.base = settings, units, flow, flow.base
        self.training, self.validation = training, validation
        self.noise = bandwidth(settings.noise, training, effective_size(training), mixture)
        self.state, self.best_iter = TrainingState(), 0
        # log|det dx/dy|, in nats, of samples x, training and validation, that training sees as y; see `Supports`.
        n_held_out = 0 if validation is None else len(validation.x)
        self.log_slopes: tuple[Floats, Floats] = (np.zeros(len(training.x)), np.zeros(n_held_out))
        self.blocks: tuple[int, ...] = ()  # sizes of the blocks of indicators at the end of the context
        self.history: dict[str, Floats] = {}
        self.search: Search | None = None
        self.max_iter = math.ceil(share * self._max_iter())
        self._without_layers: Floats | None = None
        self.mixture, self.seed = mixture and mixture.copy(), seed
        if mixture:
            self.before = flow.parameters.copy()

    def _max_iter(self) -> int:
        """The number of epochs."""
        settings, n = self.settings, len(self.training.x)
        if settings.max_iter is not None:
            return settings.max_iter
        steps = min(MOST_STEPS, max(LEAST_STEPS, STEPS_TIMES_PARAMETERS // max(1, self.flow.n_parameters)))
        batch = min(n, settings.batch_size or n)
        return max(LEAST_EPOCHS, round(steps * math.sqrt(max(1, n / FEW_SAMPLES)) * batch / n))

    def _over_full_mixture(self) -> bool:
        """Whether the base is a mixture that reads the context, if there is one."""
        return self.flow.base is not None and self.flow.base.context_dim == self.flow.context_dim

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
        every = self._validate_every()
        with kept_warnings():
            pause_after = max(1, round(TRIAL * self.max_iter / every)) * every
            self.run(seed, None, limit and limit.share(TRIAL), pause_after)

    def replay(self, callback: Callback) -> bool:
        """Call the callback for the epochs so far. Return whether it stops training."""
        train_nll = self.history.get("train_nll", np.empty(0))
        validation_nll = self.history.get("validation_nll", np.full(len(train_nll), np.nan))
        return any(wants_stop(callback, i, *nll) for i, nll in enumerate(zip(train_nll, validation_nll), start=1))

    def run(self, seed: int, callback: Callback | None, limit: Limit | None = None, pause_after: int | None = None) -> None:
        """Continue training, to the end, to the limit or for `pause_after` epochs."""
        settings, flow = self.settings, self.flow
        train_shift, validation_shift = self._shifts()
        part: dict[str, Any] = {}

        def in_own_units(epoch: int, train_nll: float, validation_nll: float) -> object:
            return callback and callback(epoch, train_nll + train_shift, validation_nll + validation_shift)

        try:
            flow._fit(
                part,
                *self.training,
                TrainingOptions(
                    max_iter=self.max_iter,
                    batch_size=settings.batch_size,
                    learning_rate=option(settings, "learning_rate", self._over_full_mixture()),
                    schedule=settings.schedule,
                    warmup=settings.warmup,
                    average=settings.average,
                    noise=self.noise,
                    validation_data=self.validation,
                    validate_every=self._validate_every(),
                    n_iter_no_change=settings.n_iter_no_change,
                    tol=settings.tol,
                    random_state=seed,
                    callback=callback and in_own_units,
                    pause_after=pause_after,
                    state=self.state,
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
        """Keep layers over a mixture only if they clearly are better than mixtures alone on held-out samples.

        Otherwise reset the layers to the identity, and change the base: to an average of mixtures, or, if it reads the
        context, to the same mixture fitted to all samples.
        """
        if self.mixture is None or self.validation is None:
            return
        log_prob = self.log_prob_of_flow()
        if isinstance(self.mixture, ConditionalMixtureBase):
            both = self.training.and_those(self.validation)
            held_out = self.mixture.log_prob(*self.validation[:2]).astype(np.float64)
            if not self._keep_layers(log_prob, held_out, gain_of_refit(self.mixture, self.training, both)):
                self.base = refit_conditional_mixture(self.mixture, both)
            return
        slopes = np.concatenate(self.log_slopes) + self.units.log_det
        stack = stack_mixtures(self.training, self.validation, self.seed, slopes)
        is_better = self._keep_layers(log_prob, stack.held_out, stack.gain)
        if not is_better:
            self.base, self._without_layers = stack.base, stack.held_out + stack.gain
        name = f"flow over a mixture of {self.mixture.n_components}"
        self.search = with_candidate(stack.search, name, self.score(log_prob), is_better)

    def _keep_layers(self, log_prob: Floats, held_out: Floats, gain: float) -> bool:
        """Keep the layers if they are better than another base, and reset them if not. Return which.

        The validation samples have the log-density `log_prob` by the flow, and `held_out` by mixtures that have not seen
        them. That of the base is higher by `gain`.
        """
        assert self.validation is not None
        with np.errstate(invalid="ignore"):  # for samples without a density
            mean, error = mean_and_error(log_prob - held_out, self.validation.weight)
        is_better = self.best_iter > 0 and mean > gain + LEAST_GAIN * error
        if not is_better:
            self.flow.parameters[:], self.best_iter = self.before, 0
        return is_better

    def log_prob_of_flow(self) -> Floats:
        """Log-density of the validation samples by the flow, in float64."""
        assert self.validation is not None
        with np.errstate(invalid="ignore"):  # for samples without a density
            return self.flow.log_prob(*self.validation[:2]).astype(np.float64)

    def log_prob_of_kept(self) -> Floats:
        """Log-density of the validation samples by what is kept, the flow or an average of mixtures, had it not seen them.

        A mixture that reads the context counts as fitted to the training samples: the gain of its refit is for the density of
        context and samples together. With it, mixtures replaced flows that were 0.04 (turned moons) and 0.3 nats better
        (concrete).
        """
        return self.log_prob_of_flow() if self._without_layers is None else self._without_layers

    def score(self, log_prob: Floats) -> float:
        """Mean of log-densities of the validation samples, in the data's units."""
        assert self.validation is not None
        in_own_units = log_prob - (self.log_slopes[1] + self.units.log_det)
        return float(np.average(in_own_units, weights=self.validation.weight))
