"""FlowClassifier: classification by the density of each class, with scikit-learn's interface."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from nvpflow._fitted import NotFittedError
from nvpflow._sklearn.estimator import Estimator
from nvpflow._sklearn.feature_names import check_feature_names, feature_names
from nvpflow._sklearn.metadata_routing import RequestMethod
from nvpflow._sklearn.parameters import Check, allowed, check_parameters, with_parameters_of
from nvpflow._training.dataset import Data, count_given
from nvpflow._training.settings import Settings
from nvpflow._typing import AnyPath, ArrayLike, BinaryWriter, Bools, DTypeLike, Floats, Ints, Missing, Seed
from nvpflow._validation.arguments import check_dtype, check_int, draw_seeds, shown
from nvpflow._validation.arrays import as_array
from nvpflow._validation.weights import check_weights
from nvpflow.density import FlowDensity
from nvpflow.supervised._classes import ClassFits, log_densities
from nvpflow.supervised._columns import Columns
from nvpflow.supervised._folds import stratified_folds
from nvpflow.supervised._labels import codes_of, encode_labels
from nvpflow.supervised._normals import SHRINKAGES, ClassNormals
from nvpflow.supervised._pool import fit_pool, log_ratios, log_softmax
from nvpflow.supervised._spread import spread
from nvpflow.supports._kinds import REALS

__all__ = ["FlowClassifier"]

WITHOUT = ("context_support", "latent", "verbose", "warm_start")  # parameters of `FlowDensity`
SUM_TOLERANCE = 1e-6
OF_PRIORS = 0.5  # rows' worth of the priors in each probability


def _check_priors(name: str, value: object) -> Floats:
    priors = as_array(name, value)
    if priors.dtype.kind not in "fiu" or priors.ndim != 1:
        raise ValueError(f"{name} must be a probability for each class, or None, got {shown(value)}")
    if not ((priors >= 0).all() and abs(priors.sum() - 1) <= SUM_TOLERANCE):  # also where one is NaN
        raise ValueError(f"{name} must be >= 0 and have the sum 1, got {shown(value)}")
    return priors.astype(np.float64)


class FlowClassifier(Estimator):
    """Classification by Bayes' rule: a density of each class, their priors, and held-out rows that say how far to trust them.

    A `FlowDensity` is fitted to the rows of each class. In many columns, densities that are fitted to few rows are
    overconfident: their errors add up over the columns, and ratios of densities are too large. So rows are held out in turn,
    and their log-loss chooses the weights of a logarithmic opinion pool::

        log p(class | x) = log prior + a log p_flow(x | class) + b log p_normal(x | class) + constant

    with weights a, b >= 0, and normal distributions whose covariances are shrunk towards the one that all classes share and
    towards independent columns (regularised discriminant analysis), by as much as the held-out rows choose.

    Parameters
    ----------
    *args, **parameters
        Parameters of `FlowDensity`, but for `context_support`, `latent`, `verbose` and `warm_start`. `support` and `missing`
        are those of the columns of X. A `time_limit` is one of each fit. Members of an ensemble, and classes, are trained side
        by side with `n_jobs`.
    priors : array_like, shape (C,), or None, default None
        The probability of each class, in the order of `classes_`. None: the shares of the training rows, by their weights.
    n_folds : int or None, default 5
        The folds that are held out in turn. There are ``(n_folds + 1) C`` fits of densities. None: no pool, ``a = 1`` and ``b
        = 0``, in C fits.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        The classes, sorted.
    priors_ : ndarray of float64, shape (C,)
    densities_ : list of FlowDensity, C entries
        The fitted densities of the classes. Their columns are those of X that are not constant, without names; columns of
        categories hold codes, from 0, in the order of their values.
    pool_ : ndarray of float64, shape (2,)
        The weights a and b. An `a` near 1 says that the densities can be trusted as they are.
    shrinkage_ : tuple of float
        Of the normal distributions: towards the pooled covariance, and towards independent columns. (0, 0) if b = 0.
    n_samples_seen_ : int
        Rows of positive weight given to `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str objects, shape (D,)
        Only after fitting to a frame whose column names are all strings.

    Notes
    -----
    The weights minimise the log-loss of held-out rows with a normal prior around Bayes' rule, ``a = 1`` and ``b = 0``, of
    deviation 1 (in the sum over rows), so that they stay finite where classes are separable. The problem is convex. The normal
    distributions read columns of numbers, but for angles. They have no part, ``b = 0``, where there are no such columns, and
    with ``missing="marginalize"``, because cells may then be missing.

    Probabilities have a share of 1 / (2 n) of the priors in them, for n rows: what is surer than that no row can tell. Where a
    class lies on a curve, its density falls off without bound beyond the end of it, and a true class had a probability of
    1e-46. `decision_function` has no such share, nor have probabilities with ``n_folds=None``, which are those of Bayes' rule.

    Copies of a row are held out together, but not equal rows of rounded columns and categories. A class with one distinct row
    is never held out. Where a column of a class is constant, rows of other classes, with a weight of 0.7 rows in total, give
    its density some spread. Columns that are constant in all rows are left out.

    Repeated values of columns without a support, such as zeros or rounded numbers, are spread at random in training: around
    each value half-way to its neighbours, or across few of the other values. A density has a peak of arbitrary height on a
    repeated value. Where a value is spread alike in all classes, the heights are in proportion to its shares.

    References
    ----------
    Friedman (1989), "Regularized discriminant analysis"; Genest and Zidek (1986), "Combining probability distributions: a
    critique and an annotated bibliography"; Wolpert (1992), "Stacked generalization", for rows held out in turn.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> y = np.where(X[:, 0] ** 2 + X[:, 1] ** 2 < 1.4, "inner", "outer")
    >>> model = nvpflow.FlowClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> model.predict([[0.0, 0.0], [2.0, 2.0]])
    array(['inner', 'outer'], dtype='<U5')
    >>> model.predict_proba([[0.0, 0.0]]).shape
    (1, 2)
    """

    dtype: DTypeLike
    missing: Missing
    n_jobs: int | None
    random_state: Seed
    classes_: npt.NDArray[Any]
    priors_: Floats
    densities_: list[FlowDensity]
    pool_: Floats
    shrinkage_: tuple[float, float]
    n_samples_seen_: int
    _columns: Columns
    _normals: ClassNormals | None

    @with_parameters_of(FlowDensity.__init__, WITHOUT)
    def __init__(self, *args: Any, priors: ArrayLike | None = None, n_folds: int | None = 5, **parameters: Any) -> None:
        for name in WITHOUT:
            if name in parameters:
                raise TypeError(f"{type(self).__name__} has no parameter {name!r}")
        given = vars(FlowDensity(*args, **parameters))  # which only stores them
        vars(self).update({name: value for name, value in given.items() if name not in WITHOUT})
        self.priors = priors
        self.n_folds = n_folds

    _parameter_checks: ClassVar[dict[str, Check]] = {
        name: check for name, check in FlowDensity._parameter_checks.items() if name not in WITHOUT
    } | {"priors": allowed(_check_priors, or_none=True), "n_folds": allowed(check_int, 2, or_none=True)}

    _estimator_type = "classifier"
    _file_kind = "FlowClassifier"

    set_fit_request = RequestMethod("sample_weight")
    set_score_request = RequestMethod("sample_weight")

    def fit(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Self:
        """Fit a density to each class, and the weights of the pool to held-out rows.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            As for `FlowDensity.fit`: an array, or a frame whose columns may be categories.
        y : array_like of labels, shape (n,)
            Whole numbers, bools or texts, of at least 2 classes.
        sample_weight : array_like of real numbers, shape (n,), optional
            As for `FlowDensity.fit`. Rows of weight 0 are left out, and so are classes with no others.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter of the estimator is invalid. A fitted classifier stays unchanged.

        Warns
        -----
        UserWarning
            As `FlowDensity.fit`, with the class.
        """
        checked = check_parameters(self, self._parameter_checks)
        settings = Settings.of(checked | {"context_support": None, "latent": "base", "verbose": 0, "warm_start": False})
        classes, codes = encode_labels(y, type(self).__name__)
        names = feature_names(X)
        columns, data = Columns.fit(settings, X, names, sample_weight, codes)
        assert data.context is not None
        used, recoded = np.unique(data.context[:, 0].astype(np.intp), return_inverse=True)
        if len(used) < 2:
            raise ValueError(
                f"y must hold at least 2 classes with rows of positive weight, got one class, {shown(classes[used[0]])}"
            )
        data = data._replace(context=recoded.reshape(-1, 1).astype(np.float64))
        fitted = self._fitted(settings, checked, columns, data, classes[used])
        fitted["n_samples_seen_"] = len(codes) if sample_weight is None else count_given(data, sample_weight)
        self._keep(fitted, len(columns.kinds), names)
        return self

    def _fitted(
        self, settings: Settings, checked: dict[str, Any], columns: Columns, data: Any, classes: npt.NDArray[Any]
    ) -> dict[str, Any]:
        """The fitted attributes."""
        n_classes, n_folds = len(classes), checked["n_folds"] or 0
        shares = np.bincount(data.context[:, 0].astype(np.intp), data.weight, n_classes)
        shares = shares / shares.sum()
        priors = shares if checked["priors"] is None else checked["priors"]
        if len(priors) != n_classes:
            raise ValueError(f"priors must have an entry for each of {n_classes} classes, got {len(priors)}")
        split_seed, *seeds, spread_seed = draw_seeds(settings.random_state, 2 + n_classes * (n_folds + 1))
        spread_out = spread(data.x, np.array([kind == REALS for kind in columns.kept_kinds]), spread_seed)
        labels = [str(shown(value)) for value in classes.tolist()]
        fits = ClassFits(self._maker(columns), data, spread_out, labels, settings.n_jobs)
        densities = fits.fit(seeds[:n_classes])
        fitted = {"classes_": classes, "priors_": priors, "densities_": densities, "_columns": columns}
        fitted |= {"pool_": np.array([1.0, 0.0]), "shrinkage_": (0.0, 0.0), "_normals": None}
        if not n_folds:
            return fitted
        folds = stratified_folds(Data(data.x, copy_of=data.copy_of), fits.codes, n_folds, split_seed)
        if (folds < 0).all():
            return fitted
        held_out = fits.hold_out(folds, n_folds, seeds[n_classes:])
        return fitted | _pooled(columns.is_linear & (settings.missing == "error"), fits, folds, held_out, np.log(shares))

    def _maker(self, columns: Columns) -> Any:
        """A function that creates the estimator of a class, given its seed, for some of the columns that are kept."""
        parameters = {name: getattr(self, name) for name in FlowDensity._defaults() if name not in WITHOUT}
        parameters |= {"n_jobs": None, "verbose": 0}

        def make(seed: int, chosen: Bools) -> FlowDensity:
            kinds = [kind for kind, is_chosen in zip(columns.kept_kinds, chosen) if is_chosen]
            support = None if all(kind == REALS for kind in kinds) else [kind.shown for kind in kinds]
            return FlowDensity(**parameters | {"support": support, "random_state": seed})

        return make

    @property
    def n_iter_(self) -> int:
        """int: the epochs of all `densities_`."""
        self._check_fitted()
        return sum(density.n_iter_ for density in self.densities_)

    def _check_fitted(self) -> None:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _read(self, X: ArrayLike) -> Floats:
        self._check_fitted()
        check_feature_names(self, X)
        return self._columns.read(X, check_dtype(self.dtype), type(self).__name__, self.missing == "marginalize")

    def _scores(self, X: ArrayLike) -> Floats:
        """Log-probabilities of the classes (n, C), up to a constant for each row."""
        x = self._read(X)
        scores: Floats = self.pool_[0] * log_ratios(log_densities(self.densities_, x))
        if self._normals is not None:
            scores += self.pool_[1] * log_ratios(self._normals.log_prob(x[:, self._columns.is_linear]))
        with np.errstate(divide="ignore"):  # a prior may be 0
            scores = scores + np.log(self.priors_)
        return scores

    def decision_function(self, X: ArrayLike) -> Floats:
        """Log-probabilities of the classes, up to a constant for each row.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        decision : ndarray of float64, shape (n, C)
            In nats. With two classes (n,): the log-odds of the second one.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Log-probabilities of the classes.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            With ``missing="marginalize"`` cells may be missing.

        Returns
        -------
        log_p : ndarray of float64, shape (n, C)
            In nats, in the order of `classes_`. The logarithms of the priors where no class has a density.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        log_p = log_softmax(self._scores(X))
        if np.array_equal(self.pool_, (1.0, 0.0)):  # no rows were held out
            return log_p
        share = OF_PRIORS / sum(density.n_samples_seen_ for density in self.densities_)
        with np.errstate(divide="ignore"):  # a prior may be 0
            mixed: Floats = np.logaddexp(np.log1p(-share) + log_p, np.log(share * self.priors_))
        return mixed

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        p : ndarray of float64, shape (n, C)
            In the order of `classes_`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> npt.NDArray[Any]:
        """The likeliest class of each row.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        labels : ndarray, shape (n,)
            Of the dtype of `classes_`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        codes = self._scores(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[codes]
        return labels

    def score(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """The share of rows whose class is predicted.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        y : array_like of labels, shape (n,)
        sample_weight : array_like of real numbers, shape (n,), optional

        Returns
        -------
        float
            The accuracy, by the weights.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        found, codes = self._scores(X).argmax(axis=1), self._codes(y)
        return float(np.average(*_matched(found == codes, sample_weight)))

    def log_loss(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
        """The mean negative log-probability of the classes of rows; lower is better.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        y : array_like of labels, shape (n,)
        sample_weight : array_like of real numbers, shape (n,), optional

        Returns
        -------
        float
            In nats; inf if a row has a class that `fit` has not seen.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        log_p, codes = self.predict_log_proba(X), self._codes(y)
        if len(codes) != len(log_p):
            raise ValueError(f"y must have one entry for each of {len(log_p)} rows of X, got {len(codes)}")
        losses = np.where(codes < 0, np.inf, -log_p[np.arange(len(codes)), codes])
        return float(np.average(*_matched(losses, sample_weight)))

    def _codes(self, y: ArrayLike) -> Ints:
        return codes_of(y, self.classes_, type(self).__name__)

    def __sklearn_tags__(self) -> Any:
        """The ``sklearn.utils.Tags``. Only scikit-learn, from 1.6, calls this."""
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags()
        return tags

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the fitted classifier to a file for `nvpflow.load`. See `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError, ValueError
            If a parameter is one that `fit` would not take, or a class is neither a text, a bool nor a number.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)


