"""Training on samples that arrive in pieces: `FlowDensity.partial_fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._training.build import new_flow, whole_flow
from nvpflow._training.context import ContextScaler
from nvpflow._training.dataset import Data
from nvpflow._training.defaults import base_of, option
from nvpflow._training.degenerate import with_narrow_columns
from nvpflow._training.heavy_tails import STUDENT_T, heavy_tailed_units, student_t_noise, student_t_of
from nvpflow._training.margins import Margins
from nvpflow._training.mixture_search import fit_mixture
from nvpflow._training.noise import bandwidth
from nvpflow._training.stacking import mean_gain
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import average
from nvpflow._typing import ArrayLike, FloatDType, Floats
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import warn_user
from nvpflow.bases import FittedBase
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.layers import ActNorm
from nvpflow.optim import Adam
from nvpflow.student_t_base import StudentTBase

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity
    from nvpflow.supports._fitted import Supports

__all__ = ["Stream"]


# Over a base that reads the context. Its narrow components leave layers no room: in the first pieces after a fit to two
# branches, 1e-3 cost up to 2 nats, 3e-4 up to 0.2, and this rate 0.01.
RATE_OVER_CONDITIONAL = 1e-4
# A piece that is less likely after its epoch than before, by so many standard errors and nats, is trained on again at a tenth
# of the rate, up to four times in all. The rate of later pieces rises again, twofold with each that is not.
LEAST_ERRORS, LEAST_NATS, MOST_TRIES, SLOWER, FASTER = 1.0, 0.002, 4, 0.1, 2.0
# The moving average begins again where it lags so many nats behind the latest parameters.
LAG = 0.05
# At first the moving average is over about the last ninth of the steps: Shamir and Zhang (2013), "Stochastic gradient descent
# for non-smooth optimization", section 4.
LATEST, FITTED = 9, 1_000_000


class Stream:
    """State from one piece to the next: the random generator, Adam's moments, the units of the context, and the origin.

    The number of samples to come is unknown. So the learning rate does not fall, and no samples are held back. What the model
    keeps is a moving average of the parameters.

    Parameters
    ----------
    settings : Settings
    data : Data
        The first piece, as for `update`.
    dtype : numpy.dtype
        Of the flow.
    before : FlowDensity, optional
        The fitted model to continue. Its origins and supports are kept.
    supports : Supports, optional
        Of the columns of the data of a new model. Default: all are real.
    n_indicators : int
        The number of the last columns of the context that are indicators of categories.
    """

    def __init__(
        self,
        settings: Settings,
        data: Data,
        dtype: FloatDType,
        before: FlowDensity | None = None,
        supports: Supports | None = None,
        n_indicators: int = 0,
    ) -> None:
        self.init_seed, seed = draw_seeds(settings.random_state, 2)
        self.rng = np.random.default_rng(seed)
        self.scaler = ContextScaler(data, settings.standardize, dtype, n_indicators=n_indicators)
        self.origin: Floats = np.zeros(data.x.shape[1])
        self.adam: _ShiftsInDeviations | None = None
        self.last: _Parameters | None = None
        self.slowness = 1.0
        # After a fit, the average begins with its parameters, and with those of the first step otherwise.
        self.n_averaged = 0 if before is None else FITTED
        self.supports = supports
        if before is not None:
            self.origin = getattr(before, "origin_", self.origin)
            self.supports = before._known_supports()
            self.scaler.continue_from(before)

    def new_flow(self, settings: Settings, data: Data) -> Flow:
        """Create a flow for the first piece, and set `origin`."""
        if self.supports is not None:
            data = self.supports.to_reals(self.supports.spread(data, np.random.default_rng(self.init_seed)))
        data, _ = with_narrow_columns(settings, data, None, self.init_seed)
        data = self.scaler.transform(data)
        units = Units.of(data, settings.standardize, False, self.scaler.dtype)
        base: FittedBase | None = None
        if self.supports is not None:
            units.origin = self.supports.origin_within(units.origin)
            self.origin = self.origin + self.supports.origin
        self.origin = self.origin + units.origin
        kind = base_of(settings, data, validated=False)
        if kind == STUDENT_T:
            base = student_t_of(heavy_tailed_units(units, data).standardize(data.x, data.context), data.weight)
        elif kind == "mixture":
            base = fit_mixture(units.standardize(data.x, data.context), data.weight, self.init_seed)
        flow = new_flow(settings, data, self.init_seed, base)
        return whole_flow(settings, flow.layers, base, units, self.scaler, self.supports)

    def update(self, settings: Settings, flow: Flow, data: Data, n_seen: int) -> float:
        """Train for one epoch on the data, in minibatches, from the present parameters of the flow.

        Parameters
        ----------
        settings : Settings
        flow : Flow
            Updated. If a loss or gradient is not finite, its parameters are restored, with a ConvergenceWarning.
        data : Data, n >= 1
            In its own units and precision.
        n_seen : int
            Number of samples seen so far, including these. More samples mean less noise.

        Returns
        -------
        nll : float
            Mean over the minibatches, each before its update, in nats. NaN if training diverged.
        """
        if self.supports is None:
            return self._update(settings, flow, data, n_seen, self.origin)
        data = self.supports.spread(data, self.rng)
        inner, origin = self.supports.inner(flow), self.supports.origin_within(self.origin)
        nll = self._update(settings, inner, self.supports.to_reals(data), n_seen, origin)
        flow.parameters[:] = inner.parameters
        return nll + self.supports.mean_log_slope(data)

    def _update(self, settings: Settings, flow: Flow, data: Data, n_seen: int, origin: Floats) -> float:
        """`update` for a flow of numbers on the whole real line."""
        margins = Margins.from_layers(flow.layers, origin, flow.dtype)
        if margins is None or margins.lattices is None:
            return self._update_smooth(settings, flow, data, n_seen, origin)
        first = Margins(margins.stages[:1], flow.dtype)  # which stays as it is: a step of Adam is wider than its bumps
        inner = Flow([layer.copy() for layer in flow.layers[: -first.n_layers]], flow.base and flow.base.copy())
        inner.n_jobs = flow.n_jobs
        x = data.x.astype(np.float64)
        places = data._replace(x=first.places(x, self.rng))
        nll = self._update_smooth(settings, inner, places, n_seen, np.zeros(flow.data_dim))
        flow.parameters[: inner._base_offset] = inner.parameters[: inner._base_offset]
        if flow.base is not None and inner.base is not None:
            flow.base.parameters[:] = inner.base.parameters
        return nll - average(first.inverse(x)[1], data.weight)

    def _update_smooth(self, settings: Settings, flow: Flow, data: Data, n_seen: int, origin: Floats) -> float:
        """`update` for a flow of numbers on the whole real line, without columns of few values in front of it."""
        batch_size = settings.batch_of(len(data.x))
        noise = (student_t_noise if isinstance(flow.base, StudentTBase) else bandwidth)(settings.noise, data, n_seen)
        adam = self._bind_adam(settings, flow)
        self.scaler = self.scaler.covering(data.context)
        data = self.scaler.transform(data._replace(x=(data.x - origin).astype(flow.dtype)))
        before = flow.parameters.copy()
        if self.last is None or not np.array_equal(self.last.average, before):  # the first time, or somebody has changed them
            self.last = _Parameters(before, before)
        try:
            nll = self._train(settings, flow, adam, data, batch_size, noise)
        except BaseException:
            flow.parameters[:], self.last = before, None
            raise
        if np.isnan(nll):
            flow.parameters[:], self.adam, self.last = before, None, None
            warn_user(
                "training diverged: the loss or its gradient was not finite; the parameters from before this call "
                "were kept. A smaller learning_rate, coupling='spline' or a scale_bound may help.",
                ConvergenceWarning,
            )
        return nll

    def _train(
        self, settings: Settings, flow: Flow, adam: _ShiftsInDeviations, data: Data, batch_size: int, noise: Floats
    ) -> float:
        """Train for one epoch, at a smaller rate if the data are less likely after it: steps wider than peaks take them apart.
        Return its mean NLL as `_epoch` does."""
        assert self.last is not None
        in_units = _Parameters(*(self._in_units_of_training(flow, part) for part in self.last))
        log_prob, rate = self._log_prob(flow, in_units.average, data), adam.learning_rate
        for _ in range(MOST_TRIES):
            adam.learning_rate, state, n_averaged = self.slowness * rate, adam.state(), self.n_averaged
            flow.parameters[:] = in_units.latest
            nll, found = self._epoch(flow, adam, data, batch_size, noise, in_units.average.copy(), settings.average)
            if np.isnan(nll):
                return nll
            of_latest, of_average = (self._log_prob(flow, part, data) for part in found)
            if _is_clear(of_latest - of_average, data.weight, LAG):  # the samples have moved
                found, of_average, self.n_averaged = _Parameters(found.latest, found.latest.copy()), of_latest, 0
            if not _is_clear(log_prob - of_average, data.weight):
                self.slowness = min(1.0, FASTER * self.slowness)
                break
            adam.restore(state)
            self.slowness, self.n_averaged = SLOWER * self.slowness, n_averaged
        else:
            found = _Parameters(in_units.average, in_units.average.copy())
        for part in found:  # that of the model comes last
            flow.parameters[:] = part
            self.scaler.to_own_units(flow)
            part[:] = flow.parameters
        self.last = found
        return nll

    def _log_prob(self, flow: Flow, parameters: Floats, data: Data) -> Floats:
        """Log-density of the data by the flow with these parameters, in float64."""
        flow.parameters[:] = parameters
        with np.errstate(invalid="ignore"):  # for samples without a density
            return flow.log_prob(*data[:2]).astype(np.float64)

    def _in_units_of_training(self, flow: Flow, parameters: Floats) -> Floats:
        """Parameters of the flow for a standardised context."""
        flow.parameters[:] = parameters
        self.scaler.to_standardized(flow)
        return flow.parameters.copy()

    def _epoch(
        self, flow: Flow, adam: _ShiftsInDeviations, data: Data, batch_size: int, noise: Floats, average: Floats, decay: float
    ) -> tuple[float, _Parameters]:
        """Return the mean NLL, or NaN if a loss, a gradient or the final NLL is not finite, and the parameters. The loss is
        that of `Flow.fit`. `average`: of parameters so far."""
        order, total, n = self.rng.permutation(len(data.x)), 0.0, len(data.x)
        for start in range(0, n, batch_size):
            x, context, weight = data.rows(order[start : start + batch_size]).arguments
            nll, grad = flow.nll_and_grad(x + noise * self.rng.standard_normal(x.shape), context, weight)
            if not (np.isfinite(nll) and np.isfinite(grad).all()):
                return np.nan, _Parameters(flow.parameters, average)
            share = len(x) / n if weight is None or data.weight is None else float(weight.sum() / data.weight.sum())
            adam.step(grad * (share * n / len(x)))
            self.n_averaged += 1
            average += max(1 - decay, LATEST / (self.n_averaged + LATEST - 1)) * (flow.parameters - average)
            total += share * nll
        found = _Parameters(flow.parameters.copy(), average)
        return total if np.isfinite(flow.nll(*data.arguments)) else np.nan, found

    def _bind_adam(self, settings: Settings, flow: Flow) -> _ShiftsInDeviations:
        """Bind Adam to the flow's parameters: in a copied or unpickled model they have moved, while the moments remain."""
        adam = self.adam = self.adam or _ShiftsInDeviations(flow)
        adam.parameters = flow.parameters
        # Over a mixture use the small rate, even with a context. The rate does not fall to 0 here, as it does in `fit`: in the
        # first piece after a fit, 5e-3 cost up to 1 nat, 1e-3 up to 0.05.
        adam.learning_rate = option(settings, "learning_rate", flow.base is not None)
        if flow.base is not None and flow.base.context_dim and settings.learning_rate is None:
            adam.learning_rate = RATE_OVER_CONDITIONAL
        return adam


