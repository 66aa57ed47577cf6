"""The methods of `FlowDensity` that ask a fitted density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvpflow._sklearn.transformer import Transformer
from nvpflow._typing import ArrayLike, Floats

if TYPE_CHECKING:
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

        return condition(self, {}, columns, context)

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
            NaN in rows that have no density on the grid.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        from nvpflow.queries._ask import posterior

        return posterior(self, X, column, grid, context)