def _pooled(is_linear: Bools, fits: ClassFits, folds: Ints, held_out: Floats, log_priors: Floats) -> dict[str, Any]:
    """The pool of flows and the normal distributions that the held-out rows choose, as fitted attributes."""
    judged, (x, _, weight) = folds >= 0, fits.data.arguments
    codes, n_classes = fits.codes, len(log_priors)
    of_judged = None if weight is None else weight[judged]
    flows = log_ratios(held_out[judged])
    pool, best = fit_pool(flows[np.newaxis], log_priors, codes[judged], of_judged)
    chosen, pool = None, np.append(pool, 0.0)
    for shrinkage in SHRINKAGES if is_linear.any() else ():
        normals = np.zeros_like(held_out)
        for k in np.unique(folds[judged]):
            given, out = folds != k, folds == k
            of_given = None if weight is None else weight[given]
            model = ClassNormals.fit(x[given][:, is_linear], codes[given], of_given, n_classes, shrinkage)
            normals[out] = model.log_prob(x[out][:, is_linear])
        experts = np.stack([flows, log_ratios(normals[judged])])
        found, value = fit_pool(experts, log_priors, codes[judged], of_judged)
        if value < best:
            chosen, pool, best = shrinkage, found, value
    if chosen is None or pool[1] == 0:
        return {"pool_": np.array([pool[0], 0.0])}
    normals_of_all = ClassNormals.fit(x[:, is_linear], codes, weight, n_classes, chosen)
    return {"pool_": pool, "shrinkage_": chosen, "_normals": normals_of_all}


def _matched(values: npt.NDArray[Any], sample_weight: ArrayLike | None) -> tuple[Floats, None, Floats | None]:
    """Arguments of `numpy.average`."""
    weight = None if sample_weight is None else check_weights("sample_weight", sample_weight, len(values))
    return values.astype(np.float64), None, weight