def _is_clear(gain: Floats, weight: Floats | None, least: float = LEAST_NATS) -> bool:
    """Whether gains in log-density (n,) are clear."""
    with np.errstate(invalid="ignore"):  # for samples without a density
        mean, error = mean_gain(gain, weight)
    return mean > max(LEAST_ERRORS * error, least)


class _Parameters(NamedTuple):
    """The parameters (P,) after the latest step, and their moving average, which the model keeps."""

    latest: Floats
    average: Floats


class _ShiftsInDeviations(Adam):
    """Adam on the parameters of a flow, with the shift of each `ActNorm` in units of its columns' deviations.

    Adam moves every parameter by about the learning rate: negligible for a shift of 1e6, and far too much for one of 1e-6.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.parameters)
        shifts, units = [np.empty(0, int)], [np.empty(0)]
        for layer, offset in zip(flow.layers, flow._layer_offsets):
            if isinstance(layer, ActNorm):
                shifts.append(offset + np.arange(flow.data_dim, 2 * flow.data_dim))
                units.append(np.exp(layer.log_scale))
        self._shifts, self._units = np.concatenate(shifts), np.concatenate(units)

    def state(self) -> tuple[int, Floats, Floats]:
        """What `restore` needs to undo steps, but for the parameters."""
        return self.n_steps, self._m.copy(), self._v.copy()

    def restore(self, state: tuple[int, Floats, Floats]) -> None:
        """Undo steps since this state."""
        self.n_steps, self._m[:], self._v[:] = state

    def step(self, grad: ArrayLike) -> None:
        grad, shifts = np.array(grad), self._shifts
        before = self.parameters[shifts]
        grad[shifts] *= self._units
        self.parameters[shifts] = 0
        super().step(grad)
        self.parameters[shifts] = before + self._units * self.parameters[shifts]
