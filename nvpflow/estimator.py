"""RealNVP: a density estimator with scikit-learn's conventions, without scikit-learn."""

import inspect
import warnings

import numpy as np

from nvpflow._checks import (
    alternating_mask,
    check_dtype,
    check_int,
    check_real,
    draw_seeds,
)
from nvpflow.flow import Flow
from nvpflow.layers import SCALE_BOUND, ActNorm, CouplingLayer

__all__ = ["NotFittedError", "RealNVP"]


class NotFittedError(ValueError, AttributeError):
    """The estimator was used before `fit`."""


class RealNVP:
    """Density estimation with a Real NVP flow.

    Parameters
    ----------
    n_layers : int, default 8
        Affine coupling layers. Their masks alternate: 1, 0, 1, ... and 0, 1, 0, ...
    hidden_dim : int or sequence of int, default 64
        Width of the hidden layer, or of each hidden layer, of the networks.
    activation : {"relu", "tanh", "silu"}, default "relu"
    scale : {"tanh", "exp"}, default "tanh"
        "tanh" bounds the log-scale of every layer, so that the density of points far from the training data stays finite;
        "exp" is the published, unbounded layer. See `CouplingLayer`.
    scale_bound : float, default 1.0
        For ``scale="tanh"``.
    standardize : bool, default True
        Add an `ActNorm` layer that starts from the data's mean and standard deviation. Densities are in the units of the
        data either way.
    max_iter : int, default 1000
        Epochs at the most.
    batch_size : int or None, default 256
        Samples per update; None is the full batch.
    learning_rate : float, default 5e-3
        Of Adam.
    schedule : {"cosine", "constant"}, default "cosine"
        "cosine" lets the learning rate fall to 0 at `max_iter`.
    noise : float, default 0.25
        Every time a sample is used, normal noise of standard deviation ``noise * n**(-1 / (D + 4))`` times its column's is
        added to it: a bandwidth that falls with the number of samples as Silverman's does, and keeps the flow from
        putting spikes on them. 0 for none.
    early_stopping : bool, default True
        Hold `validation_fraction` of the samples back and keep the parameters that do best on them. False: all samples, the
        last parameters.
    validation_fraction : float, default 0.1
        In (0, 1).
    n_iter_no_change : int or None, default None
        Stop when the validation NLL has not improved for so many epochs. None: never before `max_iter`, where the cosine
        schedule ends.
    tol : float, default 0
        In nats; improvements of the validation NLL that are not larger do not count for `n_iter_no_change`.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of every computation.
    n_jobs : int or None, default None
        Threads for `fit` and for the fitted `flow_`: None is 1, -1 all processors. The results do not depend on it.
    verbose : int, default 0
        Print about so many times ten lines of progress during `fit`.
    random_state : int, Generator, RandomState or None, default None
        An int makes `fit` and `sample` give the same bits every time.

    Attributes
    ----------
    flow_ : Flow
        The fitted flow: `n_layers` coupling layers and, if `standardize`, one `ActNorm`.
    history_ : dict
        "train_nll" and, with `early_stopping`, "validation_nll": ndarrays, one entry per epoch, in nats.
    n_iter_ : int
        Epochs that were run.
    best_iter_ : int
        The epoch whose parameters were kept.
    n_features_in_ : int

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP"; Rothfuss et al. (2019), "Noise
    regularization for conditional density estimation".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    >>> model = nvpflow.RealNVP(max_iter=50, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (500,)
    >>> model.sample(3).shape
    (3, 2)
    """

    def __init__(
        self,
        n_layers=8,
        hidden_dim=64,
        *,
        activation="relu",
        scale="tanh",
        scale_bound=SCALE_BOUND,
        standardize=True,
        max_iter=1000,
        batch_size=256,
        learning_rate=5e-3,
        schedule="cosine",
        noise=0.25,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=None,
        tol=0.0,
        dtype="float32",
        n_jobs=None,
        verbose=0,
        random_state=None,
    ):
        self.n_layers = n_layers
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.scale = scale
        self.scale_bound = scale_bound
        self.standardize = standardize
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.noise = noise
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X, y=None, *, callback=None):
        """Fit the flow to samples.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            At least 2 samples, finite, no constant column.
        y : ignored
        callback : callable, optional
            ``callback(epoch, train_nll, validation_nll)`` after every epoch; a true result stops the training.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X or a parameter of the estimator is unfit. A model fitted before stays as it was.

        Warns
        -----
        ConvergenceWarning
            If training diverged; the best parameters were kept.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt and leaves a fitted model with the best parameters so far.
        """
        X = self._check_samples(X, minimum=2)
        init_seed, split_seed, shuffle_seed = draw_seeds(self.random_state, 3)
        train, validation = self._split(X, split_seed)
        flow = self._new_flow(train, init_seed)
        history = {}
        max_iter = check_int("max_iter", self.max_iter, 1)
        try:
            flow._fit(
                history,
                train,
                max_iter=max_iter,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                schedule=self.schedule,
                noise=self._bandwidth(train),
                validation_data=validation,
                n_iter_no_change=self.n_iter_no_change,
                tol=self.tol,
                random_state=shuffle_seed,
                callback=self._progress(callback, max_iter),
            )
        finally:
            if "train_nll" in history:  # also when interrupted
                self.flow_ = flow
                self.n_features_in_ = X.shape[1]
                self.n_iter_ = len(history["train_nll"])
                self.best_iter_ = history["best_iter"]
                self.history_ = {name: curve for name, curve in history.items() if name.endswith("_nll")}
        return self

    def score_samples(self, X):
        """Log-density of each sample.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        log_density : ndarray, shape (n,)
            In nats, of the data's own units.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return self._fitted_flow().log_prob(self._check_samples(X))

    def score(self, X, y=None):
        """Mean log-density of the samples, in nats; higher is better.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), n >= 1
        y : ignored

        Returns
        -------
        float

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return -self._fitted_flow().nll(self._check_samples(X))

    def sample(self, n_samples=1, random_state=None):
        """Draw samples from the fitted density.

        Parameters
        ----------
        n_samples : int, default 1
        random_state : int, Generator, RandomState or None
            None: the estimator's own, so that an estimator with an integer random_state gives the same samples every
            time, as scikit-learn's GaussianMixture does.

        Returns
        -------
        X : ndarray, shape (n_samples, D)

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        flow = self._fitted_flow()
        n_samples = check_int("n_samples", n_samples, 1)
        return flow.sample(n_samples, self.random_state if random_state is None else random_state)

    def transform(self, X):
        """Take data to the latent space, where a fitted density is standard normal.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        Z : ndarray, shape (n, D)

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return self._fitted_flow().inverse(self._check_samples(X))[0]

    def inverse_transform(self, Z):
        """Take latent points to data, undoing `transform`.

        Parameters
        ----------
        Z : array_like of real numbers, shape (n, D)

        Returns
        -------
        X : ndarray, shape (n, D)

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return self._fitted_flow().forward(self._check_samples(Z, "Z"))[0]

    def save(self, path):
        """Write the fitted model to a file, which `nvpflow.load` reads. See there."""
        from nvpflow.files import save

        save(self, path)

    @classmethod
    def _parameter_names(cls):
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep=True):
        """The parameters of the constructor and their values, as scikit-learn wants them."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params):
        """Set parameters of the constructor; returns self.

        Raises
        ------
        ValueError
            If there is no such parameter; nothing has changed then.
        """
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(f"Invalid parameter {name!r} for RealNVP; valid parameters are {', '.join(names)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self):
        defaults = inspect.signature(type(self).__init__).parameters
        changed = {
            name: value
            for name, value in self.get_params().items()
            if type(value) is not type(defaults[name].default) or value != defaults[name].default
        }
        return f"RealNVP({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def _fitted_flow(self):
        if not hasattr(self, "flow_"):
            raise NotFittedError("this RealNVP is not fitted yet: call fit first")
        return self.flow_

    def _check_samples(self, X, name="X", minimum=1):
        """X in the dtype of the model, finite, with the number of columns that the model knows."""
        fitting = minimum > 1
        dtype = check_dtype(self.dtype) if fitting else self.flow_.dtype
        X = np.asarray(X)
        if X.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of real numbers, got dtype {X.dtype}")
        if X.ndim != 2:
            hint = ": reshape(-1, 1) makes one column, reshape(1, -1) one sample" if X.ndim == 1 else ""
            raise ValueError(f"{name} must have shape (n, D), got {X.shape}{hint}")
        if X.shape[0] < minimum:
            raise ValueError(f"{name} must have at least {minimum} sample(s), got shape {X.shape}")
        if X.shape[1] < 1:
            raise ValueError(f"{name} must have at least 1 feature, got shape {X.shape}")
        if not fitting and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {X.shape[1]} features, but RealNVP is expecting {self.n_features_in_} features as input"
            )
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(X, dtype)
        if not np.isfinite(converted).all():
            raise ValueError(f"{name} must be finite in {dtype}, got NaN or infinity")
        return converted

    def _split(self, X, seed):
        """Samples to train on, and samples to validate with or None."""
        if not self.early_stopping:
            return X, None
        fraction = check_real("validation_fraction", self.validation_fraction, 0, 1, low_open=True)
        n_validation = min(max(1, round(fraction * len(X))), len(X) - 1)
        order = np.random.default_rng(seed).permutation(len(X))
        return X[order[n_validation:]], X[order[:n_validation]]

    def _bandwidth(self, X):
        """Standard deviations of the noise: the rate of Silverman (1986), "Density estimation", equation 4.14."""
        n, dim = X.shape
        return check_real("noise", self.noise, 0) * n ** (-1 / (dim + 4)) * X.std(axis=0, dtype=np.float64)

    def _new_flow(self, X, seed):
        n_layers, dim = check_int("n_layers", self.n_layers, 1), X.shape[1]
        layers = []
        for i in range(n_layers):
            # In one dimension there is nothing to condition on: every layer transforms it.
            mask = [0] if dim == 1 else alternating_mask(dim, i)
            layers.append(
                CouplingLayer(
                    dim,
                    self.hidden_dim,
                    mask,
                    activation=self.activation,
                    scale=self.scale,
                    scale_bound=self.scale_bound,
                    dtype=self.dtype,
                    random_state=np.random.SeedSequence([seed, i]),
                )
            )
        if self.standardize:
            layers.append(_standardization(X))
        flow = Flow(layers)
        flow.n_jobs = self.n_jobs
        return flow

    def _progress(self, callback, max_iter):
        """The callback of the user and, if verbose, a line now and then."""
        every = max(1, max_iter // (10 * self.verbose)) if self.verbose else 0
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
            stacklevel=4,
        )
    layer = ActNorm(X.shape[1], dtype=X.dtype)
    layer.log_scale[:] = np.log(deviation)
    layer.bias[:] = mean
    return layer
