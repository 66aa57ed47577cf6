"""FlowRegressor: regression by a conditional density, with scikit-learn's interface."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np

from nvpflow._fitted import NotFittedError
from nvpflow._sklearn.estimator import Estimator
from nvpflow._sklearn.feature_names import check_feature_names, feature_names
from nvpflow._sklearn.metadata_routing import RequestMethod
from nvpflow._sklearn.parameters import Check, allowed, check_parameters, with_parameters_of
from nvpflow._training.dataset import check_numbers
from nvpflow._training.prepare import encoding_for
from nvpflow._training.settings import Settings
from nvpflow._typing import AnyPath, ArrayLike, BinaryWriter, Callback, DTypeLike, FloatDType, Floats, Seed
from nvpflow._validation.arguments import check_callback, check_dtype, check_int, check_real, draw_seeds, shown
from nvpflow._validation.arrays import as_array
from nvpflow._validation.weights import check_weights
from nvpflow._warnings import kept_warnings
from nvpflow.density import FlowDensity
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import Flow
from nvpflow.queries._levels import conformal_levels
from nvpflow.supervised._conformal import auto_levels, held_out_levels
from nvpflow.supervised._labels import as_target, flattened
from nvpflow.supervised._targets import Targets
from nvpflow.supervised._words import in_own_words
from nvpflow.supports._category import Category
from nvpflow.supports._tables import count_columns

__all__ = ["FlowRegressor"]

WITHOUT = ("latent", "missing", "warm_start")  # parameters of `FlowDensity`
CRPS_LEVELS = (np.arange(200) + 0.5) / 200  # the score of a normal distribution is 0.1 % too low with them


def _check_folds(name: str, value: Any) -> Any:
    if isinstance(value, str) and value == "auto":
        return value
    if isinstance(value, str):
        raise ValueError(f"{name} must be a number of folds, 'auto' or None, got {shown(value)}")
    return check_int(name, value, 2)


class FlowRegressor(Estimator):
    """Regression by the density of y given X: means, quantiles, intervals and samples of a conditional `FlowDensity`.

    Parameters
    ----------
    *args, **parameters
        Parameters of `FlowDensity`, but for `latent`, `missing` and `warm_start`. `support` is that of the targets, such as
        ``[(0, None)]`` for a positive one; `context_support` is that of the columns of X.
    n_folds : int, None or "auto", default "auto"
        Conformal quantiles. Densities that are fitted to few rows are often too sure of themselves: their intervals hold fewer
        fresh rows than they say. Averages of densities may be too careful. With n_folds, each row is held out in one of as
        many folds, for ``n_folds + 1`` fits in all, and `predict_quantiles`, `predict_interval` and `crps` use the levels at
        which quantiles held as many of the held-out rows as they should. Means, densities and samples stay as they are. It
        needs one target of real numbers. "auto": 5 folds of which as many are held out as have 1000 rows together, so that
        there is one further fit from 5000 rows on; none for fewer than 30 rows, several targets and whole numbers. None: the
        quantiles of the density, for one fit.

    Attributes
    ----------
    estimator_ : FlowDensity
        The fitted density of y, with X as its context. `flow_`, `n_iter_` and `history_` are taken from it.
    n_targets_ : int
        T, the number of targets.
    levels_ : ndarray of float64, shape (m,), or None
        None without folds. The sorted levels of held-out targets, each the probability of a smaller target by the density
        that has not seen it. They are uniform for a calibrated model. Of weighted rows there are as many as the weights count:
        a whole-number weight is a number of copies, other weights have an effective size.
    n_samples_seen_ : int
        Rows of positive weight given to `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str objects, shape (C,)
        Only after fitting to a frame whose column names are all strings.

    Notes
    -----
    With one target, a flow is a monotone map of a mixture of normal distributions whose weights and means depend on X.
    Quantiles are the images of those of the mixture, which Newton steps find, so they are exact but for rounding. The
    distribution function of an ensemble is the average of those of its members; bisection inverts it. The mean is that of the
    mixture, exactly, where no layer bends the target; otherwise it is a sum over 256 cells of its distribution. The mean of
    several targets under trained layers, which mix them, is that of 1000 draws, the same ones in each call.

    The levels of held-out targets come from densities that were fitted to fewer rows, so that intervals are a little wide.
    Folds are drawn by `random_state`, and copies of a row share one, but not equal rows of a few rounded columns. Levels
    count by the weights of their rows.

    A row of X outside of the range of training is clipped to it, with a warning: see `FlowDensity.context_range_`.

    References
    ----------
    Chernozhukov, Wüthrich and Zhu (2021), "Distributional conformal prediction", for levels; Vovk (2015), "Cross-conformal
    predictors", for folds; Gneiting and Raftery (2007), "Strictly proper scoring rules, prediction, and estimation", for the
    CRPS; Sung (2004), "Gaussian mixture regression and classification".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 4, size=(300, 1))
    >>> y = X[:, 0] + X[:, 0] * rng.normal(size=300)
    >>> model = nvpflow.FlowRegressor(max_iter=20, random_state=0).fit(X, y)
    >>> model.predict(X[:3]).shape, model.predict_quantiles(X[:3], [0.1, 0.9]).shape
    ((3,), (3, 2))
    >>> low, high = model.predict_interval([[3.0]], level=0.9)
    """

    dtype: DTypeLike
    n_jobs: int | None
    random_state: Seed
    estimator_: FlowDensity
    n_targets_: int
    levels_: Floats | None = None
    n_samples_seen_: int
    _is_flat: bool  # whether y was one-dimensional

    @with_parameters_of(FlowDensity.__init__, WITHOUT)
    def __init__(self, *args: Any, n_folds: int | Literal["auto"] | None = "auto", **parameters: Any) -> None:
        for name in WITHOUT:
            if name in parameters:
                raise TypeError(f"{type(self).__name__} has no parameter {name!r}")
        given = vars(FlowDensity(*args, **parameters))  # which only stores them
        vars(self).update({name: value for name, value in given.items() if name not in WITHOUT})
        self.n_folds = n_folds

    _parameter_checks: ClassVar[dict[str, Check]] = {
        name: check for name, check in FlowDensity._parameter_checks.items() if name not in WITHOUT
    } | {"n_folds": allowed(_check_folds, or_none=True)}

    _estimator_type = "regressor"
    _file_kind = "FlowRegressor"

    set_fit_request = RequestMethod("sample_weight", "callback")
    set_score_request = RequestMethod("sample_weight")

    @property
    def flow_(self) -> Flow | FlowEnsemble:
        """Flow or FlowEnsemble: that of `estimator_`."""
        return self.estimator_.flow_

    @property
    def n_iter_(self) -> int:
        """int: that of `estimator_`."""
        return self.estimator_.n_iter_

    @property
    def history_(self) -> Any:
        """dict: that of `estimator_`."""
        return self.estimator_.history_

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, callback: Callback | None = None
    ) -> Self:
        """Fit the density of y given X.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
            At least 2 rows, finite. Columns may be categories, in a frame or as `context_support` says.
        y : array_like of real numbers, shape (n,) or (n, T)
        sample_weight : array_like of real numbers, shape (n,), optional
        callback : callable, optional
            As for `FlowDensity.fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the estimator is invalid. A fitted regressor stays unchanged.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As `FlowDensity.fit`, of which y is the X and X the context.
        """
        checked = check_parameters(self, self._parameter_checks)
        settings = Settings.of(checked | {"latent": "base", "missing": "error", "warm_start": False})
        if settings.base == "student_t":
            raise ValueError("base must not be 'student_t' in a FlowRegressor: use FlowDensity with X as the context")
        check_callback(callback)
        target, is_flat = self._check_target(y)
        has_encoding = in_own_words(lambda: encoding_for(settings, X, feature_names(X))) is not None
        rows, n_columns = in_own_words(lambda: _rows_of(X, has_encoding, settings.dtype, 2))
        if len(rows) != len(target):
            raise ValueError(f"y must have one entry for each of {len(rows)} rows of X, got {len(target)}")
        parameters = {name: getattr(self, name) for name in FlowDensity._defaults() if name not in WITHOUT}
        estimator = FlowDensity(**parameters)
        if any(kind.turn for kind in _kinds_of(settings)):
            raise ValueError(
                "support must not be an Angle, which has no mean and no quantiles: use FlowDensity with a context"
            )
        if any(isinstance(kind, Category) for kind in _kinds_of(settings)):
            raise ValueError("support must not be a category: FlowClassifier predicts the probabilities of categories")
        has_levels = target.shape[1] == 1 and not any(kind.is_whole for kind in _kinds_of(settings))
        if checked["n_folds"] not in (None, "auto") and not has_levels:
            raise ValueError("n_folds must be None or 'auto', unless there is one target of real numbers")
        in_own_words(lambda: estimator.fit(target, context=rows, sample_weight=sample_weight, callback=callback))
        fitted = {"estimator_": estimator, "n_targets_": target.shape[1], "_is_flat": is_flat}
        if checked["n_folds"] == "auto" and has_levels:
            fitted["levels_"] = in_own_words(lambda: auto_levels(estimator, rows, target, sample_weight))
        elif checked["n_folds"] != "auto" and checked["n_folds"]:
            n_folds = checked["n_folds"]
            fitted["levels_"] = in_own_words(lambda: held_out_levels(estimator, rows, target, sample_weight, n_folds))
        self._keep(fitted | {"n_samples_seen_": estimator.n_samples_seen_}, n_columns, feature_names(X))
        return self

    def _check_target(self, y: Any) -> tuple[Floats, bool]:
        """y as (n, T), and whether it had one dimension or one column."""
        target = as_target(y, type(self).__name__)
        target = flattened(target) if target.ndim == 2 and target.shape[1] == 1 else target
        columns = target[:, np.newaxis] if target.ndim == 1 else target
        return check_numbers("y", columns, check_dtype(self.dtype)), target.ndim == 1

    def _check_fitted(self) -> None:
        if not hasattr(self, "estimator_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _context(self, X: ArrayLike) -> Floats:
        """X as the flow reads it."""
        self._check_fitted()
        check_feature_names(self, X)
        estimator = self.estimator_
        has_encoding = estimator._known_encoding() is not None
        rows, n_columns = in_own_words(lambda: _rows_of(X, has_encoding, check_dtype(self.dtype)))
        if n_columns != self.n_features_in_:
            raise ValueError(
                f"X has {n_columns} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        context = in_own_words(lambda: estimator._check_context(rows, len(rows)))
        assert context is not None
        return context

    def _targets(self, X: ArrayLike) -> Targets:
        context = self._context(X)
        return Targets(self.estimator_, context)

    def predict(self, X: ArrayLike) -> Floats:
        """The conditional mean of y.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)

        Returns
        -------
        mean : ndarray of float64, shape (n,), or (n, T) for a y of two dimensions

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        targets = self._targets(X)
        (seed,) = draw_seeds(self.random_state if isinstance(self.random_state, (int, np.integer)) else 0, 1)
        mean = targets.means(seed)
        return mean[:, 0] if self._is_flat else mean

    def predict_quantiles(self, X: ArrayLike, quantiles: ArrayLike = (0.05, 0.5, 0.95)) -> Floats:
        """Quantiles of one target.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        quantiles : array_like of float, shape (Q,), default (0.05, 0.5, 0.95)
            Levels in (0, 1).

        Returns
        -------
        q : ndarray of float64, shape (n, Q)
            They never cross.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Also where there are several targets.
        """
        levels = as_array("quantiles", quantiles)
        if levels.dtype.kind not in "fiu" or levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles must be a sequence of levels in (0, 1), got {quantiles!r:.100}")
        targets = self._targets(X)
        self._need_one_target("predict_quantiles")
        levels = levels.astype(np.float64)
        if not len(levels):
            return np.empty((len(targets.context), 0))
        return targets.quantiles(levels if self.levels_ is None else conformal_levels(self.levels_, levels))

    def predict_interval(self, X: ArrayLike, level: float = 0.9) -> tuple[Floats, Floats]:
        """The central interval that holds one target with a probability.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        level : float in (0, 1), default 0.9
            The probability. As much is below the interval as above it.

        Returns
        -------
        low, high : ndarray of float64, shape (n,)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Also where there are several targets.
        """
        level = check_real("level", level, 0, 1, low_open=True)
        ends = self.predict_quantiles(X, [(1 - level) / 2, (1 + level) / 2])
        return ends[:, 0], ends[:, 1]

    def predict_log_density(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """Log-density of y given X.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        y : array_like of real numbers, shape (n,) or (n, T)

        Returns
        -------
        log_density : ndarray, shape (n,)
            In nats, per unit of y; -inf outside of the `support`. Of a column of whole numbers: log-probability.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Notes
        -----
        It is not called `score_samples`, which scikit-learn calls without y.
        """
        self._check_fitted()
        rows, target = self._rows(X), self._matching(X, y)
        with kept_warnings():  # `_rows` has warned
            return self.estimator_.score_samples(target, context=rows)

    def predict_density(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """Density of y given X, the exponential of `predict_log_density`.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        y : array_like of real numbers, shape (n,) or (n, T)

        Returns
        -------
        density : ndarray of float64, shape (n,)
            Per unit of y.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return np.exp(self.predict_log_density(X, y).astype(np.float64))

    def crps(self, X: ArrayLike, y: ArrayLike) -> Floats:
        """The continuous ranked probability score of each row; lower is better.

        It is the integral of ``(F(t) - [y <= t])**2`` over t, with the distribution function F of y given X: the absolute
        error of a prediction that is one number. Here it is computed as twice the mean pinball loss of 200 quantiles.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        y : array_like of real numbers, shape (n,)

        Returns
        -------
        crps : ndarray of float64, shape (n,)
            In units of y.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Also where there are several targets.
        """
        self._check_fitted()
        self._need_one_target("crps")
        target = self._matching(X, y).astype(np.float64)
        excess = target - self.predict_quantiles(X, CRPS_LEVELS)
        losses: Floats = 2 * np.mean(np.maximum(CRPS_LEVELS * excess, (CRPS_LEVELS - 1) * excess), axis=1)
        return losses

    def sample(self, X: ArrayLike, n_samples: int = 1, random_state: Seed = None) -> Floats:
        """Draw targets for each row of X.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        n_samples : int, default 1
            Draws for each row.
        random_state : int, Generator, RandomState or None
            As for `FlowDensity.sample`.

        Returns
        -------
        y : ndarray, shape (n, n_samples), or (n, n_samples, T) for a y of two dimensions

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        n_samples, context = check_int("n_samples", n_samples, 0), self._context(X)
        seed = self.random_state if random_state is None else random_state
        y = self.flow_.sample(n_samples, seed, context=context, per_context=True)
        y = self.estimator_._to_own_units(y.reshape(-1, self.n_targets_)).reshape(y.shape)
        return y[..., 0] if self._is_flat else y

    def score(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """The coefficient of determination R^2 of `predict`, as of scikit-learn's regressors.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        y : array_like of real numbers, shape (n,) or (n, T)
        sample_weight : array_like of real numbers, shape (n,), optional

        Returns
        -------
        float
            1 is best; the mean over the targets. NaN for fewer than 2 rows. Of a constant target: 1 if every prediction is
            right, and else 0.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        target = self._matching(X, y).astype(np.float64)
        errors = target - self.predict(X).reshape(target.shape)
        weight = None if sample_weight is None else check_weights("sample_weight", sample_weight, len(target))
        if len(target) < 2:
            return float("nan")
        scale = np.maximum(np.abs(target).max(axis=0), np.finfo(np.float64).tiny)  # squares may overflow
        away = target / scale - np.average(target / scale, axis=0, weights=weight)
        residual = np.average((errors / scale) ** 2, axis=0, weights=weight)
        total = np.average(away**2, axis=0, weights=weight)
        flat = total == 0
        shares = np.where(flat, residual == 0, 1 - residual / np.where(flat, 1, total))
        return float(shares.mean())

    def log_likelihood(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """The mean log-density of y given X; higher is better.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, C)
        y : array_like of real numbers, shape (n,) or (n, T)
        sample_weight : array_like of real numbers, shape (n,), optional

        Returns
        -------
        float
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        log_density = self.predict_log_density(X, y).astype(np.float64)
        weight = None if sample_weight is None else check_weights("sample_weight", sample_weight, len(log_density))
        return float(np.average(log_density, weights=weight))

    def _rows(self, X: ArrayLike) -> Any:
        """X as `estimator_` takes a context, checked."""
        self._context(X)
        return _rows_of(X, self.estimator_._known_encoding() is not None, check_dtype(self.dtype))[0]

    def _matching(self, X: Any, y: ArrayLike) -> Floats:
        """y (n, T), checked."""
        self._check_fitted()
        target, _ = self._check_target(y)
        n = np.shape(X)[0] if np.ndim(X) else 0
        if target.shape != (n, self.n_targets_):
            raise ValueError(f"y must have shape {(n, self.n_targets_)} as fit and X say, got {target.shape}")
        return target

    def _need_one_target(self, method: str) -> None:
        if self.n_targets_ != 1:
            raise ValueError(f"{method} needs one target, and this {type(self).__name__} has {self.n_targets_}")

    def __sklearn_tags__(self) -> Any:
        """The ``sklearn.utils.Tags``. Only scikit-learn, from 1.6, calls this."""
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.regressor_tags = RegressorTags()
        return tags

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the fitted regressor to a file for `nvpflow.load`. See `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        NotFittedError
            If the regressor is not fitted.
        TypeError, ValueError
            If a parameter is one that `fit` would not take, or those of the flow are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)


def _rows_of(X: Any, has_encoding: bool, dtype: FloatDType, minimum: int = 1) -> tuple[Any, int]:
    """X, checked unless categories and angles are still to be encoded, and the number of its columns."""
    rows: Any = X if has_encoding else check_numbers("context", X, dtype, minimum)
    return rows, count_columns("context", X) if has_encoding else rows.shape[1]


def _kinds_of(settings: Settings) -> tuple[Any, ...]:
    """The declared kinds of the targets."""
    kinds = settings.support
    return () if kinds is None else kinds if isinstance(kinds, tuple) else tuple(kinds.values())
