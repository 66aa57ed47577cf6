"""How `FlowDensity` trains: the flow that it builds, the samples that it holds back, the noise that it adds, the starts that
it makes, and what it keeps."""

import warnings
from contextlib import contextmanager
from typing import Any

import numpy as np

from nvpflow._training.callbacks import wants_stop
from nvpflow._training.context import ContextScaler
from nvpflow._training.defaults import base_of, option
from nvpflow._training.history import validated
from nvpflow._training.mixture_em import fit_mixture, refit_mixture
from nvpflow._training.split import split
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import effective_size, location_and_scale
from nvpflow._training.warm_start import find_warm_start
from nvpflow._validation.arguments import (
    alternating_mask,
    check_callback,
    check_choice,
    check_dtype,
    check_int,
    check_real,
    draw_seeds,
)
from nvpflow.bases import base_from_config
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.layers import AdditiveCoupling, AffineCoupling, SplineCoupling
from nvpflow.optim import TrainingState
from nvpflow.progress import progress

__all__ = ["as_flow_reads", "bandwidth", "new_flow", "train", "whole_flow"]

# Where max_iter is None: steps for less than half a second of one core, whatever the number of parameters, but never less
# than ten passes over the samples.
MOST_STEPS, STEPS_TIMES_PARAMETERS, LEAST_STEPS, LEAST_EPOCHS = 4500, 22_000_000, 120, 10
VALIDATIONS = 50  # in a fit: its time goes to training, and the best parameters are not missed by much
TRIAL = 0.1  # of a fit, before one start is chosen
# Layers over a mixture must better the held-out likelihood by so many of its standard errors more than fitting the mixture to
# all samples would. With 0.5 they are kept too easily: eight Gaussians, which are a mixture, had a gap of 0.0029 instead of
# 0.0023; with 1.5 too rarely: 1000 moons had a worst gap of 0.10 instead of 0.07.
LEAST_GAIN, LEAST_HELD_OUT = 1.0, 5  # fewer held-out samples know no standard error
MOST_NOISE = 1.0  # in deviations of a mixture's components
# Affine layers without a bound start as near the identity as the others where the samples are standardised: with last maps as
# published, 12 layers in ten dimensions had a starting NLL of NaN or infinity for 7 seeds of 10, and 16 layers for all.
LAST_MAP = 0.3


def train(model, data, fitted, callback=None):
    """Train a flow.

    Parameters
    ----------
    model : FlowDensity
        For its parameters and, with `warm_start`, the flow to start from. It stays as it is.
    data : Data, n >= 2
        In the dtype of the model, finite.
    fitted : dict
        Receives the fitted attributes, also when training is interrupted.
    callback : callable, optional
        As in `FlowDensity.fit`.
    """
    init_seed, split_seed, shuffle_seed = draw_seeds(model.random_state, 3)
    training, validation = split(model, data, split_seed)
    scaler = ContextScaler(training, model.standardize, check_dtype(model.dtype), data.context)
    starts = _starts(model, scaler.transform(training), validation and scaler.transform(validation), scaler, init_seed)
    try:
        with _watched(model, callback, starts[0].max_iter) as watched:
            if len(starts) > 1:
                for start in starts:
                    start.try_out(shuffle_seed)
            best = min(starts, key=_Start.validation_nll)
            if watched is None or not best.replay(watched):
                best.run(shuffle_seed, watched)
            best.judge_layers()
    finally:
        best = min(starts, key=_Start.validation_nll)
        if best.history:  # also when interrupted
            fitted["flow_"] = whole_flow(model, best.flow, best.units, scaler)
            fitted["origin_"] = np.zeros(data.x.shape[1]) + best.units.origin
            fitted |= scaler.fitted_attributes()
            fitted["n_iter_"] = len(best.history["train_nll"])
            fitted["best_iter_"] = best.best_iter
            fitted["history_"] = validated(best.history)


def _starts(model, training, validation, scaler, seed):
    """New ones, or the one that goes on from a fitted flow. Without held-out samples nothing could tell the better one.

    The context of the data is standardised.
    """
    n_init, base = check_int("n_init", model.n_init, 1), base_of(model, validation is not None, training)
    if model.warm_start and hasattr(model, "flow_"):
        units, flow, mixture = _go_on(model, training, scaler, seed)
        return [_Start(model, training, validation, units, flow, mixture, seed)]
    starts = []
    for i, seed in enumerate([seed, *draw_seeds(np.random.SeedSequence(seed), n_init - 1)][: n_init if validation else 1]):
        # Over N(0, I), columns as they are suit some tables, whitened ones others: starts take turns.
        whiten = base == "normal" and i % 2 == 1
        units = Units.of(training, model.standardize, whiten, check_dtype(model.dtype))
        z = units.standardize(training.x, training.context)
        mixture = fit_mixture(z, training.weight, seed) if base == "mixture" else None
        flow = new_flow(model, training, seed, mixture)
        starts.append(_Start(model, training, validation, units, flow, mixture, seed))
    return starts


