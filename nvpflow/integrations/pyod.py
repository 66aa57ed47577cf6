"""PyOD: the density of a flow as one of its detectors."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.parameters import with_parameters_of
from nvpflow._training.split import lone_values
from nvpflow._typing import ArrayLike
from nvpflow._validation.arguments import check_int, draw_seeds
from nvpflow.density import FlowDensity, NotFittedError
from nvpflow.integrations._missing import not_installed
from nvpflow.outliers import FlowOutlierDetector

try:
    from pyod.models.base import BaseDetector
    from sklearn.utils import _safe_indexing  # rows of arrays, of lists, and of frames
except ModuleNotFoundError as error:
    raise not_installed("pyod", error) from None

__all__ = ["FlowDetector"]

# The score of samples without a density. It is finite, for PyOD's `predict_proba` refuses infinity.
HIGHEST_SCORE = float(np.finfo(np.float32).max)


class FlowDetector(BaseDetector):
    """A PyOD detector: the outlier score is the negative log-density of a `FlowDensity`, in nats.

    Parameters
    ----------
    contamination : float in (0, 0.5], or an object of PyThresh, default 0.1
        The share of outliers in the training samples, which sets `threshold_`. The scores do not depend on it.
    cv : int or None, default 5
        Number of folds for `decision_scores_`: each training sample is scored by a density that was fitted to the other folds.
        This takes so many fits more. None: all are scored by the density that was fitted to them, see the notes.
    **parameters
        The parameters of `FlowDensity`, with the same defaults.

    Attributes
    ----------
    detector_ : FlowOutlierDetector
        Its `estimator_` is the fitted `FlowDensity`.
    decision_scores_ : ndarray of float64, shape (n,)
        The scores of the training samples, in nats, higher is more abnormal. They are held-out scores, as `cv` says.
    threshold_ : float
        A sample with a higher score is an outlier.
    labels_ : ndarray of int, shape (n,)
        1 for the outliers among the training samples, 0 for inliers.

    See Also
    --------
    nvpflow.FlowOutlierDetector : The same in scikit-learn's terms. It also takes a context and sample weights.

    Notes
    -----
    A density that was fitted to a few hundred samples of many columns is too high at each of them, and most where they are
    rare, so it may rank its own outliers last: with 30 columns and 393 rows, areas under the ROC curve were below 0.3
    without folds, and above 0.9 for rows that were held out. A sample without which a column would be constant is in all
    folds, and so is scored by a density that knows it.

    With ``missing="marginalize"``, the score of a row with missing cells is the one of a complete row as unusual as it:
    densities of different cells have different units. See the notes of `FlowOutlierDetector`.

    A sample without a density, such as one outside of a `support`, has the largest score of float32, 3.4e38.

    References
    ----------
    Zhao, Nasrullah and Li (2019), "PyOD: a Python toolbox for scalable outlier detection".

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.integrations.pyod import FlowDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = FlowDetector(contamination=0.05, max_iter=50, random_state=0).fit(X)
    >>> detector.predict(np.array([[0.0, 0.5], [6.0, -6.0]]))
    array([0, 1])
    """

    @with_parameters_of(FlowDensity.__init__)  # which PyOD reads
    def __init__(self, *args: Any, contamination: Any = 0.1, cv: int | None = 5, **parameters: Any) -> None:
        super().__init__(contamination=contamination)
        self.cv = cv
        self.__dict__.update(vars(FlowDensity(*args, **parameters)))  # which only stores them

    warm_start: bool
    detector_: FlowOutlierDetector
    decision_scores_: npt.NDArray[np.float64]

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit the density to samples, and set the threshold.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            As for `FlowDensity.fit`.
        y : ignored
            PyOD warns if it is given.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X or a parameter is invalid. A fitted detector is unchanged then.
        """
        self._set_n_classes(y)
        n_folds = None if self.cv is None else check_int("cv", self.cv, 2)
        parameters = {name: getattr(self, name) for name in FlowDensity._defaults()} | {"contamination": self._share()}
        is_warm = self.warm_start and hasattr(self, "detector_")
        detector = (copy.copy(self.detector_) if is_warm else FlowOutlierDetector()).set_params(**parameters)
        detector._fit(X, may_fold=False)  # `cv` has folds
        scores = _scores(detector, X)
        if n_folds is not None:
            _score_held_out(scores, X, min(n_folds, len(scores)), parameters)
        self.detector_, self.decision_scores_ = detector, scores
        self.n_features_in_ = detector.n_features_in_
        self._process_decision_scores()
        return self

    def decision_function(self, X: ArrayLike) -> npt.NDArray[np.float64]:
        """The outlier scores of samples.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)

        Returns
        -------
        scores : ndarray of float64, shape (n,)
            Negative log-densities, in nats; higher is more abnormal.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        if not hasattr(self, "detector_"):
            raise NotFittedError(f"This {type(self).__name__} instance is not fitted yet: call fit first")
        return _scores(self.detector_, X)

    def _share(self) -> Any:
        """The contamination in terms of the wrapped detector; "auto" where an object of PyThresh will choose it."""
        return self.contamination if isinstance(self.contamination, (float, int)) else "auto"


def _scores(detector: FlowOutlierDetector, X: ArrayLike) -> npt.NDArray[np.float64]:
    """Negative log-densities (n,). `offset_` takes the place of the thresholds of rows with missing cells."""
    return np.minimum(-(detector.decision_function(X) + detector.offset_), HIGHEST_SCORE)


def _score_held_out(scores: npt.NDArray[np.float64], X: Any, n_folds: int, parameters: dict[str, Any]) -> None:
    """Replace the score (n,) of each sample by that of a detector which was fitted to the other folds."""
    values, (seed,) = np.asarray(X), draw_seeds(parameters["random_state"], 1)
    order = np.random.default_rng(seed).permutation(len(values))
    for fold in np.array_split(order, n_folds):
        training = order[~np.isin(order, fold)]
        needed = lone_values(values, training, fold)
        held_out, training = fold[~np.isin(fold, needed)], np.append(training, needed)
        if len(held_out):
            detector = FlowOutlierDetector(**parameters)
            detector._fit(_safe_indexing(X, training), may_fold=False)
            scores[held_out] = _scores(detector, _safe_indexing(X, held_out))
