"""The density of some columns given others."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints, Seed
from nvpflow._validation.arguments import check_int, check_real, draw_seeds
from nvpflow._warnings import AccuracyWarning, warn_user
from nvpflow.missing._marginal import FEW
from nvpflow.queries._branches import RealModel
from nvpflow.queries._column import Column
from nvpflow.queries._density import product_pdf
from nvpflow.queries._given import Given, check_columns, read_points
from nvpflow.queries._levels import conformal_levels, conformal_shares
from nvpflow.queries._lines import Lines, method_for
from nvpflow.queries._ordered import OrderedCategory

if TYPE_CHECKING:
    from nvpflow._sklearn.transformer import Transformer

__all__ = ["ConditionalDensity"]

LARGE_ERROR = 1e-3  # of probabilities by quadrature: more cannot be trusted
LEAST_HELD_OUT = 30  # rows that check quantiles


class ConditionalDensity:
    """The density of some columns of a fitted `FlowDensity`, given others: the result of `conditional` and `marginal`.

    There is one density, or one for each of n given rows. Columns that are neither free nor given are integrated out. Arrays
    below have their first axis, n, only if rows, or an array of values, were given.

    Attributes
    ----------
    columns : list of str or int
        The free columns, by name if the model has names.
    method : {"exact", "quadrature", "importance"}
        How distributions are computed. "exact": in closed form, where the model is a mixture of normal distributions without
        trained layers. "quadrature": by adaptive quadrature, with up to two open columns of numbers, free ones or such that
        are integrated out. "importance": with more, by quadrature of means over draws of the other columns. `sample` draws by
        importance resampling where there are trained layers.
    error : ndarray, shape (n,)
        An estimate of the absolute error of probabilities, such as `cdf`: zeros if exact, the last coefficients of the series
        that quadrature found, and the largest standard error by the draws.
    effective_size : ndarray, shape (n,)
        The number of independent draws of the free column whose probabilities would have that standard error: infinite
        without draws.

    Warns
    -----
    AccuracyWarning
        In each method, where results cannot be trusted: an error of quadrature above 0.001, or less than 20 effective draws;
        where a number that is given is farther from 5000 samples of the model than half of their range (without a context), so
        that the density is extrapolated; where what is given has no density, so that results are NaN; and, by `mean` and `std`
        of a column with one bound, where the deviation is larger than the range of these samples.

    Notes
    -----
    Columns with a `support` stay in it. Whole numbers and categories have probabilities, `pdf` as well. Angles have circular
    means and standard deviations; their `cdf` begins at the low end of the range, and their interval half a turn from the mean
    direction, so that its first end may be above the second.

    The density of one free column is one function, whatever the method, and its distribution function, quantiles, means and
    deviations are those of this function. Log-densities of `score_samples` by draws have an error of their own, relative to
    the density also far out: about 0.01.

    Quantiles say what the model says, which need not be calibrated: `calibrated` checks them by held-out rows.

    References
    ----------
    Sung (2004), "Gaussian mixture regression and classification", for the closed form; Trefethen (2019), "Approximation theory
    and approximation practice", chapter 19, for quadrature; Rubin (1987), "The calculation of posterior distributions by data
    augmentation: comment", for importance resampling.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X)
    >>> given = model.conditional({0: [0.0, 1.0]})
    >>> given.mean().shape, given.interval(0.9).shape
    ((2,), (2, 2))
    >>> model.conditional({0: 1.0}).cdf([1.0, 2.0, 3.0]).shape
    (3,)
    """

    def __init__(self, model: Transformer, given: Given, context: Floats | None) -> None:
        self._model, self._given, self._context = model, given, context
        categories = model._known_categories()
        self._others = list(range(model.n_features_in_)) if categories is None else list(categories.coding.others)
        self._incomplete = model._incomplete_model()
        has_numbers = getattr(model, "flow_", None) is not None
        self._real = RealModel(self._incomplete) if has_numbers else None
        self._levels: Floats | None = None  # of held-out rows, sorted

    @property
    def columns(self) -> list[Any]:
        """list of str or int: the free columns."""
        names = getattr(self._model, "feature_names_in_", None)
        return [column if names is None else names[column] for column in self._given.free]

    def __repr__(self) -> str:
        rows = "" if self._given.is_single else f" for {len(self._given.rows)} rows"
        return f"<ConditionalDensity of {', '.join(map(str, self.columns))}{rows}, by {self.method}>"

    @property
    def method(self) -> str:
        """str: "exact", "quadrature" or "importance"."""
        if self._real is None:
            return "exact"
        return method_for(self._real, int(np.isnan(self._given.rows[:, : len(self._others)]).sum(axis=1).max(initial=0)))

    @property
    def error(self) -> Floats:
        """ndarray, shape (n,): an estimate of the error of probabilities."""
        return self._shown(self._quality[0])

    @property
    def effective_size(self) -> Floats:
        """ndarray, shape (n,): the effective number of draws."""
        return self._shown(self._quality[1])

    @cached_property
    def _quality(self) -> tuple[Floats, Floats, Floats]:
        """Errors, effective sizes, and log-densities (n,) of what is given, up to the slope of the supports."""
        numbers = [self._others.index(column) for column in self._given.free if column in self._others]
        if self._real is not None and numbers:
            lines = self._line(self._given.free[self._first_number()]).lines
            return lines.error, lines.size, lines.log_total
        return self._evidence(self._given.rows, self._context)

    def _first_number(self) -> int:
        return next(i for i, column in enumerate(self._given.free) if column in self._others)

    def _free_categories(self) -> list[int]:
        return [column for column in self._given.free if column not in self._others]

    def _checked(self, quality: tuple[Floats, Floats, Floats] | None = None) -> Floats:
        """Log-densities of what is given. Warn of those that cannot be trusted."""
        error, size, log_given = quality or self._quality
        n_nowhere = int(np.count_nonzero(~np.isfinite(log_given)))
        doubtful = (size < FEW) | (np.isinf(size) & (error > LARGE_ERROR))
        n_doubtful = int(np.count_nonzero(doubtful & np.isfinite(log_given)))
        if n_nowhere:
            warn_user(f"what is given has no density in {n_nowhere} row(s): results are NaN there", AccuracyWarning)
        n_far = 0 if self._real is None else int(np.count_nonzero(self._real.are_far(self._given.rows)))
        if n_far:
            warn_user(
                f"what is given is far from all samples of the model in {n_far} row(s): the density is an extrapolation there",
                AccuracyWarning,
            )
        if n_doubtful:
            warn_user(
                f"the conditional density of {n_doubtful} row(s) cannot be trusted: `error` and `effective_size` tell how far",
                AccuracyWarning,
            )
        return log_given

    @cached_property
    def _columns_of(self) -> dict[int, Column]:
        return {}

    def _line(self, column: int) -> Column:
        """The distributions of one free column of numbers."""
        if column not in self._columns_of:
            assert self._real is not None
            place = self._others.index(column)
            origin = float(np.broadcast_to(self._real.numbers.origin, len(self._others))[place])
            lines = Lines(self._real, self._given.rows, self._context, place)
            self._columns_of[column] = Column(lines, self._real.numbers.supports, origin, place)
        return self._columns_of[column]

    def _only(self, method: str) -> int:
        if len(self._given.free) > 1:
            raise ValueError(
                f"{method} needs one free column, and there are {len(self._given.free)}: marginal(column) has one"
            )
        return self._given.free[0]

    def _shown(self, values: Floats) -> Floats:
        shown: Floats = values[0] if self._given.is_single else values  # a number of one density
        return shown

    def _grid(self, name: str, values: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
        """Numbers (G,) for all rows or (n, G), as (n, G), and the shape to return."""
        try:
            array, n = np.asarray(values, dtype=np.float64), len(self._given.rows)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be numbers: {error}") from None
        if array.ndim > 2 or (array.ndim == 2 and (len(array) != n or self._given.is_single)):
            raise ValueError(f"{name} must have shape (G,) or ({n}, G), got {array.shape}")
        grid = np.broadcast_to(np.atleast_1d(array), (n, array.shape[-1] if array.ndim else 1))
        shape = array.shape if self._given.is_single else (n, *array.shape[-1:])
        return grid, shape

    def score_samples(self, X: ArrayLike) -> Floats:
        """Log-density of points of the free columns.

        Parameters
        ----------
        X : array_like or frame, shape (N, F), or (N,) for one free column
            A point for each of the n given rows, or any number of points if there is one density.

        Returns
        -------
        log_density : ndarray of float64, shape (N,)
            In nats, with respect to counting measure in columns of whole numbers and categories.
        """
        points, n = read_points(self._model, X, self._given.free), len(self._given.rows)
        if not self._given.is_single and len(points) != n:
            raise ValueError(f"X must have a point for each of the {n} given rows, got {len(points)}")
        rows = np.zeros(len(points), np.intp) if self._given.is_single else np.arange(n)
        return self._log_density(points, rows) - self._checked(self._norm)[rows]

    def _log_density(self, points: Floats, rows: Ints) -> Floats:
        """Log-densities of points (N, R + K) together with what is given in rows (N,)."""
        full = np.where(np.isnan(points), self._given.rows[rows], points)
        return self._evidence(full, None if self._context is None else self._context[rows])[2]

    @cached_property
    def _norm(self) -> tuple[Floats, Floats, Floats]:
        """The same as `_quality`, of what joint densities are divided by, without a line of the free column by draws."""
        return self._quality if self.method == "quadrature" else self._evidence(self._given.rows, self._context)

    def _evidence(self, rows: Floats, context: Floats | None) -> tuple[Floats, Floats, Floats]:
        """Errors of probabilities, effective sizes, and log-densities (N,) of rows (N, R + K), NaN in open cells."""
        n_open = np.isnan(rows[:, : len(self._others)]).sum(axis=1)
        # Draws for points of a question by draws in which two columns are open: integrals over integrals would take too long.
        by_quadrature = (n_open > 0) & (n_open <= (2 if self.method == "quadrature" else 1)) & self._has_layers
        found = np.empty((3, len(rows)))
        for at in (np.flatnonzero(~by_quadrature), np.flatnonzero(by_quadrature)):
            if len(at):
                of_rows = self._integrals if by_quadrature[at[0]] else self._scores
                found[:, at] = of_rows(rows[at], None if context is None else context[at])
        return found[0], found[1], found[2]

    @property
    def _has_layers(self) -> bool:
        return self._real is not None and not self._real.is_exact

    def _scores(self, rows: Floats, context: Floats | None) -> tuple[Floats, Floats, Floats]:
        scores = self._incomplete.score(rows, context)
        error = np.where(np.isinf(scores.size), 0.0, 0.5 / np.sqrt(np.maximum(scores.size, 1.0)))
        return error, scores.size, np.asarray(scores.log_density, np.float64)

    def _integrals(self, rows: Floats, context: Floats | None) -> tuple[Floats, Floats, Floats]:
        """The same where one or two cells of numbers are open, over which quadrature integrates."""
        assert self._real is not None
        found, place_of = np.empty((3, len(rows))), np.isnan(rows[:, : len(self._others)]).argmax(axis=1)
        for place in np.unique(place_of).tolist():
            at = np.flatnonzero(place_of == place)
            lines = Lines(self._real, rows[at], None if context is None else context[at], place)
            found[:, at] = lines.error, lines.size, lines.log_total
        return found[0], found[1], found[2]

    def pdf(self, grid: ArrayLike | tuple[ArrayLike, ...]) -> Floats:
        """Density on a grid.

        Parameters
        ----------
        grid : array_like, shape (G,) or (n, G); or a tuple of F arrays, shapes (G_1,) to (G_F,), for F free columns
            Values of the one free column, for all rows or for each; or those of each column of a product grid.

        Returns
        -------
        pdf : ndarray, shape (n, G) or (n, G_1, ..., G_F)
            Per unit of the columns. Of whole numbers and categories: probabilities.
        """
        if len(self._given.free) == 1 and self._given.free[0] in self._others:
            values, shape = self._grid("grid", _only_axis(grid))
            self._checked()
            return self._line(self._given.free[0]).pdf(values).reshape(shape)
        axes = self._axes(grid)
        self._checked(self._norm)
        return self._shown(product_pdf(self, axes))

    def _axes(self, grid: Any) -> list[Any]:
        """The values of each free column, arrays (G,) of type object."""
        free = self._given.free
        grids: Any = (_only_axis(grid),) if len(free) == 1 else grid
        if not isinstance(grids, tuple) or len(grids) != len(free):
            raise ValueError(f"grid must be a tuple of {len(free)} arrays, one for each free column")
        axes = [np.asarray(axis, dtype=object) for axis in grids]
        if any(axis.ndim != 1 for axis in axes):
            raise ValueError(f"grid must have arrays of one dimension, got shapes {[axis.shape for axis in axes]}")
        return axes

    def _of(self, given: Given, rows: Ints | None = None) -> ConditionalDensity:
        """That of the same model with something else given, perhaps in some of the rows (m,), or in copies of them."""
        context = self._context if rows is None or self._context is None else self._context[rows]
        return ConditionalDensity(self._model, given, context)

    def _of_rows(self, rows: Ints) -> ConditionalDensity:
        """Those of some rows (m,), as rows."""
        return self._of(self._given._replace(rows=self._given.rows[rows], is_single=False), rows)

    def cdf(self, x: ArrayLike | tuple[ArrayLike, ...]) -> Floats:
        """Probability of values up to x, for one free column of ordered values, or for two of real or whole numbers together.

        Parameters
        ----------
        x : array_like, shape (G,) or (n, G), or a number; or a tuple of two arrays, shapes (G,) and (H,), for two free columns
            Those of two columns are the values of a product grid.

        Returns
        -------
        cdf : ndarray, shape (n, G) or (n, G, H)

        Raises
        ------
        ValueError
            Also for two free columns where there are more open columns than quadrature takes, and trained layers.
        """
        if len(self._given.free) == 2:
            return self._joint_cdf(x)
        column, ordered = self._only("cdf"), self._ordered("cdf")
        if ordered is not None:
            one = np.ndim(x) == 0  # type: ignore[arg-type]  # of values of any type
            found = ordered.cdf([x] if one else x)
            return self._shown(found[:, 0] if one else found)
        values, shape = self._grid("x", x)  # type: ignore[arg-type]  # no tuple: there is one free column
        self._checked()
        below = self._line(column).cdf(values).reshape(shape)
        return below if self._levels is None else conformal_shares(self._levels, below)

    def _joint_cdf(self, x: Any) -> Floats:
        """Probabilities (n, G, H) of two free columns of numbers."""
        from nvpflow.queries._joint_cdf import joint_cdf

        for column in self._free_categories():
            raise self._category_error("cdf", column)
        if self.method == "importance":
            raise ValueError("cdf of two free columns needs all others to be given where there are trained layers")
        if not isinstance(x, tuple) or len(x) != 2 or any(np.ndim(part) != 1 for part in x):
            raise ValueError("x must be a tuple of two arrays of one dimension, one for each free column")
        log_given, parts = self._checked(), []
        for column, part in zip(self._given.free, x):
            if self._line(column).kind.turn:
                raise ValueError("cdf of two free columns needs real or whole numbers, not angles")
            parts.append(self._line(column).ends(np.asarray(part, np.float64)))
        assert self._real is not None
        first, second = (self._others.index(column) for column in self._given.free)
        found = joint_cdf(self._real, self._given.rows, self._context, (first, second), (parts[0], parts[1]))
        with np.errstate(invalid="ignore"):
            found *= np.exp(-log_given)[:, np.newaxis, np.newaxis]
        return self._shown(np.where(np.isfinite(log_given)[:, np.newaxis, np.newaxis], np.clip(found, 0.0, 1.0), np.nan))

    def ppf(self, q: ArrayLike) -> Floats:
        """Quantiles, for one free column of ordered values: the inverse of `cdf`. Of more, those of each by itself.

        Parameters
        ----------
        q : array_like, shape (G,) or (n, G), or a number
            From 0 to 1.

        Returns
        -------
        ppf : ndarray, shape (n, G), or (n, F, G) for F > 1 free columns
        """
        if len(self._given.free) > 1:
            of_each = [self.marginal(column).ppf(q) for column in self._given.free]
            return np.stack(of_each, axis=0 if self._given.is_single else 1)
        column, ordered = self._only("ppf"), self._ordered("ppf")
        values, shape = self._grid("q", q)
        if not ((values >= 0) & (values <= 1)).all():
            wrong = values[~((values >= 0) & (values <= 1))]
            raise ValueError(f"q must be from 0 to 1, got {wrong[0]}")
        if ordered is not None:
            found: Any = ordered.ppf(values).reshape(shape)
            return found  # type: ignore[no-any-return]  # values of any type
        self._checked()
        values = values if self._levels is None else conformal_levels(self._levels, values)
        return self._line(column).ppf(values).reshape(shape)

    def mean(self) -> Floats:
        """Means of the free columns.

        Returns
        -------
        mean : ndarray, shape (n,), or (n, F) for F > 1 free columns
            Circular means of angles.
        """
        return self._of_columns("mean", lambda column: self._moments(column)[0])

    def std(self) -> Floats:
        """Standard deviations of the free columns.

        Returns
        -------
        std : ndarray, shape (n,), or (n, F) for F > 1 free columns
            Circular ones of angles.
        """
        return self._of_columns("std", lambda column: self._moments(column)[1])

    def _moments(self, column: Column) -> tuple[Floats, Floats]:
        """Means and standard deviations. Warn of those that a tail decides: behind an exponential it may have any size."""
        mean, std = column.moments()
        if self._real is not None and not self._real.has_context and np.isfinite(column.kind.cells).sum() == 1:
            low, high = column.from_line(np.array(self._real.limits(column.place, 0.0)))
            n_far = int(np.count_nonzero(std > high - low))
            if n_far:
                warn_user(
                    f"the mean and the standard deviation in {n_far} row(s) are those of a tail beyond all samples of the "
                    "model: quantiles say more",
                    AccuracyWarning,
                )
        return mean, std

    def interval(self, level: float) -> Floats:
        """Central intervals of the free columns: each end leaves out (1 - level) / 2.

        Parameters
        ----------
        level : float in (0, 1)

        Returns
        -------
        ends : ndarray, shape (n, 2), or (n, F, 2) for F > 1 free columns
            Intervals of each column by itself.
        """
        level = check_real("level", level, 0, 1, low_open=True)
        if self._levels is not None:
            return self.ppf([0.5 - level / 2, 0.5 + level / 2])
        return self._of_columns("interval", lambda column: column.interval(level))

    def _of_columns(self, method: str, of_one: Any) -> Floats:
        for column in self._free_categories():
            raise self._category_error(method, column)
        self._checked()
        found = [of_one(self._line(column)) for column in self._given.free]
        return self._shown(found[0] if len(found) == 1 else np.stack(found, axis=1))

    def calibrated(self, X: ArrayLike, *, context: ArrayLike | None = None) -> ConditionalDensity:
        """The same with quantiles that hold as many rows as they say: rows that were not in the fit check them.

        `cdf`, `ppf` and `interval` of the result take the levels at which the quantiles of the model held the right share of
        these rows (conformal prediction). Its densities, means, deviations and samples are those of the model.

        Parameters
        ----------
        X : array_like or frame, shape (m, D)
            Held-out rows of all columns. What is open here is not read but for the one free column, which must hold real
            numbers.
        context : array_like of real numbers, shape (m, C), or (C,) or (1, C) for all rows the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        ConditionalDensity

        Raises
        ------
        TypeError, ValueError
            Also if there are fewer than 30 rows, which have too few levels.

        Examples
        --------
        >>> import numpy as np, nvpflow
        >>> X = np.random.default_rng(0).normal(size=(700, 2)) @ [[1, 2], [0, 1]]
        >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X[:500])
        >>> model.conditional({0: 1.0}).calibrated(X[500:]).interval(0.9).shape
        (2,)
        """
        column = self._only("calibrated")
        if column not in self._others or self._line(column).kind.turn or self._line(column).kind.is_whole:
            raise ValueError("calibrated needs a free column of real numbers, not of categories, angles or whole numbers")
        is_open = np.isnan(self._given.rows)
        if (is_open != is_open[:1]).any():
            raise ValueError("calibrated needs rows of which the same columns are given, got missing cells in some of them")
        rows = self._model._check_incomplete(X).astype(np.float64)
        truth = rows[:, self._others.index(column)]
        known = ~np.isnan(truth)
        if known.sum() < LEAST_HELD_OUT:
            raise ValueError(f"X must have at least {LEAST_HELD_OUT} rows with values of the free column, got {known.sum()}")
        given = self._model._context_of_incomplete(context, len(rows))
        held_out = Given(np.where(is_open[0], np.nan, rows)[known], (column,), False)
        levels = ConditionalDensity(self._model, held_out, None if given is None else given[known]).cdf(truth[known, None])[
            :, 0
        ]
        found = copy.copy(self)
        found._levels = np.sort(levels[np.isfinite(levels)])
        return found

    def _ordered(self, method: str) -> OrderedCategory | None:
        """The distribution of the only free column if it is a category, which must have an order."""
        column = self._only(method)
        if column in self._others:
            return None
        frame = getattr(self._model, "_frame", None)
        declared = None if frame is None else frame.declared[column]
        categories = self._model._known_categories()
        if declared is None or not declared[1] or categories is None:
            raise self._category_error(method, column)
        values, seen = list(declared[0]), categories.coding.values[self._place_of(column)]
        known = [value for value in values if value in seen]
        return OrderedCategory(known, self.pdf(known).reshape(len(self._given.rows), len(known)))

    def _place_of(self, column: int) -> int:
        """The place of a category among the categories."""
        return sum(other < column for other in range(self._model.n_features_in_) if other not in self._others)

    def _category_error(self, method: str, column: int) -> ValueError:
        names = getattr(self._model, "feature_names_in_", None)
        label = column if names is None else repr(names[column])
        return ValueError(
            f"{method} needs columns of ordered values, and column {label} holds categories: pdf has their probabilities, and "
            "marginal(columns) is the density of others"
        )

    def sample(self, n_samples: int = 1, random_state: Seed = None) -> Any:
        """Draw the free columns.

        Parameters
        ----------
        n_samples : int, default 1
            For each given row.
        random_state : int, Generator, RandomState or None
            None: the `random_state` of the estimator.

        Returns
        -------
        X : ndarray or frame, shape (n_samples, F), or ndarray, shape (n, n_samples, F)
            For one density as `FlowDensity.sample` returns samples, with the free columns alone. Of several, those of rows
            whose given values have no density are NaN.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong, or what is given has no density, of one density alone.
        """
        n_samples, rows = check_int("n_samples", n_samples, 0), self._given.rows
        self._checked(self._norm)
        (seed,) = draw_seeds(self._seed() if random_state is None else random_state, 1)
        full = np.empty((0, n_samples, rows.shape[1]))
        if len(rows):
            rng = np.random.default_rng(seed)
            with np.errstate(invalid="ignore"):  # where what is given has no density
                full = self._incomplete.draw(rows, self._context, max(n_samples, 1), rng)[:, :n_samples]
        flat = full.reshape(-1, full.shape[2])
        numbers, codes = flat[:, : len(self._others)], np.nan_to_num(flat[:, len(self._others) :]).astype(np.intp)
        has_codes = self._model._known_categories() is not None
        nothing = np.isnan(numbers).any(axis=1)  # can be drawn where what is given has no density
        if self._given.is_single and nothing.any():
            raise ValueError("given has no density under the model: nothing can be drawn")
        numbers = np.where(np.isnan(numbers), 0.0, numbers)
        table = self._model._data_output(numbers, codes if has_codes else None)
        free = list(self._given.free)
        if not self._given.is_single:
            drawn = np.asarray(table)[:, free]
            if nothing.any():
                drawn = drawn if drawn.dtype == object else drawn.astype(np.promote_types(drawn.dtype, np.float32))
                drawn[nothing] = np.nan
            return drawn.reshape(len(rows), n_samples, len(free))
        if hasattr(table, "iloc"):
            return table.iloc[:, free]
        return table[:, free]

    def _seed(self) -> Seed:
        seed: Seed = vars(self._model).get("random_state")
        return seed

    def marginal(self, columns: object) -> ConditionalDensity:
        """The density of some of the free columns, with the others integrated out.

        Parameters
        ----------
        columns : str, int, or a sequence of them
            Names or numbers of free columns.

        Returns
        -------
        ConditionalDensity
        """
        free = check_columns(self._model, columns)
        if not set(free) <= set(self._given.free):
            raise ValueError(f"columns must be among the free ones {self.columns}, got {columns!r:.80}")
        found = ConditionalDensity(self._model, self._given._replace(free=free), self._context)
        found._levels = self._levels  # of the only free column, if any
        return found


def _only_axis(grid: Any) -> Any:
    """The values of the only free column, also of a tuple of one array."""
    return grid[0] if isinstance(grid, tuple) and len(grid) == 1 and np.ndim(grid[0]) == 1 else grid
