"""Rows with missing cells for a fitted model of numbers and categories.

Its rows are the columns of numbers and then the codes of the categories, as numbers, NaN where a cell is missing. With
categories c and numbers x, the marginal density is the sum of p(c) p(x | c) over all codes that are missing.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.missing._marginal import Estimate
from nvpflow.missing._model import N_EXAMPLES, IncompleteModel, Scores
from nvpflow.missing._patterns import Mask
from nvpflow.supports._categories import Categories

__all__ = ["IncompleteTable", "with_codes"]

# Combinations of missing codes that a sum has at most for each row. Of more, so many are drawn.
MOST_COMBINATIONS, N_DRAWS = 2000, 500
SEED = 0  # the same draws in every call


def with_codes(x: Floats, codes: Ints) -> Floats:
    """The rows: numbers x (n, R) and codes (n, K), of which -1 is missing."""
    return np.hstack([x.astype(np.float64), np.where(codes < 0, np.nan, codes)])


class _Completions(NamedTuple):
    """Rows with all codes, one or more for each given row, in order.

    Attributes
    ----------
    row : ndarray of int, shape (m,)
        The given row that each belongs to.
    codes : ndarray of int, shape (m, K)
    log_p : ndarray, shape (m,)
        In nats; the sum over those of a row stands for the sum over all.
    drawn : ndarray of bool, shape (m,)
        Whether they are draws.
    """

    row: Ints
    codes: Ints
    log_p: Floats
    drawn: Mask

    @property
    def starts(self) -> Ints:
        """Where those of each given row begin."""
        return np.flatnonzero(np.diff(self.row, prepend=-1))

    def total(self, of_each: Estimate) -> Estimate:
        """Estimates for the given rows, from those of p(x | c)."""
        starts = self.starts
        terms = of_each.log_prob + self.log_p
        total = np.logaddexp.reduceat(terms, starts)
        with np.errstate(invalid="ignore"):
            shares = np.where(np.isfinite(terms), np.exp(terms - total[self.row]), 0.0)
        squares = np.add.reduceat(shares**2, starts)
        counts, drawn = np.diff(starts, append=len(terms)), self.drawn[starts]
        of_draws = np.where(drawn, np.maximum(squares - 1 / counts, 0), 0)
        error = np.sqrt(np.add.reduceat((shares * np.where(shares > 0, of_each.error, 0)) ** 2, starts) + of_draws)
        with np.errstate(divide="ignore"):
            size = np.minimum.reduceat(np.where(shares > 1 / counts[self.row] / 2, of_each.size, np.inf), starts)
            return Estimate(total, error, np.where(drawn, np.minimum(size, 1 / squares), size))


class IncompleteTable:
    """A fitted density of numbers and categories, for rows with missing cells. The methods are those of `IncompleteModel`.

    Parameters
    ----------
    model : IncompleteModel or None
        Of the numbers given the categories, if there are any.
    categories : Categories
    dtype : numpy.dtype
        Of the flow.
    """

    def __init__(self, model: IncompleteModel | None, categories: Categories, dtype: Any) -> None:
        self.model, self.categories, self.dtype = model, categories, dtype
        self.n_numbers = len(categories.coding.others)
        self.ranked: dict[bytes, Floats] = {}  # see `_levels`

    @property
    def is_exact(self) -> bool:
        """Whether densities of numbers need no importance sampling."""
        return self.model is None or self.model.is_exact

    def n_evaluations(self, missing: Mask) -> int:
        """How many densities of numbers are summed, at most, for each row with these missing cells (R + K,)."""
        if self.model is None:
            return 1
        sizes = np.where(missing[self.n_numbers :], self.categories.coding.sizes, 1)
        n_codes: int = math.prod(sizes.tolist())
        return n_codes * self.model.n_evaluations(missing[: self.n_numbers])

    @cached_property
    def examples(self) -> Floats:
        """Samples, which tell where the columns lie."""
        return self.samples(N_EXAMPLES)

    def samples(self, n: int) -> Floats:
        """The same n samples in every call."""
        codes = self.categories.table.sample(n, np.random.default_rng(SEED))
        x = np.empty((n, 0)) if self.model is None else self.model.samples(n, self._context(codes))
        return with_codes(x, codes)

    def score(self, rows: Floats, context: Floats | None) -> Scores:
        """Scores of rows (n, R + K)."""
        x, codes = self._split(rows)
        found = self._completions(x, codes)
        if self.model is not None:
            return self.model.score(x[found.row], self._context(found.codes), found.total)
        nothing = Estimate(np.zeros(len(found.row)), np.zeros(len(found.row)), np.full(len(found.row), np.inf))
        total = found.total(nothing)
        return Scores(total.log_prob, np.zeros(len(rows)), total.error, np.zeros(len(rows), bool), total.size)

    def draw(self, rows: Floats, context: Floats | None, n_draws: int, rng: np.random.Generator) -> Floats:
        """Draw the missing cells of rows (n, R + K) given the others. Return completed rows (n, n_draws, R + K)."""
        x, codes = self._split(rows)
        full = self.draw_codes(rows, n_draws, rng)
        repeated = np.repeat(x, n_draws, axis=0)
        if self.model is not None:
            repeated = self.model.draw(repeated, self._context(full.reshape(-1, codes.shape[1])), 1, rng)[:, 0]
        return np.concatenate([repeated.reshape(len(x), n_draws, -1), full.astype(np.float64)], axis=2)

    def draw_codes(self, rows: Floats, n_draws: int, rng: np.random.Generator) -> Ints:
        """Draw the missing codes of rows (n, R + K) given all other cells. Return codes (n, n_draws, K)."""
        x, codes = self._split(rows)
        full = np.repeat(codes[:, np.newaxis], n_draws, axis=1)
        gaps, says_nothing = np.asarray((codes < 0).any(axis=1)), np.asarray(np.isnan(x).all(axis=1))
        alone = np.flatnonzero(gaps & says_nothing)
        if len(alone):
            drawn = self.categories.table.complete(np.repeat(codes[alone], n_draws, axis=0), rng)
            full[alone] = drawn.reshape(len(alone), n_draws, -1)
        others = np.flatnonzero(gaps & ~says_nothing)
        if len(others) and self.model is not None:
            found = self._completions(x[others], codes[others])
            terms = found.log_p + self.model.score(x[others][found.row], self._context(found.codes)).log_density
            for row, part in zip(others, np.split(np.arange(len(terms)), found.starts[1:])):
                shares = np.exp(terms[part] - terms[part].max()) if np.isfinite(terms[part]).any() else np.ones(len(part))
                full[row] = found.codes[rng.choice(part, n_draws, p=shares / shares.sum())]
        return full

    def _split(self, rows: Floats) -> tuple[Floats, Ints]:
        x, codes = rows[:, : self.n_numbers], rows[:, self.n_numbers :]
        return x, np.where(np.isnan(codes), -1, codes).astype(np.intp)

    def _context(self, codes: Ints) -> Floats | None:
        return self.categories.rows(None, codes, self.dtype)

    def _completions(self, x: Floats, codes: Ints) -> _Completions:
        """The completions of the codes of rows. Where there is no number, any code will do, as p(x | c) is 1."""
        says_nothing = np.asarray(np.isnan(x).all(axis=1))
        gaps = (codes < 0) & ~says_nothing[:, np.newaxis]
        unique, inverse = np.unique(np.where(gaps, -1, np.maximum(codes, 0)), axis=0, return_inverse=True)
        parts, is_drawn = zip(*(self._combinations(row) for row in unique)) if len(unique) else ((), ())
        chosen = [parts[number] for number in inverse.ravel()]
        row = np.repeat(np.arange(len(codes)), [len(part) for part in chosen])
        full = np.concatenate([np.empty((0, codes.shape[1]), np.intp), *chosen])
        drawn = np.repeat([is_drawn[number] for number in inverse.ravel()], [len(part) for part in chosen]).astype(bool)
        whole = says_nothing[row] | drawn
        log_p = self.categories.log_prob(np.where(whole[:, np.newaxis], codes[row], full))
        counts = np.bincount(row, minlength=len(codes))
        return _Completions(row, full, log_p - np.where(drawn, np.log(counts[row]), 0), drawn)

    def _combinations(self, row: Ints) -> tuple[Ints, bool]:
        """All rows of codes that agree with a row where it is not -1, or draws of them."""
        sizes, gaps = self.categories.coding.sizes, np.flatnonzero(row < 0)
        n = 1
        for gap in gaps:
            n *= sizes[gap]
        if n > MOST_COMBINATIONS:
            return self.categories.table.complete(np.tile(row, (N_DRAWS, 1)), np.random.default_rng(SEED)), True
        full = np.tile(row, (n, 1))
        full[:, gaps] = np.array(list(itertools.product(*(range(sizes[gap]) for gap in gaps))), np.intp).reshape(n, -1)
        return full, False
