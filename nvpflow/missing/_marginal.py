"""Densities of a flow for rows with missing cells, and draws of these cells.

Where all layers act on each column by itself, the marginal density is that of the mixture, exactly. Otherwise it is the mean
of p(x) / q(missing cells given the others) over draws from q, which is importance sampling. q is the conditional of a mixture
that is fitted to samples of the flow, and, for a fifth of the draws, that of a wider one: Hesterberg (1995), "Weighted average
importance sampling and defensive mixture distributions". Draws come from lattice rules whose random shifts tell the standard
error: Cranley and Patterson (1976), "Randomization of number theoretic methods for multiple integration".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nvpflow._training.mixture_search import fit_mixture
from nvpflow._typing import Floats, Ints
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.flow import Flow
from nvpflow.layers import Permutation
from nvpflow.missing._columns import split_layers
from nvpflow.missing._patterns import Mask, patterns
from nvpflow.missing._split_mixture import SplitMixture
from nvpflow.mixture_base import MixtureBase, mixture_of
from nvpflow.student_t_base import StudentTBase
from nvpflow.supports._masses import lattice

__all__ = ["Estimate", "Marginals", "shifts_of"]

# Points of a lattice, for one stage after the other, each with SHIFTS random shifts. A row goes on while its standard error is
# above GOOD_ERROR, in nats.
STAGES, SHIFTS, GOOD_ERROR = (61, 251, 1021), 8, 0.01
WIDE_SHARE, WIDTH = 0.2, 2.0  # of the wider proposal: its share of the draws and of deviations
N_SAMPLES = 10_000  # of the flow, for the proposal
MOST_POINTS = 2**18  # to evaluate at once
CANDIDATES = 500  # for a draw from the conditional, by importance resampling
FEW = 20.0  # effective draws: fewer cannot be trusted


class Estimate(NamedTuple):
    """Log-densities (n,) and their standard errors (n,), in nats, and effective numbers of draws (n,): infinite if exact."""

    log_prob: Floats
    error: Floats
    size: Floats


class Marginals:
    """The densities of a flow for rows with missing cells.

    Parameters
    ----------
    flow : Flow
    """

    def __init__(self, flow: Flow) -> None:
        self.dim, self.context_dim = flow.data_dim, flow.context_dim
        layers, self.columns = split_layers(flow)
        if isinstance(flow.base, StudentTBase):
            # Integrated by draws even without layers. A mixture, fitted to samples, has the wide components that tails need.
            layers = layers or [Permutation(self.dim, np.arange(self.dim), dtype=flow.dtype)]
            self.base = fit_mixture(flow.base.sample(N_SAMPLES, 0).astype(np.float64), seed=0)
        else:
            self.base = mixture_of(flow.base) or _standard_normal(self.dim)
        self.inner: Flow | None = None
        self.proposal: MixtureBase = self.base
        self.n_indicators: int = getattr(self.base, "n_indicators", 0)
        if layers:
            self.inner = Flow([layer.copy() for layer in layers], flow.base and flow.base.copy())
            self.inner.n_jobs = flow.n_jobs
            if self.inner.context_dim == 0:
                self.proposal = fit_mixture(self.inner.sample(N_SAMPLES, 0).astype(np.float64), seed=0)

    def in_one_thread(self) -> Marginals:
        """The same, with a flow whose calls start no threads."""
        twin = copy.copy(self)
        if self.inner is not None and self.inner.n_jobs > 1:
            twin.inner = Flow([layer.copy() for layer in self.inner.layers], self.inner.base and self.inner.base.copy())
        return twin

    def log_prob(self, x: Floats, context: Floats | None = None) -> Estimate:
        """Log-densities of rows x (n, D), NaN where a cell is missing: 0 where all are.

        Parameters
        ----------
        x : ndarray of float64, shape (n, D)
            As the flow reads it. Cells may be infinite: their rows have no density.
        context : ndarray, shape (n, C), or None
        """
        n = len(x)
        found = Estimate(np.zeros(n), np.zeros(n), np.full(n, np.inf))
        if self.n_indicators and context is not None:
            for given, rows in self._by_indicators(context):
                for whole, own in zip(found, given.log_prob(x[rows], context[rows])):
                    whole[rows] = own
            return found
        with np.errstate(invalid="ignore"):
            y, slopes = self.columns.inverse(x, context)
        missing = np.isnan(x)
        outside = ~(np.isfinite(y) | missing).all(axis=1)
        rows = np.flatnonzero(~outside & ~missing.all(axis=1))
        for pattern, at in patterns(missing[rows]):
            part = rows[at]
            given = None if context is None else context[part]
            estimate = self._of_pattern(y[part], pattern, given)
            for whole, own in zip(found, estimate):
                whole[part] = own
            found.log_prob[part] += slopes[part][:, ~pattern].sum(axis=1)
        found.log_prob[outside] = -np.inf
        return found

    def _by_indicators(self, context: Floats) -> Iterator[tuple[Marginals, Ints]]:
        """For each combination of categories in the context, the marginals given these, and the numbers of the rows."""
        assert isinstance(self.base, ConditionalMixtureBase)
        values, group = np.unique(context[:, -self.n_indicators :], axis=0, return_inverse=True)
        for i, indicators in enumerate(values):
            given = copy.copy(self)
            given.n_indicators, given.base = 0, _given_indicators(self.base, indicators)
            given.proposal = given.base if self.proposal is self.base else self.proposal
            yield given, np.flatnonzero(group.ravel() == i)

    def _of_pattern(self, y: Floats, missing: Mask, context: Floats | None) -> Estimate:
        if self.inner is None:
            return _exact(_log_marginal(self.base, y, missing, context))
        if not missing.any():
            return _exact(self._log_joint(y, context))
        return self._integrated(y, missing, context)

    def log_joint(self, y: Floats, context: Floats | None) -> Floats:
        """Log-densities (n,) of complete rows y (n, D), behind the layers that act on each column by itself."""
        if self.inner is not None:
            return self._log_joint(y, context)
        if self.n_indicators and context is not None:
            found = np.empty(len(y))
            for given, rows in self._by_indicators(context):
                found[rows] = given.log_joint(y[rows], context[rows])
            return found
        return _log_marginal(self.base, y, np.zeros(self.dim, bool), context)

    def _log_joint(self, y: Floats, context: Floats | None) -> Floats:
        assert self.inner is not None
        rows = None if context is None else context.astype(self.inner.dtype)
        with np.errstate(over="ignore"):
            found: Floats = self.inner.log_prob(y.astype(self.inner.dtype), rows).astype(np.float64)
        return found

    def _integrated(self, y: Floats, missing: Mask, context: Floats | None) -> Estimate:
        """The integral over the missing columns."""
        proposal = _Proposal(self.proposal, missing)
        shifts = shifts_of(y[:, ~missing], SHIFTS, int(missing.sum()))
        found = Estimate(np.full(len(y), -np.inf), np.full(len(y), np.inf), np.zeros(len(y)))
        left = np.arange(len(y))
        for n_points in STAGES:
            step = max(1, MOST_POINTS // (n_points * SHIFTS))
            for start in range(0, len(left), step):
                rows = left[start : start + step]
                given = None if context is None else context[rows]
                log_weights = self._log_weights(proposal, y[rows], shifts[rows], n_points, given)
                for whole, own in zip(found, _estimate(log_weights)):
                    whole[rows] = own
            left = left[found.error[left] > GOOD_ERROR]
        return found

    def _log_weights(self, proposal: _Proposal, y: Floats, shifts: Floats, n_points: int, context: Floats | None) -> Floats:
        """Logarithms of p(x) / q (n, S, n_points) at the points of a lattice, for shifts (n, S, m)."""
        n, n_shifts, n_missing = shifts.shape
        points = (lattice(n_missing, n_points) + shifts[:, :, np.newaxis]) % 1
        drawn, log_q = proposal.draw(y, points.reshape(n, -1, n_missing), context)
        return (self._log_p(proposal, y, drawn, context) - log_q).reshape(n, n_shifts, n_points)

    def _log_p(self, proposal: _Proposal, y: Floats, drawn: Floats, context: Floats | None) -> Floats:
        """Log-density (n, N) of rows completed with drawn cells (n, N, m)."""
        full = proposal.completed(y, drawn)
        rows = None if context is None else np.repeat(context, drawn.shape[1], axis=0)
        return self._log_joint(full.reshape(-1, self.dim), rows).reshape(drawn.shape[:2])

    def log_means(self, y: Floats, missing: Mask, context: Floats | None, shifts: Floats, n_points: int) -> Floats:
        """Logarithms (n, S) of estimates of the densities of rows y (n, D), as `log_joint` reads them, NaN where missing.

        Each is a mean over so many points of a lattice with one of the shifts (n, S, m). Between rows with the same shifts
        they change as the densities do, but for draws that pass to another component.
        """
        if self.n_indicators and context is not None:
            found = np.empty(shifts.shape[:2])
            for part, rows in self._by_indicators(context):
                found[rows] = part.log_means(y[rows], missing, context[rows], shifts[rows], n_points)
            return found
        if self.inner is None:
            log_p = _log_marginal(self.base, y, missing, context)
            return np.repeat(log_p[:, np.newaxis], shifts.shape[1], axis=1)
        log_weights = self._log_weights(_Proposal(self.proposal, missing), y, shifts, n_points, context)
        largest = _finite_max(log_weights.reshape(len(y), -1))
        with np.errstate(divide="ignore"):
            log_means: Floats = largest + np.log(np.exp(log_weights - largest[:, :, np.newaxis]).mean(axis=2))
        return log_means

    def draw(self, x: Floats, context: Floats | None, n_draws: int, rng: np.random.Generator) -> Floats:
        """Draw the missing cells of rows x (n, D) given the others. Return completed rows (n, n_draws, D)."""
        if self.n_indicators and context is not None:
            drawn = np.empty((len(x), n_draws, self.dim))
            for part, rows in self._by_indicators(context):
                drawn[rows] = part.draw(x[rows], context[rows], n_draws, rng)
            return drawn
        y, _ = self.columns.inverse(x, context)
        full = np.repeat(y[:, np.newaxis], n_draws, axis=1)
        for missing, rows in patterns(np.isnan(x)):
            if missing.any():
                given = None if context is None else context[rows]
                full[np.ix_(rows, np.arange(n_draws), np.flatnonzero(missing))] = self._draw_pattern(
                    y[rows], missing, given, n_draws, rng
                )
        flat = full.reshape(-1, self.dim)
        repeated = None if context is None else np.repeat(context, n_draws, axis=0)
        return self.columns.forward(flat, repeated).reshape(full.shape)

    def _draw_pattern(
        self, y: Floats, missing: Mask, context: Floats | None, n_draws: int, rng: np.random.Generator
    ) -> Floats:
        n, m = len(y), int(missing.sum())
        if self.inner is None:
            proposal = _Proposal(self.base, missing, wide=False)
            return proposal.draw(y, rng.random((n, n_draws, m)), context)[0]
        proposal, drawn = _Proposal(self.proposal, missing), np.empty((n, n_draws, m))
        n_candidates = max(CANDIDATES, 20 * n_draws)
        step = max(1, MOST_POINTS // n_candidates)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            given = None if context is None else context[rows]
            uniforms = rng.random((len(y[rows]), n_candidates, m))
            candidates, log_q = proposal.draw(y[rows], uniforms, given)
            log_weights = self._log_p(proposal, y[rows], candidates, given) - log_q
            weights = np.exp(log_weights - _finite_max(log_weights))
            drawn[rows] = _resampled(candidates, weights, rng.random((len(weights), n_draws)))
        return drawn


def _exact(log_prob: Floats) -> Estimate:
    return Estimate(log_prob, np.zeros(len(log_prob)), np.full(len(log_prob), np.inf))


def _estimate(log_weights: Floats) -> Estimate:
    """The logarithm of the mean of weights (n, SHIFTS, N), its standard error over the shifts, and the effective number."""
    n = len(log_weights)
    largest = _finite_max(log_weights.reshape(n, -1))
    weights = np.exp(log_weights - largest[:, :, np.newaxis])
    means = weights.mean(axis=2)
    mean = means.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = means.std(axis=1, ddof=1) / np.sqrt(SHIFTS) / mean
        size = weights.sum(axis=(1, 2)) ** 2 / (weights**2).sum(axis=(1, 2))
        log_prob = largest[:, 0] + np.log(mean)
    return Estimate(log_prob, np.where(mean > 0, error, np.inf), np.where(mean > 0, size, 0.0))


def _finite_max(log_weights: Floats) -> Floats:
    largest = log_weights.max(axis=1, keepdims=True)
    return np.where(np.isfinite(largest), largest, 0.0)


def _resampled(candidates: Floats, weights: Floats, places: Floats) -> Floats:
    """Choose candidates (n, N, m) by their weights (n, N), for places (n, n_draws) in (0, 1)."""
    sums = np.cumsum(weights, axis=1)
    chosen = np.stack([np.searchsorted(row, place * row[-1], side="right") for row, place in zip(sums, places)])
    chosen = np.minimum(chosen, candidates.shape[1] - 1)
    return np.take_along_axis(candidates, chosen[:, :, np.newaxis], axis=1)


def shifts_of(present: Floats, n_shifts: int, n_missing: int) -> Floats:
    """Shifts (rows, n_shifts, n_missing) of a lattice in [0, 1), pseudo-random functions of the present cells alone.

    So a row has the same estimate whatever other rows are scored with it, and the errors of different rows are independent.
    """
    rng = np.random.default_rng(present.shape[1])
    n = n_shifts * n_missing
    factors, first = rng.uniform(1e4, 1e5, (present.shape[1], n)), rng.random(n)
    shifts: Floats = (first + (present[:, :, np.newaxis] * factors).sum(axis=1)) % 1
    return shifts.reshape(len(present), n_shifts, n_missing)


class _Proposal:
    """The distribution of the missing columns given the others, by a mixture, and for a share of the draws by a wider one."""

    def __init__(self, mixture: MixtureBase, missing: Mask, *, wide: bool = True) -> None:
        self.missing, self.mixtures = missing, [mixture, _widened(mixture)] if wide else [mixture]
        self.splits = [SplitMixture.of(one, _with_context(one, missing)) for one in self.mixtures]

    def completed(self, y: Floats, drawn: Floats) -> Floats:
        full = np.repeat(y[:, np.newaxis], drawn.shape[1], axis=1)
        full[:, :, self.missing] = drawn
        return full

    def draw(self, y: Floats, uniforms: Floats, context: Floats | None) -> tuple[Floats, Floats]:
        """Draw the missing cells (n, N, m) of rows y (n, D), from uniform numbers. Also return the log-density (n, N)."""
        reads = bool(self.mixtures[0].context_dim)
        given = y[:, ~self.missing] if not reads else np.hstack([_of(context, self.mixtures[0]), y[:, ~self.missing]])
        if len(self.splits) == 1:
            return self.splits[0].draw(given, uniforms), np.empty((0, 0))
        is_wide = np.arange(uniforms.shape[1]) % round(1 / WIDE_SHARE) == 0
        drawn = np.empty(uniforms.shape)
        for split, part in zip(self.splits, (~is_wide, is_wide)):
            drawn[:, part] = split.draw(given, uniforms[:, part])
        rows = self.completed(y, drawn).reshape(-1, y.shape[1])
        if reads:
            rows = np.hstack([np.repeat(_of(context, self.mixtures[0]), len(is_wide), axis=0), rows])
        wide = float(is_wide.mean())
        shares = [1 - wide, wide]
        terms: list[Floats] = [
            np.log(share) + _joint(one).log_prob(rows).reshape(len(y), -1) - split.log_prob(given)[:, np.newaxis]
            for one, split, share in zip(self.mixtures, self.splits, shares)
        ]
        return drawn, np.logaddexp(terms[0], terms[1])


def _of(context: Floats | None, base: MixtureBase) -> Floats:
    """The columns of the context that a base reads, the first ones."""
    assert context is not None
    return context[:, : base.context_dim].astype(np.float64)


def _given_indicators(base: ConditionalMixtureBase, indicators: Floats) -> MixtureBase:
    """The mixture of the other columns, given the indicators of categories, which change weights only."""
    joint = _joint(base)
    joint.logits[:] += base.indicator_logits.astype(np.float64) @ indicators.astype(np.float64)
    n_real = base.context_dim - base.n_indicators
    return ConditionalMixtureBase._of_joint(joint, n_real) if n_real else joint


def _joint(mixture: MixtureBase) -> MixtureBase:
    """A copy of the mixture, together with the numbers of the context that it reads, in float64."""
    joint = MixtureBase.__new__(MixtureBase)
    joint._allocate(mixture.n_components, mixture.means.shape[1], np.dtype(np.float64))
    joint._parameters[:] = mixture.parameters[: len(joint._parameters)]
    return joint


def _widened(mixture: MixtureBase) -> MixtureBase:
    """The mixture with deviations WIDTH times as large, in float64."""
    wide = _joint(mixture)
    row, column = np.tril_indices(wide.data_dim)
    wide.factors[:, row == column] -= np.log(WIDTH)
    wide.factors[:, row != column] /= WIDTH
    return wide


def _with_context(mixture: MixtureBase, missing: Mask) -> Mask:
    """The pattern with the columns of the context that a mixture reads, or of a joint mixture, in front."""
    return np.concatenate([np.zeros(mixture.means.shape[1] - len(missing), bool), missing])


def _log_marginal(base: MixtureBase, y: Floats, missing: Mask, context: Floats | None) -> Floats:
    """Log-density of the present columns, given the context if the base reads it."""
    given = y[:, ~missing]
    if base.context_dim == 0:
        return SplitMixture.of(base, missing).log_prob(given)
    rows = _of(context, base)
    both = SplitMixture.of(base, _with_context(base, missing)).log_prob(np.hstack([rows, given]))
    log_prob: Floats = both - SplitMixture.of(base, _with_context(base, np.ones_like(missing))).log_prob(rows)
    return log_prob


def _standard_normal(dim: int) -> MixtureBase:
    return MixtureBase([1.0], np.zeros((1, dim)), np.eye(dim)[np.newaxis], dtype="float64")
