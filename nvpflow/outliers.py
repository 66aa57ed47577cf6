"""FlowOutlierDetector: outlier detection by the density of a flow, with scikit-learn's interface."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from nvpflow._lazy import is_lazy
from nvpflow._outlier_folds import HeldOut, fit_folds, may_need_folds, select, threshold_of
from nvpflow._sklearn.estimator import Estimator
from nvpflow._sklearn.metadata_routing import RequestMethod
from nvpflow._sklearn.parameters import Check, allowed, with_parameters_of
from nvpflow._streamed import Streamed, is_source, refuse_with_source
from nvpflow._training.build import reads
from nvpflow._training.dataset import Data, refuse_context
from nvpflow._training.prepare import Prepared, prepare
from nvpflow._training.settings import Settings
from nvpflow._typing import AnyPath, ArrayLike, BinaryWriter, Callback, DTypeLike, Floats, History, Ints, Seed
from nvpflow._validation.arguments import check_bool, check_callback, check_choice, check_real, draw_seeds, shown
from nvpflow._warnings import warn_user
from nvpflow.density import FlowDensity, fit_new
from nvpflow.diagnostics._tables import own_log_density
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.missing._levels import levels, levels_of, thresholds

if TYPE_CHECKING:
    from nvpflow.supports._categories import Categories
    from nvpflow.supports._encoding import ContextEncoding
    from nvpflow.supports._fitted import Supports

__all__ = ["FlowOutlierDetector"]

TAIL = 0.05  # the share of the fitted distribution outside of the region that "auto" finds
N_DRAWS = 20_000  # samples for its threshold; the share then has a standard deviation of 0.0015


def _check_contamination(name: str, value: object) -> float | str:
    if isinstance(value, str):
        return check_choice(name, value, ("auto",))
    share = check_real(name, value, 0, low_open=True)
    if share > 0.5:
        raise ValueError(f"{name} must be at most 0.5, got {shown(value)}")
    return share


class FlowOutlierDetector(Streamed, Estimator):
    """Outlier detection: samples where the density that a normalizing flow learned is low.

    Parameters
    ----------
    *args, **parameters
        Parameters of `FlowDensity`.
    contamination : "auto" or float in (0, 0.5], default "auto"
        A float is the share of the training samples, by their weights, that count as outliers. From 20 to 20,000 samples,
        their held-out log-densities count, by fits to four fifths of them each, where these differ: see the notes.
        With "auto", outliers lie outside of the region of highest density that holds 95 % of the fitted distribution; the
        share of the training samples may differ. In all cases the flow is fitted to all samples, including outliers.

    Attributes
    ----------
    offset_ : float
        The log-density, in nats, below which a sample is an outlier. It is finite: a sample without a density, whose
        log-density is -inf, is always an outlier.
    estimator_ : FlowDensity
        The fitted density, of one flow or of an ensemble. `flow_`, `origin_`, `n_iter_` and `history_` are taken from it.
    context_range_ : ndarray of float64, shape (2, C)
        Only with a context; that of `estimator_`.
    n_features_in_ : int
    feature_names_in_, context_feature_names_in_ : ndarray of str objects, shape (D,) and (C,)
        Only after fitting to frames whose column names are all strings.

    Notes
    -----
    With a context, the density is that of a sample given its context, and there is one threshold for all contexts. "auto"
    leaves 5 % outside on average over the contexts of the training samples.

    A density is too high at the samples that it was fitted to. A threshold at their log-densities calls too many fresh
    samples outliers, and far too many where columns are many for the samples, or rounded. So five folds are held out of up to
    20,000 samples, for five fits more, each with its own `time_limit`; from 100 samples for each column on they count only
    where significantly more of them are below the threshold of the training samples; the callback sees the fit to all samples
    alone. `predict` of the training samples then finds fewer outliers than the share. `fit_predict` labels each by the fit
    that has not seen it. Probabilities of categories are always those of all samples.

    Log-densities of rows with different missing cells cannot be compared: each column has a unit of its own. With
    ``missing="marginalize"`` each pattern of missing cells has a threshold of its own, for `predict` and `decision_function`.
    The same share of the fitted distribution, with the same cells missing, is below it as is below `offset_` without missing
    cells; samples of the fitted density estimate it. A row without any value is never an outlier. Thresholds of patterns need
    a density without a context.

    References
    ----------
    Hyndman (1996), "Computing and graphing highest density regions", for "auto".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = nvpflow.FlowOutlierDetector(max_iter=50, random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.5], [6.0, -6.0]])
    array([ 1, -1])
    """

    # Parameters of `FlowDensity` that are read, and what `fit` learns.
    dtype: DTypeLike
    random_state: Seed
    estimator_: FlowDensity
    offset_: float

    @with_parameters_of(FlowDensity.__init__)
    def __init__(self, *args: Any, contamination: float | Literal["auto"] = "auto", **parameters: Any) -> None:
        vars(self).update(vars(FlowDensity(*args, **parameters)))  # which only stores them
        self.contamination = contamination

    _parameter_checks: ClassVar[dict[str, Check]] = FlowDensity._parameter_checks | {
        "contamination": allowed(_check_contamination)
    }

    _estimator_type = "outlier_detector"
    _file_kind = "FlowOutlierDetector"

    set_fit_request = RequestMethod("context", "sample_weight", "callback")
    set_predict_request = RequestMethod("context")
    set_decision_function_request = RequestMethod("context")

    @property
    def flow_(self) -> Flow | FlowEnsemble:
        """Flow or FlowEnsemble: that of `estimator_`."""
        return self.estimator_.flow_

    @property
    def origin_(self) -> Floats:
        """ndarray: that of `estimator_`."""
        return self.estimator_.origin_

    @property
    def context_origin_(self) -> Floats:
        """ndarray: that of `estimator_`, where there is a context."""
        return self.estimator_.context_origin_

    @property
    def context_range_(self) -> Floats:
        """ndarray: that of `estimator_`, where there is a context."""
        return self.estimator_.context_range_

    def _known_supports(self) -> Supports | None:
        return self.estimator_._known_supports()

    def _known_categories(self) -> Categories | None:
        return self.estimator_._known_categories()

    def _known_encoding(self) -> ContextEncoding | None:
        return self.estimator_._known_encoding()

    @property
    def n_iter_(self) -> int:
        """int: that of `estimator_`."""
        return self.estimator_.n_iter_

    @property
    def history_(self) -> History:
        """dict: that of `estimator_`."""
        return self.estimator_.history_

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """Fit the density, and set the threshold.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            As for `FlowDensity.fit`. Of tables that it reads in batches, and of large ones of Dask, rows that are drawn at
            random set the threshold.
        y : ignored
            Except that floating-point numbers in two dimensions are an error: pass them as `context`.
        context : array_like of real numbers, shape (n, C), optional
            What the density is conditional on: outliers are unusual given their context.
        sample_weight : array_like of real numbers, shape (n,), optional
        callback : callable, optional
            As for `FlowDensity.fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the estimator is invalid. A fitted detector stays unchanged.

        Warns
        -----
        ConvergenceWarning
            If training diverged and the best parameters were kept, or if more samples than the share of outliers have no
            density.
        """
        refuse_context(y)
        self._fit(X, context, sample_weight, callback)
        return self

    def _fit(
        self,
        X: ArrayLike,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        callback: Callback | None = None,
        may_fold: bool = True,
    ) -> HeldOut | None:
        """Fit, and return the densities of folds, if `may_fold` and they set the threshold."""
        settings = Settings.of(self._check_parameters())
        check_callback(callback)
        if is_lazy(X) or is_source(X):
            self._fit_drawn(settings, X, context, sample_weight, callback)
            return None
        parameters = {name: getattr(self, name) for name in FlowDensity._defaults()}
        fitted = settings.warm_start and hasattr(self, "estimator_")
        estimator = copy.copy(self.estimator_).set_params(**parameters) if fitted else FlowDensity(**parameters)
        prepared = prepare(settings, X, context, sample_weight, fit_new, estimator if fitted else None)
        before = getattr(estimator, "flow_", None)
        try:
            estimator._fit_data(settings, prepared, callback)
        except BaseException:  # an interruption leaves the best parameters so far
            if getattr(estimator, "flow_", None) is not before:
                self._keep_with_threshold(estimator, prepared, None)
            raise
        folds = may_fold and not isinstance(self.contamination, str) and may_need_folds(prepared)
        try:
            held_out = fit_folds(estimator, settings, prepared) if folds else None
        except KeyboardInterrupt:
            self._keep_with_threshold(estimator, prepared, None)
            raise
        return self._keep_with_threshold(estimator, prepared, held_out)

    def _fit_drawn(
        self,
        settings: Settings,
        X: Any,
        context: ArrayLike | None,
        sample_weight: ArrayLike | None,
        callback: Callback | None,
    ) -> None:
        """Fit to a table of Dask, or one that is read in batches. Rows that were drawn at random set the threshold, or all
        if they are few."""
        estimator = FlowDensity(**{name: getattr(self, name) for name in FlowDensity._defaults()})
        fit = estimator._fit_lazy if is_lazy(X) else estimator._fit_source
        drawn = fit(X, callback, context=context, sample_weight=sample_weight)
        prepared = prepare(settings, drawn, None, None, fit_new)
        has_all = prepared.n_given == estimator.n_samples_seen_
        folds = has_all and not isinstance(self.contamination, str) and may_need_folds(prepared)
        self._keep_with_threshold(estimator, prepared, fit_folds(estimator, settings, prepared) if folds else None)

    def _keep_with_threshold(self, estimator: FlowDensity, prepared: Prepared, held_out: HeldOut | None) -> HeldOut | None:
        """Keep the fitted density of the data, and the threshold that suits it. Return the densities of folds that set it."""
        if prepared.has_missing and not isinstance(self.contamination, str):
            offset, held_out = self._threshold_of_incomplete(estimator, prepared, held_out, float(self.contamination))
        else:
            scores, share, weight = self._scores_for_threshold(estimator, prepared)

            def score(fold: FlowDensity, rows: Ints) -> Floats:
                return self._scores_for_threshold(fold, select(prepared, rows))[0]

            def threshold(scores: Floats) -> np.float64:
                return _threshold(scores, share, weight)

            offset, held_out = threshold_of(prepared, scores, held_out, score, threshold, share)
        fitted = {"estimator_": estimator, "offset_": offset}
        self._keep(fitted, prepared.n_features, prepared.names, prepared.context_names)
        return held_out

    def _scores_for_threshold(self, estimator: FlowDensity, prepared: Prepared) -> tuple[Floats, float, Floats | None]:
        """Log-densities, the share of them that lies below the threshold, and their weights."""
        is_auto, data, categories = isinstance(self.contamination, str), prepared.data, prepared.categories
        share, weight = (TAIL, None) if isinstance(self.contamination, str) else (float(self.contamination), data.weight)
        if is_auto and categories is not None:
            (draw,) = draw_seeds(self.random_state, 1)
            return own_log_density(estimator, N_DRAWS, draw), share, weight
        if estimator.flow_ is None:
            return np.asarray(prepared.log_prob()), share, weight
        read, flow = reads(vars(estimator), data), estimator.flow_
        if is_auto:
            (seed,) = draw_seeds(self.random_state, 1)
            contexts = _draw_contexts(read, seed)
            x, scores = flow.sample_and_log_prob(N_DRAWS, seed, contexts)
            return estimator._log_density_of_draws(x, scores, contexts) + prepared.log_prob(), share, weight
        scores, contexts, x = flow.log_prob(read.x, read.context), read.context, data.x
        supports = estimator._known_supports()
        if supports is not None and supports.is_sum:
            scores = supports.log_masses(flow, x, estimator.origin_, contexts)
        return scores + prepared.log_prob(), share, weight

    def _threshold_of_incomplete(
        self, estimator: FlowDensity, prepared: Prepared, held_out: HeldOut | None, share: float
    ) -> tuple[np.float64, HeldOut | None]:
        """The threshold of complete rows below which this share of samples lies, some of which have missing cells, and the
        densities of folds that set it.

        What counts is the share of the fitted distribution that is less likely than a sample, with the same cells missing.
        """
        if prepared.data.context is not None and prepared.categories is None:
            raise ValueError(
                "contamination must be 'auto' for samples with missing cells and a context, got a share: no threshold for "
                "rows with missing cells suits all contexts"
            )
        model, rows = estimator._incomplete_model(), prepared.rows()

        def score(fold: FlowDensity, out: Ints) -> Floats:
            return levels(fold._incomplete_model(), rows[out])

        def threshold(scores: Floats) -> np.float64:
            return _threshold(scores, share, prepared.data.weight)

        level, held_out = threshold_of(prepared, levels(model, rows), held_out, score, threshold, share)
        return np.float64(thresholds(model, np.zeros((1, rows.shape[1]), bool), float(level))[0]), held_out

    def _thresholds_of(self, X: ArrayLike, context: ArrayLike | None) -> Floats:
        """The threshold (n,) of each row, by its missing cells."""
        if context is not None:
            raise ValueError(
                "X must have no missing cells where there is a context, got NaN: no threshold for rows with missing cells "
                "suits all contexts. score_samples takes them"
            )
        model, missing = self._incomplete_model(), np.isnan(self._check_incomplete(X))
        level = levels_of(model, np.zeros(missing.shape[1], bool), np.array([self.offset_]))[0]
        found = thresholds(model, missing, level)
        found[~missing.any(axis=1)] = self.offset_
        return found

    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        return_std: Literal[False] = False,
        return_error: Literal[False] = False,
    ) -> npt.NDArray[np.float64]: ...
    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        return_std: Literal[True],
        return_error: Literal[False] = False,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
    @overload
    def score_samples(
        self, X: ArrayLike, *, context: ArrayLike | None = None, return_std: bool = False, return_error: bool = False
    ) -> npt.NDArray[np.float64] | tuple[npt.NDArray[np.float64], ...]: ...
    def score_samples(
        self, X: ArrayLike, *, context: ArrayLike | None = None, return_std: bool = False, return_error: bool = False
    ) -> npt.NDArray[np.float64] | tuple[npt.NDArray[np.float64], ...]:
        """Log-density of each sample. A lower value is more unusual.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), or what `fit` reads in batches
            With ``missing="marginalize"`` cells may be missing. The log-density is then the marginal one of the others.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a detector that was fitted with a context.
        return_std : bool, default False
            Also return how far the members of an ensemble disagree.
        return_error : bool, default False
            Also return the standard errors of log-densities of rows with missing cells.

        Returns
        -------
        scores : ndarray of float64, shape (n,)
            In nats; -inf where there is no density.
            Of an array or a frame of Dask: a lazy array or series.
        std, error : ndarray of float64, shape (n,)
            Only with `return_std` and `return_error`, as `FlowDensity.score_samples` returns them, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return_std, return_error = check_bool("return_std", return_std), check_bool("return_error", return_error)
        if is_lazy(X):
            from nvpflow.scale.dask import lazy_scores

            lazy: npt.NDArray[np.float64] = lazy_scores(self, X, context, return_std=return_std, return_error=return_error)
            return lazy
        if is_source(X):
            refuse_with_source(context=context, return_std=return_std or None, return_error=return_error or None)
            return self._results_of_source(X)
        found = self._all_scores(X, context, return_std, return_error)
        if isinstance(found, tuple):
            return tuple(array.astype(np.float64) for array in found)
        scores: npt.NDArray[np.float64] = found.astype(np.float64)
        return scores

    def sample(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> Any:  # as FlowDensity.sample
        """Draw samples from the fitted density, inliers and outliers.

        Parameters
        ----------
        n_samples : int, default 1
        random_state : int, Generator, RandomState or None
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
        per_context : bool, default False
        temperature : float, default 1.0
            As for `FlowDensity.sample`.

        Returns
        -------
        X : ndarray or frame, shape (n_samples, D), or (m, n_samples, D) with `per_context`

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        self._check_fitted()
        options: dict[str, Any] = {"context": context, "per_context": per_context, "temperature": temperature}
        return self.estimator_.sample(n_samples, random_state, **options)

    def sample_and_log_prob(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> tuple[Any, npt.NDArray[np.float64]]:
        """Draw samples together with their log-densities, in one pass.

        Parameters
        ----------
        n_samples : int, default 1
        random_state : int, Generator, RandomState or None
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
        per_context : bool, default False
        temperature : float, default 1.0
            As for `FlowDensity.sample_and_log_prob`.

        Returns
        -------
        X : ndarray or frame, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            The samples that `sample` draws.
        log_density : ndarray of float64, shape (n_samples,) or (m, n_samples)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        self._check_fitted()
        options: dict[str, Any] = {"context": context, "per_context": per_context, "temperature": temperature}
        x, log_density = self.estimator_.sample_and_log_prob(n_samples, random_state, **options)
        return x, log_density.astype(np.float64)

    def decision_function(self, X: ArrayLike, *, context: ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """How far the log-density of each sample is above the threshold: negative for outliers.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), or what `fit` reads in batches
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a detector that was fitted with a context.

        Returns
        -------
        decision : ndarray of float64, shape (n,)
            The scores of `score_samples` less `offset_`, in nats; -inf where there is no density. In rows with missing cells
            the threshold is another one, see the notes of the class.
            Of an array or a frame of Dask: a lazy array or series.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        if is_lazy(X):
            from nvpflow.scale.dask import lazy_rows

            lazy: npt.NDArray[np.float64] = lazy_rows(
                self, "decision_function", X, context, ("decision",), np.dtype(np.float64), {}
            )
            return lazy
        if is_source(X):
            refuse_with_source(context=context)
            return self._results_of_source(X, "decision_function")
        scores = self.score_samples(X, context=context)
        return scores - (self._thresholds_of(X, context) if self._takes_missing(X) else self.offset_)

    def predict(self, X: ArrayLike, *, context: ArrayLike | None = None) -> Ints:
        """-1 for outliers, 1 for inliers. A sample whose score equals `offset_` is an inlier.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), or what `fit` reads in batches
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a detector that was fitted with a context.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            Of an array or a frame of Dask: a lazy array or series.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        if is_lazy(X):
            from nvpflow.scale.dask import lazy_rows

            lazy: Ints = lazy_rows(self, "predict", X, context, ("label",), np.dtype(np.intp), {})
            return lazy
        return np.where(self.decision_function(X, context=context) >= 0, 1, -1)  # a NaN would be an outlier

    def fit_predict(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        callback: Callback | None = None,
    ) -> Ints:
        """`fit`, then `predict` of the same samples, by held-out densities where these set the threshold: see the notes.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            Of Dask or read in batches: all labels are by the density that was fitted to all rows.
        y : ignored
            Except that floating-point numbers in two dimensions are an error: pass them as `context`.
        context : array_like of real numbers, shape (n, C), optional
        sample_weight : array_like of real numbers, shape (n,), optional
        callback : callable, optional
            As for `fit`.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            1 and -1.

        Raises
        ------
        TypeError, ValueError
            As `fit`.
        """
        refuse_context(y)
        held_out = self._fit(X, context, sample_weight, callback)
        labels = self.predict(X, context=context)
        if held_out is not None:
            folds = held_out.folds_of(self.estimator_._check_incomplete(X))
            for k in np.unique(folds[folds >= 0]):
                labels[folds == k] = self._with(held_out.estimators[k], X).predict(X, context=context)[folds == k]
        return labels

    def _with(self, estimator: FlowDensity, X: ArrayLike) -> Self:
        """This detector with another density, at the same level where cells are missing."""
        twin = copy.copy(self)
        twin.estimator_ = estimator
        if self._takes_missing(X):
            complete = np.zeros((1, self.n_features_in_), bool)
            level = levels_of(self._incomplete_model(), complete[0], np.array([self.offset_]))[0]
            twin.offset_ = thresholds(twin._incomplete_model(), complete, level)[0]
        return twin

    def explain(self, X: ArrayLike, *, context: ArrayLike | None = None, level: float = 0.9) -> Any:
        """How unusual each cell of a row is given the others, and what would be usual there.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            Cells may be missing: what is usual there is found as well.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a detector that was fitted with a context.
        level : float in (0, 1), default 0.9
            Of the intervals.

        Returns
        -------
        explanation : pandas.DataFrame, or dict of ndarray without pandas
            With n D entries: "row" and "column", the index of the frame, and "value", the cell; "log_density",
            log p(value | other cells of the row), in nats; "p_value", the probability of values as far out to either side, or
            as unlikely, which can be compared between columns; "typical", the conditional mean, or the most likely category;
            "low" and "high", the central interval of this level, NaN for categories.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Warns
        -----
        AccuracyWarning
            If conditional densities cannot be trusted.

        Examples
        --------
        >>> import numpy as np, nvpflow
        >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
        >>> detector = nvpflow.FlowOutlierDetector(max_iter=50, random_state=0).fit(X)
        >>> len(detector.explain([[0.0, 6.0]])["p_value"])
        2
        """
        from nvpflow.queries._explain import explain

        self._check_fitted()
        return explain(self.estimator_, X, context, level)

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the fitted detector to a file for `nvpflow.load`. See `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        NotFittedError
            If the detector is not fitted.
        TypeError, ValueError
            If a parameter is one that `fit` would not take, or those of the flow are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)


