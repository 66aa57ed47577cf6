"""How `RealNVP` trains: the flow that it builds, the samples that it holds back, the noise that it adds."""

import warnings
from typing import Any

import numpy as np

from nvpflow._checks import alternating_mask, check_int, check_real, draw_seeds
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm, CouplingLayer

__all__ = ["bandwidth", "new_flow", "train"]


def train(model, X, fitted, callback=None):
    """Train a flow on X.

    Parameters
    ----------
    model : RealNVP
        For its parameters and, with `warm_start`, the flow to start from. It stays as it is.
    X : ndarray, shape (n, D), n >= 2
        In the dtype of the model, finite.
    fitted : dict
        Receives the fitted attributes, also when training is interrupted.
    callback : callable, optional
        As in `RealNVP.fit`.
    """
    init_seed, split_seed, shuffle_seed = draw_seeds(model.random_state, 3)
    training, validation = _split(model, X, split_seed)
    flow = new_flow(model, training, init_seed)
    if model.warm_start and hasattr(model, "flow_"):
        _start_from(flow, model.flow_)
    history: dict[str, Any] = {}
    max_iter = check_int("max_iter", model.max_iter, 1)
    try:
        flow._fit(
            history,
            training,
            max_iter=max_iter,
            batch_size=model.batch_size,
            learning_rate=model.learning_rate,
            schedule=model.schedule,
            noise=bandwidth(model, training, len(training)),
            validation_data=validation,
            n_iter_no_change=model.n_iter_no_change,
            tol=model.tol,
            random_state=shuffle_seed,
            callback=_progress(model, callback, max_iter),
        )
    finally:
        if "train_nll" in history:  # also when interrupted
            fitted["flow_"] = flow
            fitted["n_iter_"] = len(history["train_nll"])
            fitted["best_iter_"] = history["best_iter"]
            fitted["n_samples_seen_"] = len(X)
            fitted["history_"] = {name: curve for name, curve in history.items() if name.endswith("_nll")}


def new_flow(model, X, seed):
    """A flow with starting parameters for such samples."""
    n_layers, dim = check_int("n_layers", model.n_layers, 1), X.shape[1]
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
                dtype=model.dtype,
                random_state=np.random.SeedSequence([seed, i]),
            )
        )
    if model.standardize:
        layers.append(_standardization(X))
    flow = Flow(layers)
    flow.n_jobs = model.n_jobs
    return flow


def bandwidth(model, X, n):
    """Standard deviations (D,) of the noise when n samples are known, by the rate of Silverman (1986), "Density
    estimation", equation 4.14."""
    dim = X.shape[1]
    return check_real("noise", model.noise, 0) * n ** (-1 / (dim + 4)) * X.std(axis=0, dtype=np.float64)


def _split(model, X, seed):
    """Samples to train on, and samples to validate with or None."""
    if not model.early_stopping:
        return X, None
    fraction = check_real("validation_fraction", model.validation_fraction, 0, 1, low_open=True)
    n_validation = min(max(1, round(fraction * len(X))), len(X) - 1)
    order = np.random.default_rng(seed).permutation(len(X))
    return X[order[n_validation:]], X[order[:n_validation]]


def _start_from(flow, fitted):
    """Give the new flow the parameters of the fitted one, if they are of one kind."""
    if flow.config() != fitted.config():
        raise ValueError(
            "warm_start needs the same features and the same n_layers, hidden_dim, activation, scale, scale_bound, "
            f"standardize and dtype as the previous fit, got\n{flow}\nafter\n{fitted}"
        )
    flow.parameters[:] = fitted.parameters


def _progress(model, callback, max_iter):
    """The callback of the user and, if verbose, a line now and then."""
    every = max(1, max_iter // (10 * model.verbose)) if model.verbose else 0
    if not every:
        return callback

    def report(epoch, train_nll, validation_nll):
        if epoch % every == 0 or epoch == max_iter:
            held_out = "" if np.isnan(validation_nll) else f"  validation NLL {validation_nll:.4f}"
            print(f"epoch {epoch}/{max_iter}  training NLL {train_nll:.4f}{held_out}", flush=True)
        return callback(epoch, train_nll, validation_nll) if callback else False

    return report


def _standardization(X):
    """An ActNorm that takes standardised samples to those of X."""
    mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    constant = np.flatnonzero(X.min(axis=0) == X.max(axis=0))
    if len(constant):
        raise ValueError(
            f"X must have no constant column, got one in column(s) {', '.join(map(str, constant[:10]))}: "
            "a constant has no density"
        )
    coarse = np.flatnonzero(deviation < 1e3 * np.finfo(X.dtype).eps * np.abs(mean))
    if len(coarse):
        warnings.warn(
            f"column(s) {', '.join(map(str, coarse[:10]))} of X vary by less than a thousand times the resolution of "
            f"{X.dtype} at their mean: subtract the mean first{', or use dtype=float64' * (X.dtype == np.float32)}",
            UserWarning,
            stacklevel=5,
        )
    layer = ActNorm(X.shape[1], dtype=X.dtype)
    layer.log_scale[:] = np.log(deviation)
    layer.bias[:] = mean
    return layer
