"""The methods of `FlowDensity` that ask a fitted density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nvpflow._sklearn.transformer import Transformer
from nvpflow._typing import ArrayLike, Floats, Seed

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.queries.conditional import ConditionalDensity

__all__ = ["Queries"]


class Queries(Transformer):
    """A fitted density that answers questions. The work is in modules that the first question imports."""

    def conditional(
        self, given: Any, columns: object | None = None, *, context: ArrayLike | None = None
    ) -> ConditionalDensity:
        """The density of some columns, given others.

        Parameters
        ----------
        given : dict, frame or array_like
            What is known. A dict has names or numbers of columns and a value for each, or arrays of n values. A frame has some
            of the columns, by name, and a row for each of n conditional densities; an array has all columns, shape (n, D), and
            NaN in the free ones.
        columns : str, int, or a sequence of them, optional
            The free columns. Default: all that are not given. Columns that are neither given nor free are integrated out;
            so are cells of rows that are NaN or None. Cells of a frame or an array in free columns are not read.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all rows the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        ConditionalDensity
            With `score_samples`, `sample`, `pdf`, `cdf`, `ppf`, `mean`, `std`, `interval` and `marginal`.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Examples
        --------
        >>> import numpy as np, nvpflow
        >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
        >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X)
        >>> model.conditional({0: 1.0}).interval(0.9).shape
        (2,)
        """
        from nvpflow.queries._ask import condition

        return condition(self, given, columns, context)

    def marginal(self, columns: object, *, context: ArrayLike | None = None) -> ConditionalDensity:
        """The density of some columns, with all others integrated out.

        Parameters
        ----------
        columns : str, int, or a sequence of them
            Names or numbers of columns.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C), optional
            Needed by a model that was fitted with a context.

        Returns
        -------
        ConditionalDensity

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        from nvpflow.queries._ask import condition
        from nvpflow.queries._given import check_columns

        self._check_fitted()
        return condition(self, {}, check_columns(self, columns), context)

    def posterior(self, X: Any, column: str | int, grid: ArrayLike, *, context: ArrayLike | None = None) -> Floats:
        """The density of one column on a grid, given the others in each row, normalised on the grid.

        Parameters
        ----------
        X : frame or array_like, shape (n, D)
            What is in `column` is not read. A frame may lack it, and other columns, which are integrated out.
        column : str or int
        grid : array_like, shape (G,)
            In increasing order, or whole numbers or categories.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all rows the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        pdfs : ndarray, shape (n, G)
            The integral over the grid, by the trapezoidal rule, is 1 in each row; of whole numbers and categories the sum is.
            NaN, with an `AccuracyWarning`, in rows that have no density on the grid.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        from nvpflow.queries._ask import posterior

        return posterior(self, X, column, grid, context)

    def density_levels(
        self,
        mass: ArrayLike,
        *,
        context: ArrayLike | None = None,
        n_samples: int = 20_000,
        random_state: Seed = None,
        return_error: bool = False,
    ) -> Any:
        """The log-densities on the edges of the smallest regions that hold given masses: highest-density regions.

        A row lies in the region if `score_samples` is at least the level. `nvpflow.plot.contours` draws these regions.

        Parameters
        ----------
        mass : float or array_like, shape (M,)
            Between 0 and 1, such as ``[0.5, 0.9]``.
        context : array_like of real numbers, shape (C,) or (1, C), optional
            Needed by a model that was fitted with a context.
        n_samples : int, default 20,000
            Samples of the model, of whose log-densities the levels are quantiles.
        random_state : int, Generator, RandomState or None
            None: the same samples in every call.
        return_error : bool, default False
            Also return standard errors.

        Returns
        -------
        levels : ndarray of float64, shape (M,), or float
            In nats.
        error : ndarray of float64, shape (M,), or float
            Only with `return_error`: standard errors by the number of samples, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        References
        ----------
        Hyndman (1996), "Computing and graphing highest density regions".
        """
        from nvpflow.queries._regions import density_levels

        found = density_levels(cast("FlowDensity", self), mass, context, n_samples, random_state)
        return found if return_error else found[0]

    def p_values(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        n_samples: int = 10_000,
        random_state: Seed = None,
        return_error: bool = False,
    ) -> Any:
        """The share of the model's samples whose density is at most that of each row: small for outliers.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            With ``missing="marginalize"`` cells may be missing; samples then miss the same cells: 10,000 if marginal
            densities are exact, or else 1000.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all rows the same
            Needed by a model that was fitted with a context; samples have the context of the row.
        n_samples : int, default 10,000
        random_state : int, Generator, RandomState or None
            None: the same samples in every call.
        return_error : bool, default False
            Also return standard errors.

        Returns
        -------
        p_values : ndarray of float64, shape (n,)
            From 0 to 1; uniform for rows that the model describes. Equal whole numbers and categories share a density: there
            a p-value is at most p with a probability of p or less.
        error : ndarray of float64, shape (n,)
            Only with `return_error`: standard errors by the number of samples.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        from nvpflow.queries._regions import p_values

        found = p_values(cast("FlowDensity", self), X, context, n_samples, random_state)
        return found if return_error else found[0]
