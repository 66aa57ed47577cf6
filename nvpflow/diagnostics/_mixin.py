"""The method of `FlowDensity` that checks a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nvpflow._sklearn.transformer import Transformer
from nvpflow._typing import ArrayLike, Seed

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.diagnostics.report import CheckReport

__all__ = ["Diagnostics"]


class Diagnostics(Transformer):
    """A fitted density that can be checked. The work is in modules that the first check imports."""

    def check(
        self,
        X_held_out: ArrayLike,
        *,
        context: ArrayLike | None = None,
        X_train: ArrayLike | None = None,
        context_train: ArrayLike | None = None,
        random_state: Seed = None,
    ) -> CheckReport:
        """Check the fit on rows that it has not seen.

        The report has the held-out negative log-likelihood (NLL), beside that of simple models fitted to `X_train`; how far
        the distribution of each column, and of the log-density, is from that of samples of the model; and whether classifiers
        tell held-out rows from samples. It says in words what is significant. `print` it, show it in a notebook, or draw it by
        `nvpflow.plot.diagnostics`.

        Parameters
        ----------
        X_held_out : array_like of real numbers, shape (n, D), n >= 20
            As for `score_samples`. Rows that the model was not fitted to: on its training rows, any model looks better.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all rows the same
            Needed by a model that was fitted with a context.
        X_train : array_like of real numbers, shape (m, D), optional
            The rows that the model was fitted to, for the baselines: a normal distribution with a shrunken covariance, and a
            mixture of normal distributions with the number of components that minimises the BIC. Default: no baselines.
        context_train : array_like of real numbers, shape (m, C), optional
            The context of `X_train`, for a model that was fitted with a context.
        random_state : int, Generator, RandomState or None
            Of the samples of the model. None: the same ones in every call.

        Returns
        -------
        CheckReport
            See `nvpflow.diagnostics.report.CheckReport`.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Notes
        -----
        If the model is right, the report has a misfit with a probability of at most 5 %: half of it is shared out over the
        checks of columns and of the log-density, half over the classifiers (Bonferroni).

        The probability integral transform (PIT) of a value is the share of the model's samples below it, given the context of
        its row, with ties broken at random; those of a right model are uniform (Dawid 1984; Czado, Gneiting and Held 2009, for
        whole numbers). Distances are those of Kolmogorov. Without a context, all rows share the samples, of which there are
        ten times as many; errors count both. Values of categories are taken in the order of their codes, and angles
        from the beginning of their range. Missing cells are filled by draws of the model given the other cells of the row,
        which hides misfit but never makes one up (Gelman et al. 2005).

        The classifiers are a ridge regression on columns, squares and products, and nearest neighbours; each is judged by the
        area under the ROC curve (AUC) in 5-fold cross-validation, on at most 2000 rows and as many samples, with the context
        beside them (Lopez-Paz and Oquab 2017). Errors and p-values come from 199 random swaps of rows and
        samples.

        References
        ----------
        Dawid (1984), "Statistical theory: the prequential approach"; Czado, Gneiting and Held (2009), "Predictive model
        assessment for count data"; Gelman et al. (2005), "Multiple imputation for model checking: completed-data plots with
        missing and latent data"; Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests"; Chen, Wiesel, Eldar and
        Hero (2010), "Shrinkage algorithms for MMSE covariance estimation", equation 23.

        Examples
        --------
        >>> import numpy as np, nvpflow
        >>> X = np.random.default_rng(0).normal(size=(1500, 2)) @ [[1, 2], [0, 1]]
        >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X[:1000])
        >>> report = model.check(X[1000:], X_train=X[:1000])
        >>> report.n_rows, report.has_misfit
        (500, False)
        """
        from nvpflow.diagnostics._check import check_density

        return check_density(cast("FlowDensity", self), X_held_out, context, X_train, context_train, random_state)