def _go_on(model, training, scaler, seed):
    """Units, flow and mixture of a warm start."""
    base, dtype, dim = model.flow_.base, check_dtype(model.dtype), training.x.shape[1]
    same_base = base_from_config(base and base.config() | {"data_dim": dim}, dtype)
    return find_warm_start(model, new_flow(model, training, seed, same_base), training, scaler, seed)


class _Start:
    """A flow with starting parameters, and how far it has been trained.

    It is trained in the data's units of standard deviation, and gets the layers that lead to their own units in the end.
    """

    def __init__(self, model, training, validation, units, flow, mixture=None, seed=0):
        self.model, self.units, self.flow = model, units, flow
        self.training, self.validation = self._inner(training), validation and self._inner(validation)
        self.noise = bandwidth(model, self.training, effective_size(training), mixture)
        self.state, self.history, self.best_iter = TrainingState(), {}, 0
        self.max_iter = self._max_iter()
        self.mixture, self.seed = mixture and mixture.copy(), seed  # where the layers start from the identity
        if mixture and validation:
            self.log_prob = flow.log_prob(*self.validation[:2])

    def _inner(self, data):
        return data._replace(x=self.units.standardize(data.x, data.context))

    def _max_iter(self):
        """Epochs."""
        model, n = self.model, len(self.training.x)
        if model.max_iter is not None:
            return check_int("max_iter", model.max_iter, 1)
        steps = min(MOST_STEPS, max(LEAST_STEPS, STEPS_TIMES_PARAMETERS // max(1, self.flow.n_parameters)))
        batch = n if model.batch_size is None else min(n, check_int("batch_size", model.batch_size, 1))
        return max(LEAST_EPOCHS, round(steps * batch / n))

    def _validate_every(self):
        return max(1, self.max_iter // VALIDATIONS) if self.model.n_iter_no_change is None else 1

    def try_out(self, seed):
        """Train for a share of the epochs. Should it diverge, another start may not."""
        every = self._validate_every()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.run(seed, None, pause_after=max(1, round(TRIAL * self.max_iter / every)) * every)

    def replay(self, callback):
        """Tell the callback of the epochs so far. Returns whether it wants to stop."""
        train_nll = self.history.get("train_nll", [])
        validation_nll = self.history.get("validation_nll", np.full(len(train_nll), np.nan))
        return any(wants_stop(callback, i, *nll) for i, nll in enumerate(zip(train_nll, validation_nll), start=1))

    def run(self, seed, callback, pause_after=None):
        """Train on, to the end or for so many epochs."""
        model, shift = self.model, self.units.log_det
        part: dict[str, Any] = {}

        def in_own_units(epoch, train_nll, validation_nll):
            return callback(epoch, train_nll + shift, validation_nll + shift)

        try:
            self.flow._fit(
                part,
                *self.training,
                max_iter=self.max_iter,
                batch_size=model.batch_size,
                learning_rate=option(model, "learning_rate", self.flow.base, self.flow.context_dim),
                schedule=model.schedule,
                warmup=model.warmup,
                average=model.average,
                noise=self.noise,
                validation_data=self.validation,
                validate_every=self._validate_every(),
                n_iter_no_change=model.n_iter_no_change,
                tol=model.tol,
                random_state=seed,
                callback=None if callback is None else in_own_units,
                pause_after=pause_after,
                state=self.state,
            )
        finally:
            if "train_nll" in part:
                self.best_iter = part["best_iter"]
                for name in [name for name in part if name.endswith("_nll")]:
                    self.history[name] = np.append(self.history.get(name, []), part[name] + shift)

    def validation_nll(self):
        """The lowest so far, in the data's units; infinite before there was one."""
        curve = self.history.get("validation_nll", np.array([]))
        return np.min(curve[np.isfinite(curve)], initial=np.inf)

    def judge_layers(self):
        """Over a mixture, which is a good model by itself, keep only layers that better the likelihood of held-out samples
        beyond doubt; otherwise the mixture is fitted to all samples, held-out ones, too."""
        if self.mixture is None or self.validation is None:
            return
        with np.errstate(invalid="ignore"):  # of samples without a density
            gain = self.flow.log_prob(*self.validation[:2]).astype(np.float64) - self.log_prob
            mean = np.average(gain, weights=self.validation.weight)
            variance = np.average((gain - mean) ** 2, weights=self.validation.weight)
        both = self.training.and_those(self.validation)
        n_held_out, n_training, n = map(effective_size, (self.validation, self.training, both))
        # A fit of p parameters to n samples loses p / 2n nats on fresh ones: Akaike (1974), "A new look at the statistical
        # model identification".
        gain_of_all = self.mixture.n_parameters / 2 * (1 / n_training - 1 / n)
        error = np.sqrt(variance / (n_held_out - 1)) if n_held_out > LEAST_HELD_OUT else np.inf
        if not mean > gain_of_all + LEAST_GAIN * error:
            mixture = refit_mixture(self.mixture, both.x, both.weight, self.seed)
            self.flow, self.best_iter = new_flow(self.model, self.training, self.seed, mixture), 0


def whole_flow(model, flow, units, scaler):
    """A flow of samples and their context in their own units, less their origin, from one of standardised ones."""
    whole = Flow([layer.copy() for layer in flow.layers] + units.layers(), flow.base and flow.base.copy())
    scaler.to_own_units(whole)
    whole.n_jobs = model.n_jobs
    return whole


def as_flow_reads(fitted, data):
    """The Data as the flow among the fitted attributes reads it."""
    flow, context = fitted["flow_"], data.context
    if context is not None:
        context = (np.clip(context, *fitted["context_range_"]) - fitted["context_origin_"]).astype(flow.dtype)
    return data._replace(x=(data.x - fitted["origin_"]).astype(flow.dtype), context=context)


def new_flow(model, data, seed, base=None):
    """A flow with starting parameters for such samples, and for their context, both standardised."""
    n_layers, dim = check_int("n_layers", model.n_layers, 1), data.x.shape[1]
    context_dim = 0 if data.context is None else data.context.shape[1]
    layer_type, options = _coupling(model, base, context_dim)
    layers = []
    for i in range(n_layers):
        # In one dimension there is nothing to condition on: every layer transforms it.
        mask = [0] if dim == 1 else alternating_mask(dim, i)
        layers.append(
            layer_type(
                dim,
                model.hidden_dim,
                mask,
                activation=model.activation,
                **options,
                context_dim=context_dim,
                dtype=model.dtype,
                random_state=np.random.SeedSequence([seed, i]),
            )
        )
    # Over a mixture the layers start at the identity: it is a good model already.
    start = 0 if base else LAST_MAP if options.get("scale") == "exp" and model.standardize else 1
    for layer in layers:
        for *_, last in layer._networks():
            for part in last:
                part *= start
    flow = Flow(layers, base)
    flow.n_jobs = model.n_jobs
    return flow


def _coupling(model, base, context_dim):
    """The class of the coupling layers, and options of its own."""
    coupling = check_choice("coupling", model.coupling, ("spline", "affine", "additive"))
    if coupling == "additive":
        return AdditiveCoupling, {}
    if coupling == "spline":
        return SplineCoupling, {name: option(model, name, base, context_dim) for name in ("n_bins", "tail_bound")}
    if model.scale_bound is None:
        return AffineCoupling, {"scale": "exp"}
    return AffineCoupling, {"scale": "tanh", "scale_bound": model.scale_bound}


def bandwidth(model, data, n, mixture=None):
    """Standard deviations (D,) of the noise when n samples are known.

    The power of n was measured on two moons: Silverman's for two dimensions, -1/6, suits a kernel estimate, which needs its
    noise in the end; a flow needs it only against spikes, and the more samples the less. Noise wider than half of a mixture's
    components, in the harmonic mean of their variances, would blur what the mixture resolves.
    """
    deviation = check_real("noise", model.noise, 0) * n**-0.45 * location_and_scale(data.x, data.weight)[1]
    if mixture is None:
        return deviation
    variances = np.diagonal(mixture.covariances, axis1=1, axis2=2)
    return np.minimum(deviation, MOST_NOISE / np.sqrt(mixture.weights @ (1 / variances)))


@contextmanager
def _watched(model, callback, max_iter):
    """The callback of the user, with progress shown before it if `verbose`."""
    check_callback(callback)
    verbose = check_int("verbose", int(model.verbose) if isinstance(model.verbose, bool) else model.verbose, 0)
    with progress(max_iter, verbose) as show:

        def watched(*epoch):
            show(*epoch)
            return False if callback is None else callback(*epoch)

        yield watched if verbose else callback
