"""FlowDensity: a density estimator with scikit-learn's conventions, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from nvpflow._fitted import NotFittedError
from nvpflow._sklearn.feature_names import feature_names
from nvpflow._sklearn.metadata_routing import RequestMethod
from nvpflow._sklearn.parameters import Check, allowed
from nvpflow._sklearn.transformer import Transformer
from nvpflow._training.build import reads
from nvpflow._training.dataset import Data, check_data, count_given, refuse_context, warn_of_dependent_columns
from nvpflow._training.fit import train
from nvpflow._training.partial_fit import Stream
from nvpflow._training.settings import Settings
from nvpflow._typing import (
    Activation,
    AnyPath,
    ArrayLike,
    Base,
    BinaryWriter,
    Callback,
    CouplingKind,
    DTypeLike,
    Floats,
    History,
    Names,
    Schedule,
    Seed,
)
from nvpflow._validation.arguments import (
    check_bool,
    check_callback,
    check_choice,
    check_hidden,
    check_int,
    check_n_jobs,
    check_random_state,
    check_real,
    check_scale_bound,
    check_tail_bound,
    check_verbose,
    check_warmup,
)
from nvpflow._validation.arrays import as_array
from nvpflow.flow import Flow
from nvpflow.layers import ACTIVATIONS, MAX_BINS, SCALE_BOUND

__all__ = ["FlowDensity", "NotFittedError"]

NO_DENSITY = (
    "the mean log-density of the samples is not finite {}: coupling='spline', a scale_bound, standardize=True, "
    "dtype='float64', fewer layers, a smaller learning_rate, or samples of a smaller range may help"
)


class FlowDensity(Transformer):
    """Density estimation with a normalizing flow: spline couplings over a fitted mixture.

    By default the flow's base density is a mixture of normal distributions that fits the samples as well as such a mixture
    can, and the layers, which start at the identity, learn what is left. Over a standard normal base, ``base="normal"``, the
    layers do all the work. `RealNVP` is the flow of that paper.

    Samples may come in anything that holds real numbers in the memory of the CPU: sequences, arrays, frames of pandas
    and polars (their column names are checked as scikit-learn does), tensors without gradient. Missing values (NaN, masked
    elements) are an error. To scikit-learn's pipelines, grid searches and cross-validation it is a density estimator and a
    transformer.

    Log-densities are in nats, per unit of the data's own units. They are not probabilities: where samples lie closer than
    one unit they are positive. Where a sample has no density they are -inf.

    Fitted with a `context`, C numbers that come with each sample, it is a conditional density, p(x | context), and
    every method after `fit` needs the context, too.

    Parameters
    ----------
    n_layers : int, default 12
        Coupling layers. Their masks alternate: 1, 0, 1, ... and 0, 1, 0, ...
    hidden_dim : int or sequence of int, default 32
        Width of the hidden layer, or of each hidden layer, of the networks.
    activation : {"relu", "tanh", "silu"}, default "relu"
    coupling : {"spline", "affine", "additive"}, default "spline"
        What the layers do to the columns that they transform: "spline" takes them through monotone rational-quadratic
        splines, as neural spline flows do (`SplineCoupling`); "affine" scales and shifts them, as Real NVP does
        (`AffineCoupling`); "additive" shifts them, as NICE does (`AdditiveCoupling`).
    scale_bound : float or None, default 1.0
        For ``coupling="affine"``: the bound of `AffineCoupling`, with the range given there, so that points far from the
        training data keep a density, as they do with splines. None: no bound, as Real NVP was published. With `standardize`,
        layers of each kind start near the identity; without, those without a bound start as published, and many of them may
        give samples in large units no density at all, which is an error.
    n_bins : int or None, default None
        Bins of the splines, for ``coupling="spline"``. None: 6 over a mixture, 4 over a normal base or with a context.
    tail_bound : float or None, default None
        The splines reach so many standard deviations to either side; beyond they are the identity. None: 3 over a mixture, 5
        over a normal base or with a context.
    base : {"auto", "normal", "mixture"}, default "auto"
        The density of latent points. "normal": N(0, I). "mixture": a mixture of normal distributions (`MixtureBase`), fitted
        to the standardised samples by expectation and maximisation, with the number of components that has the least BIC.
        Layers are discarded unless they improve the held-out likelihood by one standard error more than fitting the mixture
        to all samples would; the mixture is then fitted to all of them. "auto": "mixture" where samples are held back,
        otherwise "normal".
    standardize : bool, default True
        Train in units of the data's standard deviations, and end the flow with the layers that lead to the data's own:
        an `ActNorm` and, in every second start over a normal base, an `LULinear` before it that makes the data uncorrelated,
        too. The context is standardised, and what a linear regression on it explains (ridge, with the penalty of the least
        generalised cross-validation) is taken out of the samples, by an `AdditiveCoupling` before the `ActNorm`. Densities,
        and the context that `flow_` reads, are in the units of the data either way.
    n_init : int, default 1
        Starts, from parameters of their own. After a tenth of the epochs the one with the lowest validation NLL goes on
        alone. Where no samples are held back, and for a warm start, there is one.
    max_iter : int or None, default None
        Epochs. None: as many as make 4500 updates, fewer for flows with many parameters, at least 10 epochs.
    batch_size : int or None, default 256
        Samples per update; None is the full batch.
    learning_rate : float or None, default None
        Of Adam. None: 1e-3 over a mixture, 5e-3 over a normal base or with a context; for `partial_fit`, where it is constant,
        1e-3 over a mixture with a context, too.
    schedule : {"cosine", "constant"}, default "cosine"
        "cosine" lets the learning rate fall to 0 at `max_iter`.
    warmup : int or float, default 0.05
        The learning rate first grows along a line, for so many updates; a float in [0, 1) is a share of all.
    average : float, default 0.995
        The model gets exponential moving averages of the parameters along the updates, which forget by this factor. 0: the
        parameters themselves.
    noise : float, default 0.65
        Every time a sample is used, normal noise of ``noise * n**-0.45`` standard deviations is added to it: a bandwidth
        that falls with the number of samples, and keeps the flow from putting spikes on them. 0 for none.
    validation_fraction : float or None, default 0.2
        The share of the samples, in (0, 1), that is held back; the parameters that do best on them are kept. A sample without
        which a column of the others would be constant is not held back. None: train on all samples, and keep the last
        parameters.
    n_iter_no_change : int or None, default None
        Stop when the validation NLL has not improved for so many epochs, or the training NLL where no samples are held back.
        None: never before `max_iter`, where the cosine schedule ends; the samples held back are then looked at about fifty
        times, otherwise after every epoch.
    tol : float, default 0
        In nats; improvements that are not larger do not count for `n_iter_no_change`.
    warm_start : bool, default False
        `fit` starts from the flow that the model has; all that shapes it must be as it was. The standardisation and, where the
        layers were given up, the mixture become those of the new samples if these are likelier so, beyond what as many
        parameters gain by chance (Akaike's criterion); otherwise, as for the same samples again, the flow's function is kept.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of every computation.
    n_jobs : int or None, default None
        Threads for `fit` and for the fitted `flow_`: None is 1, -1 all processors. The results do not depend on it.
    verbose : int, default 0
        0: silent. From 1 on, `fit` shows its progress with the training and the validation NLL: a tqdm bar in a
        terminal or a notebook, where tqdm is installed, and elsewhere about ten lines times `verbose`, on stderr. See
        `nvpflow.progress.progress`.
    random_state : int, Generator, RandomState or None, default None
        An int, >= 0, makes `fit` give the same bits every time, and each call of `sample` the same samples: see there. A
        Generator gives others in each call.

    Attributes
    ----------
    flow_ : Flow
        The fitted flow: `n_layers` coupling layers and, if `standardize`, the layers that lead to the units of the
        data, over `flow_.base`. Its `context_dim` is C. It does not clip the context, and reads X and context less `origin_`
        and `context_origin_`.
    history_ : dict
        "train_nll", ndarray, one entry per epoch, in nats. Where samples are held back also
        "validation_epoch", the epochs after which they were looked at, counted from 1, and "validation_nll", as many entries.
    n_iter_ : int
        Epochs that were run; one for each `partial_fit`.
    best_iter_ : int
        The epoch whose parameters were kept; 0 where none bettered the start.
    n_samples_seen_ : int
        Rows given to `fit`, and to every `partial_fit` since; those of weight 0 do not count.
    n_features_in_ : int
    feature_names_in_ : ndarray of str objects, shape (D,)
        Only after fitting to a frame whose column names are all strings.
    context_feature_names_in_ : ndarray of str objects, shape (C,)
        The same of the context.
    context_range_ : ndarray of float64, shape (2, C)
        Least and greatest values of the context of training, further apart by a fifth. A context that leaves this range is
        clipped to it, with a warning: networks extrapolate badly. So are outliers of training, in a column whose standard
        deviation is more than 8 times its spread between the 5th and the 95th percentile.
    origin_, context_origin_ : ndarray of float64, shapes (D,) and (C,)
        0, but the mean of columns that vary by less than a thousand times the resolution of `dtype` there. `flow_` reads the
        samples and the context less these, and their subtraction in float64 keeps what the precision of the flow would not.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP"; Dempster, Laird and Rubin (1977), "Maximum
    likelihood from incomplete data via the EM algorithm"; Golub, Heath and Wahba (1979), "Generalized cross-validation as a
    method for choosing a good ridge parameter"; Schwarz (1978), "Estimating the dimension of a model"; Rothfuss
    et al. (2019), "Noise regularization for conditional density estimation"; Winkler, Worrall, Hoogeboom and Welling
    (2019), "Learning likelihoods with conditional normalizing flows"; Martino, Elvira and Louzada (2017), "Effective sample
    size for importance sampling based on discrepancy measures", for weights.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (500,)
    >>> model.sample(3).shape
    (3, 2)

    A conditional density, and samples of it where the context is 0.5:

    >>> context = np.random.default_rng(1).uniform(size=(500, 1))
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X + context, context=context)
    >>> model.score_samples(X + context, context=context).shape
    (500,)
    >>> model.sample(3, context=[0.5]).shape
    (3, 2)
    """

    # Each default is what did best in benchmarks/quality.py, at less than a tenth of the time of PyTorch's 1000 full-batch
    # steps on two moons; "gap" is that to the true density, over random states, in nats. Those of n_layers to activation,
    # and schedule to average were measured over a normal base.
    def __init__(
        self,
        n_layers: int = 12,  # 6 and 8 were worse on moons, spirals and circles
        hidden_dim: int | Sequence[int] = 32,  # 24 was worse on spirals, 64 gained nothing
        *,
        activation: Activation = "relu",  # tanh and SiLU: up to twice the gap on moons
        coupling: CouplingKind = "spline",  # affine layers: seven times the gap on moons
        scale_bound: float | None = SCALE_BOUND,
        n_bins: int | None = None,  # this, tail_bound and learning_rate: see DEFAULTS in _training/defaults.py
        tail_bound: float | None = None,
        base: Base = "auto",  # N(0, I): gaps up to 20 times as large, on every density but two spirals and pinwheel
        standardize: bool = True,
        n_init: int = 1,  # over a mixture one is as good as any; over N(0, I) the second, whitened, suits correlated tables
        max_iter: int | None = None,
        batch_size: int | None = 256,  # as good as twice as many samples in half as many steps
        learning_rate: float | None = None,
        schedule: Schedule = "cosine",
        warmup: float = 0.05,
        average: float = 0.995,  # 0.999 lags behind the schedule, none is a little worse
        noise: float = 0.65,  # 1.3: 1.5 times the gap on 1000 moons of noise 0.05; 0.3: spikes
        validation_fraction: float | None = 0.2,  # 0.1 decides worse: a worst gap of 0.11 instead of 0.07 on 1000 moons
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
        self.coupling = coupling
        self.scale_bound = scale_bound
        self.n_bins = n_bins
        self.tail_bound = tail_bound
        self.base = base
        self.standardize = standardize
        self.n_init = n_init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.average = average
        self.noise = noise
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    _parameter_checks: ClassVar[dict[str, Check]] = {
        "n_layers": allowed(check_int, 1),
        "hidden_dim": allowed(check_hidden),
        "activation": allowed(check_choice, ACTIVATIONS),
        "coupling": allowed(check_choice, ("spline", "affine", "additive")),
        "scale_bound": allowed(check_scale_bound, or_none=True, in_dtype=True),
        "n_bins": allowed(check_int, 2, MAX_BINS, or_none=True),
        "tail_bound": allowed(check_tail_bound, or_none=True, in_dtype=True),
        "base": allowed(check_choice, ("auto", "normal", "mixture")),
        "standardize": allowed(check_bool),
        "n_init": allowed(check_int, 1),
        "max_iter": allowed(check_int, 1, or_none=True),
        "batch_size": allowed(check_int, 1, or_none=True),
        "learning_rate": allowed(check_real, 0, low_open=True, or_none=True, in_dtype=True),
        "schedule": allowed(check_choice, ("cosine", "constant")),
        "warmup": allowed(check_warmup),
        "average": allowed(check_real, 0, 1),
        "noise": allowed(check_real, 0, in_dtype=True),
        "validation_fraction": allowed(check_real, 0, 1, low_open=True, or_none=True),
        "n_iter_no_change": allowed(check_int, 1, or_none=True),
        "tol": allowed(check_real, 0, in_dtype=True),
        "warm_start": allowed(check_bool),
        "n_jobs": allowed(check_n_jobs),
        "verbose": allowed(check_verbose),
        "random_state": allowed(check_random_state),
    }

    set_fit_request = RequestMethod("context", "sample_weight", "callback")
    set_partial_fit_request = RequestMethod("context", "sample_weight")
    set_score_request = RequestMethod("context", "sample_weight")
    set_transform_request = RequestMethod("context")
    set_inverse_transform_request = RequestMethod("context")

    _estimator_type = "density_estimator"
    _file_kind = "FlowDensity"

    flow_: Flow
    history_: History
    n_iter_: int
    best_iter_: int
    n_samples_seen_: int
    origin_: Floats
    context_range_: Floats
    context_origin_: Floats

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """Fit the flow to samples.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            At least 2 samples, finite, no constant column, no masked elements.
        y : ignored
            But real numbers in two dimensions are an error: they are a `context`.
        context : array_like of real numbers, shape (n, C), optional
            Finite. The density is then conditional on it. A constant column teaches nothing. The names of a frame's columns
            are checked later, as those of X are.
        sample_weight : array_like of real numbers, shape (n,), optional
            Finite, >= 0, and at least 2 of them > 0: how much each sample counts in the loss, the validation and the
            standardisation. Only their ratios matter. Ratios of whole numbers are those of counts: where others have weight 1,
            a sample of weight 3 is three such samples, as long as these are not more than a million, or ten times as many as
            were given. A sample of weight 0 is as good as absent. Default: all 1.
        callback : callable, optional
            ``callback(epoch, train_nll, validation_nll)`` after every epoch, counted from 1; validation_nll is NaN
            where samples held back were not looked at. To stop the training it raises StopIteration, which `fit` catches.
            What it returns is ignored.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the estimator is of the wrong type, or outside of its range, whether or not the
            other parameters make use of it; or if the mean log-density of the samples is not finite after training. A model
            fitted before stays as it was.

        Warns
        -----
        ConvergenceWarning
            If training diverged; the best parameters were kept.
        UserWarning
            If there are not more samples than columns; if columns are linear combinations of others, where a density has no
            upper limit and its value says little; if columns of X or context vary by less than a thousand times the
            resolution of `dtype` (see `origin_`), or a column of the context has outliers (see `context_range_`). Later
            methods warn of a context that is clipped.

        Notes
        -----
        Ctrl-C raises KeyboardInterrupt and leaves a fitted model with the best parameters so far.

        Where the number of samples matters, as for `noise` and for the number of components, samples of relative weights
        count as the exponential of the entropy of the weights' shares.

        Samples that are equal count as often as they come. A column of which many values are equal has no finite density
        there; the model puts narrow peaks on such values, whose share of the samples is right, while the height says nothing.
        """
        settings = self._settings()
        refuse_context(y)
        check_callback(callback)
        names, context_names = feature_names(X), feature_names(context)
        data = check_data(X, context, sample_weight, settings.dtype, minimum=2)
        return self._fit_data(settings, data, count_given(data, sample_weight), names, context_names, callback)

    def _settings(self) -> Settings:
        """The parameters, checked."""
        return Settings.of(self._check_parameters())

    def _fit_data(
        self,
        settings: Settings,
        data: Data,
        n_given: int,
        names: Names | None = None,
        context_names: Names | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """Fit to checked samples, of which so many were given."""
        warn_of_dependent_columns(data, settings.dtype, names)
        fitted: dict[str, Any] = {"n_samples_seen_": n_given}
        try:
            train(settings, data, fitted, callback, self if settings.warm_start and hasattr(self, "flow_") else None)
        except BaseException:  # an interruption leaves the best parameters so far
            if "flow_" in fitted:
                self._keep(fitted, data.x.shape[1], names, context_names)
            raise
        if not np.isfinite(fitted["flow_"].nll(*reads(fitted, data))):
            raise ValueError(NO_DENSITY.format("after training"))
        self._keep(fitted, data.x.shape[1], names, context_names)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train on samples that arrive in pieces: one epoch on this piece.

        The first call sets up the flow and, with `standardize`, its standardisation, so its piece should tell mean and
        standard deviation roughly; later calls go on from the present parameters, also from those of `fit`. Adam's
        moments last from call to call, `learning_rate` is constant, and no samples are held back. A mixture, with
        ``base="mixture"`` alone, is fitted to the first piece and trained on with the layers. Calling it again with
        the same samples trains for several epochs.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            Finite. The first piece: at least 2 samples, no constant column.
        y : ignored
            But real numbers in two dimensions are an error: they are a `context`.
        context : array_like of real numbers, shape (n, C)
            In all pieces or in none. The first one sets the units that the context is standardised to; each widens
            `context_range_`.
        sample_weight : array_like of real numbers, shape (n,), optional
            As in `fit`.

        Returns
        -------
        self
            `history_` has one more entry of "train_nll", the mean over the piece's batches, each before its update, NaN
            if training diverged; the curve of the validation is dropped.

        Raises
        ------
        TypeError, ValueError
            As `fit`; or if the first piece has no finite mean log-density before it is trained on. The model stays as it was.

        Warns
        -----
        ConvergenceWarning
            If training diverged, so that a loss, a gradient or the NLL of the piece at the end was not finite; the parameters
            from before the call were kept.
        """
        settings = self._settings()
        refuse_context(y)
        if hasattr(self, "flow_"):
            checked = self._check_columns(X)
            data = check_data(checked, self._check_context_rows(context, len(checked)), sample_weight, self.flow_.dtype)
            n = count_given(data, sample_weight)
            names, context_names = (getattr(self, f"{of}feature_names_in_", None) for of in ("", "context_"))
            stream = getattr(self, "_stream", None) or Stream(settings, data, self.flow_.dtype, self)
            flow, n_seen, curve = self.flow_, self.n_samples_seen_ + n, self.history_["train_nll"]
        else:
            names, context_names = feature_names(X), feature_names(context)
            data = check_data(X, context, sample_weight, settings.dtype, minimum=2)
            n = count_given(data, sample_weight)
            stream = Stream(settings, data, settings.dtype)
            flow, n_seen, curve = stream.new_flow(settings, data), n, np.empty(0)
            read = {"flow_": flow, "origin_": stream.origin} | stream.scaler.fitted_attributes()
            if not np.isfinite(flow.nll(*reads(read, data))):
                raise ValueError(NO_DENSITY.format("before training"))
        curve = np.append(curve, stream.update(settings, flow, data, n_seen))
        fitted = {"_stream": stream, "flow_": flow, "history_": {"train_nll": curve}, "n_samples_seen_": n_seen}
        fitted |= {"n_iter_": len(curve), "best_iter_": len(curve), "origin_": stream.origin}
        fitted |= stream.scaler.fitted_attributes()
        self._keep(fitted, data.x.shape[1], names, context_names)
        return self

    def score_samples(self, X: ArrayLike, *, context: ArrayLike | None = None) -> Floats:
        """Log-density of each sample.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        log_density : ndarray, shape (n,)
            In nats, per unit of the data's own units, so that it may be positive; -inf where there is no density. Given the
            context, if there is one.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        X = self._check_samples(X)
        return self.flow_.log_prob(X, self._check_context(context, len(X)))

    def score(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean log-density of the samples, in nats; higher is better.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), n >= 1
        y : ignored
            But real numbers in two dimensions are an error: they are a `context`.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        sample_weight : array_like of real numbers, shape (n,), optional
            w >= 0, finite, not all zero, for the weighted mean sum(w log p) / sum(w). Default: all 1.

        Returns
        -------
        float
            -inf if a sample has no density.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        refuse_context(y)
        X = self._check_samples(X)
        return -self.flow_.nll(X, self._check_context(context, len(X)), sample_weight)

    def sample(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
    ) -> Floats:
        """Draw samples from the fitted density.

        An estimator with an integer `random_state` draws the *same* samples in every call, as scikit-learn's `GaussianMixture`
        does: a loop that rejects samples and draws again would never end. Give each call the same Generator for fresh ones,
        ``rng = np.random.default_rng(0)`` before the loop and ``model.sample(100, random_state=rng)`` in it, or the
        estimator a Generator instead of the integer, ``FlowDensity(random_state=np.random.default_rng(0))``.

        Parameters
        ----------
        n_samples : int, default 1
            0 is fine.
        random_state : int, Generator, RandomState or None
            An int, >= 0: the same samples every time. A Generator or RandomState: fresh ones in each call. None: the
            `random_state` of the estimator; if that is None, too, fresh ones.
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        per_context : bool, default False
            True: draw `n_samples` for each row of a context of shape (m, C).

        Returns
        -------
        X : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            In the dtype of the model, or in float64 if `origin_` is not 0. A frame where `set_output` says so, with the
            columns of `feature_names_in_`, or else x0, x1, ...; with `per_context` always an ndarray.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return self.sample_and_log_prob(n_samples, random_state, context=context, per_context=per_context)[0]

    def sample_and_log_prob(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
    ) -> tuple[Floats, Floats]:  # or a frame and an array, as `set_output` says
        """Draw samples together with their log-densities, in one pass.

        Parameters
        ----------
        n_samples : int, default 1
        random_state : int, Generator, RandomState or None
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
        per_context : bool, default False
            As in `sample`.

        Returns
        -------
        X : ndarray or frame, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            The samples that `sample` draws.
        log_density : ndarray, shape (n_samples,) or (m, n_samples)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        flow = self._fitted_flow()
        n_samples = check_int("n_samples", n_samples, 0)
        per_context = check_bool("per_context", per_context)
        n_rows = len(np.atleast_2d(as_array("context", context))) if per_context and context is not None else n_samples
        context = self._check_context(context, n_rows)
        seed = self.random_state if random_state is None else random_state
        X, log_density = flow.sample_and_log_prob(n_samples, seed, context, per_context=per_context)
        X = self._to_own_units(X)
        return X if per_context else self._data_output(X), log_density

    def grad_log_prob(self, X: ArrayLike, *, context: ArrayLike | None = None) -> Floats:
        """Gradient of the log-density with respect to each sample, which is also called the score.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        grad : ndarray, shape (n, D)
            In nats per unit of X; see `Flow.grad_log_prob`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        X = self._check_samples(X)
        return self.flow_.grad_log_prob(X, self._check_context(context, len(X)))

    def transform(self, X: ArrayLike, *, context: ArrayLike | None = None) -> Any:  # an ndarray, or a frame
        """Take data to the latent space, where samples of the fitted density are distributed as `flow_.base`.

        By default that is a mixture of normal distributions. With ``base="normal"``, and by default with
        ``validation_fraction=None``, it is N(0, I), and `flow_.base` is None.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        Z : ndarray, shape (n, D)
            Or a frame, as `set_output` says.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        checked = self._check_samples(X)
        return self._output(self.flow_.inverse(checked, self._check_context(context, len(checked)))[0], X)

    def inverse_transform(self, Z: ArrayLike, *, context: ArrayLike | None = None) -> Floats:
        """Take latent points to data, undoing `transform`.

        Parameters
        ----------
        Z : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        X : ndarray, shape (n, D)
            In the dtype of the model, or in float64 if `origin_` is not 0.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        Z = self._check_samples(Z, "Z")
        return self._to_own_units(self.flow_.forward(Z, self._check_context(context, len(Z)))[0])

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the fitted model to a file, which `nvpflow.load` reads. See there.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        TypeError, ValueError
            If a parameter is one that `fit` would not take, or those of the flow are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)
