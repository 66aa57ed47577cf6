"""Rows with missing cells for a fitted model: its flows, its supports and its origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import Floats
from nvpflow.ensemble import FlowEnsemble, log_sum_exp, spread_of
from nvpflow.flow import Flow
from nvpflow.missing._marginal import FEW, Estimate, Marginals
from nvpflow.missing._patterns import Mask, patterns
from nvpflow.supports._masses import log_masses, n_points, points_of

if TYPE_CHECKING:
    from nvpflow.supports._fitted import Supports

__all__ = ["N_EXAMPLES", "IncompleteModel", "Scores"]

MOST_POINTS = 2**15  # of whole numbers and angles, at once
N_EXAMPLES = 5000


class Scores(NamedTuple):
    """Log-densities (n,), their standard deviations over the members of an ensemble, their standard errors by the draws of
    importance sampling, all in nats, which of them cannot be trusted, and the effective numbers of draws."""

    log_density: Floats
    std: Floats
    error: Floats
    doubtful: Mask
    size: Floats


class IncompleteModel:
    """A fitted density, for rows with missing cells.

    Parameters
    ----------
    flow : Flow or FlowEnsemble
    supports : Supports or None
    origin : ndarray, shape (D,), or None
    """

    def __init__(self, flow: Flow | FlowEnsemble, supports: Supports | None, origin: Floats | None) -> None:
        flows: Sequence[Flow] = flow.flows if isinstance(flow, FlowEnsemble) else (flow,)
        self.members = [Marginals(one) for one in flows]
        self.log_weights = np.log(flow.weights) if isinstance(flow, FlowEnsemble) else np.zeros(1)
        self.supports, self.origin = supports, 0.0 if origin is None else origin
        self.flow = flow
        self.ranked: dict[bytes, Floats] = {}  # see `_levels`

    @property
    def is_exact(self) -> bool:
        """Whether no density needs importance sampling."""
        return all(member.inner is None for member in self.members)

    def n_evaluations(self, missing: Mask) -> int:
        """How many densities are summed for each row with these missing cells (D,)."""
        return len(self.members) * n_points(*self._sums(missing))

    @cached_property
    def examples(self) -> Floats:
        """Samples of a model without a context, which tell where its columns lie."""
        return self.samples(N_EXAMPLES)

    def samples(self, n: int, context: Floats | None = None) -> Floats:
        """The same n samples in every call, in float64."""
        x = self.flow.sample(n, 0, context).astype(np.float64) + self.origin
        return x if self.supports is None else self.supports.clipped(x)

    def score(self, x: Floats, context: Floats | None, total_of: Callable[[Estimate], Estimate] | None = None) -> Scores:
        """Scores of rows x (n, D), NaN where a cell is missing. `total_of`: takes those of each member to sums over rows."""
        lowest = self._lowest(x)
        estimates = [self._estimate(member, lowest, context) for member in self.members]
        estimates = estimates if total_of is None else [total_of(estimate) for estimate in estimates]
        of_members = np.stack([estimate.log_prob for estimate in estimates])
        terms = of_members + self.log_weights[:, np.newaxis]
        total = log_sum_exp(terms.copy())
        with np.errstate(invalid="ignore"):
            shares = np.where(np.isfinite(terms), np.exp(terms - total), 0.0)
        errors = np.stack([np.where(share > 0, one.error, 0.0) for one, share in zip(estimates, shares)])
        error = np.sqrt(((shares * errors) ** 2).sum(axis=0))
        size = np.min([np.where(one.log_prob > -np.inf, one.size, np.inf) for one in estimates], axis=0)
        std = np.zeros(len(total)) if len(self.members) == 1 else spread_of(of_members)
        return Scores(total, std, error, size < FEW, size)

    def _lowest(self, x: Floats) -> Floats:
        """The rows in float64, as the flow reads them but for the origin; whole numbers at the low end of their cells."""
        if self.supports is None:
            return x.astype(np.float64)
        marked = self.supports.marked(x)
        return marked - 0.5 * self.supports.is_whole if self.supports.is_sum else marked

    def _sums(self, missing: Mask) -> tuple[Mask, Floats]:
        """Which of the present columns are integrated over cells, and the periods of those that are summed over windings."""
        if self.supports is None:
            return np.zeros_like(missing), np.zeros(len(missing))
        return self.supports.is_whole & ~missing, np.where(missing, 0.0, self.supports.turns)

    def _estimate(self, member: Marginals, x: Floats, context: Floats | None) -> Estimate:
        if self.supports is None or not self.supports.is_sum:
            return member.log_prob(x - self.origin, context)
        found = Estimate(np.zeros(len(x)), np.zeros(len(x)), np.full(len(x), np.inf))
        for missing, rows in patterns(np.isnan(x)):
            given = None if context is None else context[rows]
            for whole, own in zip(found, self._estimate_sums(member, x[rows], missing, given)):
                whole[rows] = own
        return found

    def _estimate_sums(self, member: Marginals, x: Floats, missing: Mask, context: Floats | None) -> Estimate:
        """Estimates of sums over cells and windings, for rows of one pattern."""
        error, size = np.zeros(len(x)), np.full(len(x), np.inf)

        def log_prob(points: Floats, rows: slice) -> Floats:
            shape = points.shape[:2]
            repeated = None if context is None else np.repeat(context[rows], shape[1], axis=0)
            estimate = member.log_prob(points.reshape(-1, points.shape[2]) - self.origin, repeated)
            densities = estimate.log_prob.reshape(shape)
            largest = densities.max(axis=1, keepdims=True)
            shares = np.exp(densities - np.where(np.isfinite(largest), largest, 0))
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)
            # The points share their draws, so that errors may add up.
            errors, sizes = np.where(shares > 0, estimate.error.reshape(shape), 0), estimate.size.reshape(shape)
            error[rows] = (shares * errors).sum(axis=1)
            size[rows] = np.where(shares > 1 / shape[1], sizes, np.inf).min(axis=1)
            return densities

        return Estimate(log_masses(log_prob, x, *self._sums(missing)), error, size)

    def draw(self, x: Floats, context: Floats | None, n_draws: int, rng: np.random.Generator) -> Floats:
        """Draw the missing cells of rows x (n, D) given the others. Return completed samples (n, n_draws, D)."""
        drawn = np.empty((len(x), n_draws, x.shape[1]))
        lowest = self._lowest(x)
        for missing, rows in patterns(np.isnan(x)):
            step = max(1, MOST_POINTS // (n_points(*self._sums(missing)) * len(self.members)))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                given = None if context is None else context[part]
                drawn[part] = self._draw(lowest[part], missing, given, n_draws, rng)
        drawn += self.origin
        full = drawn if self.supports is None else self.supports.clipped(drawn)
        return np.where(np.isnan(x)[:, np.newaxis], full, x[:, np.newaxis])

    def _draw(self, x: Floats, missing: Mask, context: Floats | None, n_draws: int, rng: np.random.Generator) -> Floats:
        """Draw for rows of one pattern: first a member and a point of the cells and windings, by their probabilities."""
        points, log_weights = points_of(x, *self._sums(missing))
        n, n_nodes, dim = points.shape
        flat = (points - self.origin).reshape(-1, dim)
        if len(self.members) * n_nodes == 1:
            return self.members[0].draw(flat, context, n_draws, rng)
        repeated = None if context is None else np.repeat(context, n_nodes, axis=0)
        terms = np.concatenate(
            [
                member.log_prob(flat, repeated).log_prob.reshape(n, n_nodes) + log_weights + log_weight
                for member, log_weight in zip(self.members, self.log_weights)
            ],
            axis=1,
        )
        largest = terms.max(axis=1, keepdims=True)
        sums = np.cumsum(np.exp(terms - np.where(np.isfinite(largest), largest, 0)), axis=1)
        places = rng.random((n, n_draws)) * sums[:, -1:]
        chosen = np.stack([np.searchsorted(row, place, side="right") for row, place in zip(sums, places)])
        of, node = np.divmod(np.minimum(chosen, terms.shape[1] - 1), n_nodes)
        begun = np.take_along_axis(points - self.origin, node[:, :, np.newaxis], axis=1)
        drawn = np.empty((n, n_draws, dim))
        for k, member in enumerate(self.members):
            row, draw = np.nonzero(of == k)
            given = None if context is None else context[row]
            drawn[row, draw] = member.draw(begun[row, draw], given, 1, rng)[:, 0]
        return drawn
