"""How `RealNVP` trains: the flow that it builds, the samples that it holds back, the noise that it adds."""

from contextlib import contextmanager

import numpy as np

from nvpflow._checks import alternating_mask, check_callback, check_int, check_real, draw_seeds
from nvpflow._context import ContextScaler
from nvpflow._data import effective_size, moments, warn_of_coarse_columns
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm, CouplingLayer
from nvpflow.progress import progress

__all__ = ["bandwidth", "new_flow", "train"]


def train(model, data, fitted, callback=None):
    """Train a flow.

    Parameters
    ----------
    model : RealNVP
        For its parameters and, with `warm_start`, the flow to start from. It stays as it is.
    data : Data, n >= 2
        In the dtype of the model, finite.
    fitted : dict
        Receives the fitted attributes, also when training is interrupted.
    callback : callable, optional
        As in `RealNVP.fit`.
    """
    init_seed, split_seed, shuffle_seed = draw_seeds(model.random_state, 3)
    training, validation = _split(model, data, split_seed)
    scaler = ContextScaler(training, model.standardize)
    flow = new_flow(model, training, init_seed)
    if model.warm_start and hasattr(model, "flow_"):
        _start_from(flow, model.flow_)
        scaler.to_standardized(flow)
    history = {}
    max_iter = check_int("max_iter", model.max_iter, 1)
    try:
        with _watched(model, callback, max_iter) as watched:
            flow._fit(
                history,
                *scaler.transform(training),
                max_iter=max_iter,
                batch_size=model.batch_size,
                learning_rate=model.learning_rate,
                schedule=model.schedule,
                noise=bandwidth(model, training, effective_size(training)),
                validation_data=validation and scaler.transform(validation),
                n_iter_no_change=model.n_iter_no_change,
                tol=model.tol,
                random_state=shuffle_seed,
                callback=watched,
            )
    finally:
        if "train_nll" in history:  # also when interrupted
            scaler.to_own_units(flow)
            fitted["flow_"] = flow
            fitted["n_iter_"] = len(history["train_nll"])
            fitted["best_iter_"] = history["best_iter"]
            fitted["n_samples_seen_"] = len(data.x)
            fitted["history_"] = {name: curve for name, curve in history.items() if name.endswith("_nll")}


def new_flow(model, data, seed):
    """A flow with starting parameters for such samples, and for their context standardised."""
    n_layers, dim = check_int("n_layers", model.n_layers, 1), data.x.shape[1]
    layers = []
    for i in range(n_layers):
        # In one dimension there is nothing to condition on: every layer transforms it.
        mask = [0] if dim == 1 else alternating_mask(dim, i)
        layers.append(
            CouplingLayer(
                dim,
                model.hidden_dim,
                mask,
                activation=model.activation,
                scale=model.scale,
                scale_bound=model.scale_bound,
                context_dim=0 if data.context is None else data.context.shape[1],
                dtype=model.dtype,
                random_state=np.random.SeedSequence([seed, i]),
            )
        )
    if model.standardize:
        layers.append(_standardization(data))
    flow = Flow(layers)
    flow.n_jobs = model.n_jobs
    return flow


def bandwidth(model, data, n):
    """Standard deviations (D,) of the noise when n samples are known, by the rate of Silverman (1986), "Density
    estimation", equation 4.14."""
    dim = data.x.shape[1]
    return check_real("noise", model.noise, 0) * n ** (-1 / (dim + 4)) * moments(data.x, data.weight)[1]


def _split(model, data, seed):
    """Data to train on, and data to validate with or None."""
    if not model.early_stopping:
        return data, None
    fraction = check_real("validation_fraction", model.validation_fraction, 0, 1, low_open=True)
    n = len(data.x)
    n_validation = min(max(1, round(fraction * n)), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    return data.rows(order[n_validation:]), data.rows(order[:n_validation])


def _start_from(flow, fitted):
    """Give the new flow the parameters of the fitted one, if they are of one kind."""
    if flow.config() != fitted.config():
        raise ValueError(
            "warm_start needs the same features and the same n_layers, hidden_dim, activation, scale, scale_bound, "
            f"standardize, dtype and columns of context as the previous fit, got\n{flow}\nafter\n{fitted}"
        )
    flow.parameters[:] = fitted.parameters


@contextmanager
def _watched(model, callback, max_iter):
    """The callback of the user, with progress shown before it if `verbose`."""
    check_callback(callback)
    verbose = check_int("verbose", int(model.verbose) if isinstance(model.verbose, bool) else model.verbose, 0)
    with progress(max_iter, verbose) as show:

        def watched(*epoch):
            show(*epoch)
            return callback(*epoch) if callback else False

        yield watched if verbose else callback


def _standardization(data):
    """An ActNorm that takes standardised samples to those of the data."""
    x, (mean, deviation) = data.x, moments(data.x, data.weight)
    constant = np.flatnonzero(x.min(axis=0) == x.max(axis=0))
    if len(constant):
        raise ValueError(
            f"X must have no constant column, got one in column(s) {', '.join(map(str, constant[:10]))}: "
            "a constant has no density"
        )
    warn_of_coarse_columns("X", x, mean, deviation, stacklevel=5)
    layer = ActNorm(x.shape[1], dtype=x.dtype)
    layer.log_scale[:] = np.log(deviation)
    layer.bias[:] = mean
    return layer