def _draw_contexts(data: Data, seed: int) -> Floats | None:
    """N_DRAWS contexts (N_DRAWS, C) of the samples, by their weights; None where there is none."""
    if data.context is None:
        return None
    share = None if data.weight is None else data.weight / data.weight.sum()
    return data.context[np.random.default_rng(seed).choice(len(data.context), N_DRAWS, p=share)]


def _threshold(scores: Floats, share: float, weight: Floats | None = None) -> np.float64:
    """The score below which this share of the weight lies; half of the weight of each sample counts as below its own score.

    Samples without a density, which are always outliers, count with the lowest finite score.
    """
    has_density = np.isfinite(scores)
    if not has_density.any():
        raise ValueError("no sample has a density that is finite and not zero: coupling='spline' or a scale_bound may help")
    scores = np.where(has_density, scores, scores[has_density].min()).astype(np.float64)
    weight = np.ones(len(scores)) if weight is None else weight
    without = weight[~has_density].sum() / weight.sum()
    if without > share:
        warn_user(
            f"a share of {without:.2g} of the samples that set the threshold, more than {share:.2g}, has no density: "
            "all of them are outliers. coupling='spline' or a scale_bound may help.",
            ConvergenceWarning,
        )
    order = np.argsort(scores)
    weight = weight[order]
    return np.interp(share, (np.cumsum(weight) - weight / 2) / weight.sum(), scores[order])
