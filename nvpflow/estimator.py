"""RealNVP: a density estimator with scikit-learn's conventions, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from nvpflow import _fitting
from nvpflow._arrays import check_samples
from nvpflow._checks import check_dtype, check_int
from nvpflow._frames import feature_names
from nvpflow._sklearn import NotFittedError, Transformer
from nvpflow._streaming import Stream
from nvpflow._typing import Activation, ArrayLike, Callback, DTypeLike, Floats, PathLike, Scale, Schedule, Seed
from nvpflow.flow import Flow
from nvpflow.layers import SCALE_BOUND

__all__ = ["NotFittedError", "RealNVP"]


class RealNVP(Transformer):
    """Density estimation with a Real NVP flow.

    Samples may come in anything that holds real numbers in the memory of the CPU: sequences, arrays, frames of pandas
    and polars (their column names are checked as scikit-learn does), tensors without gradient. To scikit-learn's
    pipelines, grid searches and cross-validation it is a density estimator and a transformer.

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
    warm_start : bool, default False
        `fit` starts from the parameters that the model has, standardisation included; all that shapes the flow must be
        as it was.
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
        Epochs that were run; one for each `partial_fit`.
    best_iter_ : int
        The epoch whose parameters were kept.
    n_samples_seen_ : int
        Of `fit`, and of every `partial_fit` since.
    n_features_in_ : int
    feature_names_in_ : ndarray of str objects, shape (D,)
        Only after fitting to a frame whose column names are all strings.

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
        n_layers: int = 8,
        hidden_dim: int | Sequence[int] = 64,
        *,
        activation: Activation = "relu",
        scale: Scale = "tanh",
        scale_bound: float = SCALE_BOUND,
        standardize: bool = True,
        max_iter: int = 1000,
        batch_size: int | None = 256,
        learning_rate: float = 5e-3,
        schedule: Schedule = "cosine",
        noise: float = 0.25,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        warm_start: bool = False,
        dtype: DTypeLike = "float32",
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
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
        self.warm_start = warm_start
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    _estimator_type = "density_estimator"

    flow_: Flow
    history_: dict[str, Floats]
    n_iter_: int
    best_iter_: int
    n_samples_seen_: int

    def fit(self, X: ArrayLike, y: object = None, *, callback: Callback | None = None) -> Self:
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
        names = feature_names(X)
        checked = check_samples("X", X, check_dtype(self.dtype), minimum=2)
        fitted: dict[str, Any] = {}
        try:
            _fitting.train(self, checked, fitted, callback)
        finally:
            if fitted:  # also when interrupted
                vars(self).pop("_stream", None)
                vars(self).update(fitted)
                self._keep_features(names, checked.shape[1])
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Train on samples that arrive in pieces: one epoch on this piece.

        The first call sets up the flow and, with `standardize`, its standardisation, so its piece should tell mean and
        standard deviation roughly; later calls go on from the present parameters, also from those of `fit`. Adam's
        moments last from call to call, `learning_rate` is constant, and no samples are held back. Calling it again with
        the same samples trains for several epochs.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            Finite. The first piece: at least 2 samples, no constant column.
        y : ignored

        Returns
        -------
        self
            `history_` has one more entry of "train_nll", the mean over the piece's batches, each before its update, NaN
            if training diverged; the curve of the validation is dropped.

        Raises
        ------
        TypeError, ValueError
            If X or a parameter of the estimator is unfit. The model stays as it was.

        Warns
        -----
        ConvergenceWarning
            If training diverged; the parameters from before the call were kept.
        """
        if hasattr(self, "flow_"):
            checked = self._check_samples(X)
            names = getattr(self, "feature_names_in_", None)
            stream = getattr(self, "_stream", None) or Stream(self)
            flow, n_seen, curve = self.flow_, self.n_samples_seen_ + len(checked), self.history_["train_nll"]
        else:
            names = feature_names(X)
            checked = check_samples("X", X, check_dtype(self.dtype), minimum=2)
            stream = Stream(self)
            flow, n_seen, curve = stream.new_flow(self, checked), len(checked), np.empty(0)
        curve = np.append(curve, stream.update(self, flow, checked, n_seen))
        self._stream, self.flow_, self.history_, self.n_samples_seen_ = stream, flow, {"train_nll": curve}, n_seen
        self.n_iter_ = self.best_iter_ = len(curve)
        self._keep_features(names, checked.shape[1])
        return self

    def score_samples(self, X: ArrayLike) -> Floats:
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
        X = self._check_samples(X)
        return self.flow_.log_prob(X)

    def score(self, X: ArrayLike, y: object = None) -> float:
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
        X = self._check_samples(X)
        return -self.flow_.nll(X)

    def sample(self, n_samples: int = 1, random_state: Seed = None) -> Floats:
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

    def transform(self, X: ArrayLike) -> Any:  # an ndarray, or a frame
        """Take data to the latent space, where a fitted density is standard normal.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        Z : ndarray, shape (n, D)
            Or a frame, as `set_output` says.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        checked = self._check_samples(X)
        return self._output(self.flow_.inverse(checked)[0], X)

    def inverse_transform(self, Z: ArrayLike) -> Floats:
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
        Z = self._check_samples(Z, "Z")
        return self.flow_.forward(Z)[0]

    def save(self, path: PathLike) -> None:
        """Write the fitted model to a file, which `nvpflow.load` reads. See there.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        OSError
            If the file cannot be written.
        """
        from nvpflow.files import save

        save(self, path)
