"""Training on samples that arrive in pieces: `FlowDensity.partial_fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


class Stream:
    """State from one piece to the next: the random generator, Adam's moments, the units of the context, and the origin.

    The number of samples to come is unknown. So the learning rate is constant, and no samples are held back.

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
        self.adam: Adam | None = None
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
        self.scaler.to_standardized(flow)
        try:
            nll = self._epoch(flow, adam, data, batch_size, noise)
        finally:
            self.scaler.to_own_units(flow)
        if np.isnan(nll):
            flow.parameters[:] = before
            self.adam = None
            warn_user(
                "training diverged: the loss or its gradient was not finite; the parameters from before this call "
                "were kept. A smaller learning_rate, coupling='spline' or a scale_bound may help.",
                ConvergenceWarning,
            )
        return nll

    def _epoch(self, flow: Flow, adam: Adam, data: Data, batch_size: int, noise: Floats) -> float:
        """Return the mean NLL, or NaN if a loss, a gradient or the final NLL is not finite. The loss is that of `Flow.fit`."""
        order, total, n = self.rng.permutation(len(data.x)), 0.0, len(data.x)
        for start in range(0, n, batch_size):
            x, context, weight = data.rows(order[start : start + batch_size]).arguments
            nll, grad = flow.nll_and_grad(x + noise * self.rng.standard_normal(x.shape), context, weight)
            if not (np.isfinite(nll) and np.isfinite(grad).all()):
                return np.nan
            share = len(x) / n if weight is None or data.weight is None else float(weight.sum() / data.weight.sum())
            adam.step(grad * (share * n / len(x)))
            total += share * nll
        return total if np.isfinite(flow.nll(*data.arguments)) else np.nan

    def _bind_adam(self, settings: Settings, flow: Flow) -> Adam:
        """Bind Adam to the flow's parameters: in a copied or unpickled model they have moved, while the moments remain."""
        adam = self.adam = self.adam or _ShiftsInDeviations(flow)
        adam.parameters = flow.parameters
        # Over a mixture use the small rate, even with a context. The rate does not fall to 0 here, as it does in `fit`: in the
        # first piece after a fit, 5e-3 cost up to 1 nat, 1e-3 up to 0.05.
        adam.learning_rate = option(settings, "learning_rate", flow.base is not None)
        if flow.base is not None and flow.base.context_dim and settings.learning_rate is None:
            adam.learning_rate = RATE_OVER_CONDITIONAL
        return adam


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

    def step(self, grad: ArrayLike) -> None:
        grad, shifts = np.array(grad), self._shifts
        before = self.parameters[shifts]
        grad[shifts] *= self._units
        self.parameters[shifts] = 0
        super().step(grad)
        self.parameters[shifts] = before + self._units * self.parameters[shifts]
