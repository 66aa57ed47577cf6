"""One random start of training: a flow and its training state."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._training.callbacks import wants_stop
from nvpflow._training.defaults import option
from nvpflow._training.mixture_em import refit_mixture
from nvpflow._training.noise import bandwidth
from nvpflow._training.options import TrainingOptions
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Callback, Floats
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.optim import TrainingState

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
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
# Layers over a mixture must improve the held-out likelihood by this many of its standard errors more than fitting the mixture
# to all samples would. With 0.5, layers are kept too often: eight Gaussians, which are a mixture, had a gap of 0.0029 instead
# of 0.0023. With 1.5, too rarely: 1000 moons had a worst gap of 0.10 instead of 0.07.
LEAST_GAIN, LEAST_HELD_OUT = 1.0, 5  # fewer held-out samples do not give a standard error


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
    ) -> None:
        self.settings, self.units, self.flow, self.base = settings, units, flow, flow.base
        self.training, self.validation = training, validation
        self.noise = bandwidth(settings.noise, training, effective_size(training), mixture)
        self.state, self.best_iter = TrainingState(), 0
        self.shifts = (0.0, 0.0)  # what to add to the training and the validation NLL besides that of units, in nats
        self.history: dict[str, Floats] = {}
        self.max_iter = self._max_iter()
        self.mixture, self.seed = mixture and mixture.copy(), seed
        if mixture:
            self.before = flow.parameters.copy()
            self.log_prob = np.empty(0) if validation is None else flow.log_prob(*validation[:2])

    def _max_iter(self) -> int:
        """The number of epochs."""
        settings, n = self.settings, len(self.training.x)
        if settings.max_iter is not None:
            return settings.max_iter
        steps = min(MOST_STEPS, max(LEAST_STEPS, STEPS_TIMES_PARAMETERS // max(1, self.flow.n_parameters)))
        batch = min(n, settings.batch_size or n)
        return max(LEAST_EPOCHS, round(steps * math.sqrt(max(1, n / FEW_SAMPLES)) * batch / n))

    def _validate_every(self) -> int:
        return max(1, self.max_iter // VALIDATIONS) if self.settings.n_iter_no_change is None else 1

    def try_out(self, seed: int) -> None:
        """Train for a share of the epochs. No warning if it diverges, since another start may converge."""
        every = self._validate_every()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.run(seed, None, pause_after=max(1, round(TRIAL * self.max_iter / every)) * every)

    def replay(self, callback: Callback) -> bool:
        """Call the callback for the epochs so far. Return whether it stops training."""
        train_nll = self.history.get("train_nll", np.empty(0))
        validation_nll = self.history.get("validation_nll", np.full(len(train_nll), np.nan))
        return any(wants_stop(callback, i, *nll) for i, nll in enumerate(zip(train_nll, validation_nll), start=1))

    def run(self, seed: int, callback: Callback | None, pause_after: int | None = None) -> None:
        """Continue training, to the end or for `pause_after` epochs."""
        settings, flow = self.settings, self.flow
        train_shift, validation_shift = (self.units.log_det + shift for shift in self.shifts)
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
                    learning_rate=option(settings, "learning_rate", flow.base is not None and not flow.context_dim),
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
        """Keep layers over a mixture only if they clearly improve the held-out likelihood.

        Otherwise reset the layers to the identity and fit the mixture to all samples.
        """
        if self.mixture is None or self.validation is None:
            return
        mean, error = self._gain_of_layers(self.validation)
        both = self.training.and_those(self.validation)
        # A fit of p parameters to n samples loses p / 2n nats on new samples: Akaike (1974), "A new look at the statistical
        # model identification".
        gain_of_all = self.mixture.n_parameters / 2 * (1 / effective_size(self.training) - 1 / effective_size(both))
        if not mean > gain_of_all + LEAST_GAIN * error:
            self.flow.parameters[:], self.best_iter = self.before, 0
            self.base = refit_mixture(self.mixture, both.x, both.weight, self.seed)

    def _gain_of_layers(self, held_out: Data) -> tuple[float, float]:
        """Mean and standard error of the gain in log-density by the layers, in nats."""
        with np.errstate(invalid="ignore"):  # for samples without a density
            gain = self.flow.log_prob(*held_out[:2]).astype(np.float64) - self.log_prob
            mean = np.average(gain, weights=held_out.weight)
            variance = np.average((gain - mean) ** 2, weights=held_out.weight)
        n = effective_size(held_out)
        return float(mean), float(np.sqrt(variance / (n - 1))) if n > LEAST_HELD_OUT else np.inf
