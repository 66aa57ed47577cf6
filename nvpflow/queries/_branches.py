"""What a fitted model says of its columns on the real line, given some of them.

Categories that are not given, the cells of given whole numbers, the windings of given angles and the members of an ensemble
make a density a sum. Its terms are branches.

A row is on the real line once the layer of the supports is undone: numbers u, of which each member of an ensemble reads an
affine function.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, Self

import numpy as np

from nvpflow._training.margins import Margins
from nvpflow._typing import Bools, Floats, Ints
from nvpflow.layers import Bounded
from nvpflow.missing._columns import Columns
from nvpflow.missing._marginal import Marginals, _of, _with_context
from nvpflow.missing._model import IncompleteModel
from nvpflow.missing._patterns import Mask
from nvpflow.missing._split_mixture import SplitMixture
from nvpflow.missing._table import IncompleteTable
from nvpflow.mixture_base import MixtureBase
from nvpflow.queries._bend import Bend, unbent
from nvpflow.queries._mixture_line import MixtureLine
from nvpflow.queries._ragged import gather, starts_of
from nvpflow.supports._masses import points_of

__all__ = ["Branches", "Member", "RealModel"]

# How far beyond samples of the model its density may reach, as a share of their range, and beyond which it is no more than an
# extrapolation: more than 7 standard deviations from the mean of a normal distribution, about 2 in 10,000 rows of a Cauchy
# distribution.
MARGIN, FAR = 0.2, 0.5


class Branches(NamedTuple):
    """The terms of the densities of n rows, all with the same open columns.

    Attributes
    ----------
    row : ndarray of int, shape (B,)
        In increasing order; every row has a branch.
    log_weight : ndarray, shape (B,)
        -inf where the given cells of a row have no density.
    u : ndarray, shape (B, R)
        On the real line, NaN in open columns.
    context : ndarray, shape (B, C), or None
    n : int
        The number of rows.
    """

    row: Ints
    log_weight: Floats
    u: Floats
    context: Floats | None
    n: int

    def take(self, rows: Ints) -> Branches:
        """Some of the rows, in this order, perhaps several times."""
        index, row = gather(starts_of(self.row, self.n), len(self.row), rows)
        context = None if self.context is None else self.context[index]
        return Branches(row, self.log_weight[index], self.u[index], context, len(rows))

    def given(self, column: int, values: Floats) -> Branches:
        """The same with a further column, whose numbers (n,) are given."""
        u = self.u.copy()
        u[:, column] = values[self.row]
        return self._replace(u=u)


class Member(NamedTuple):
    """A flow on the real line, and the logarithm of its weight. Without the margins its columns are `affine`."""

    marginals: Marginals
    columns: Columns
    affine: Columns
    margins: Margins | None
    log_weight: float

    @classmethod
    def of(cls, marginals: Marginals, log_weight: float) -> Self:
        return cls(marginals, marginals.columns, *unbent(marginals.columns), log_weight)

    def line(self, branches: Branches, free: int) -> tuple[Floats, Floats]:
        """For each branch (B,) the a and log b with which the flow reads the free column as ``a + b v``, behind its margin."""
        zeros, log_scales = self.affine.inverse(np.zeros_like(branches.u), branches.context)
        return zeros[:, free], log_scales[:, free]

    def bend(self, free: int) -> Bend | None:
        return None if self.margins is None else Bend(self.margins, free)


class RealModel:
    """A fitted model on the real line.

    Parameters
    ----------
    model : IncompleteModel or IncompleteTable
    """

    def __init__(self, model: IncompleteModel | IncompleteTable) -> None:
        self.model = model
        self.table = model if isinstance(model, IncompleteTable) else None
        numbers = model.model if isinstance(model, IncompleteTable) else model
        assert numbers is not None
        self.numbers: IncompleteModel = numbers
        self.is_exact = numbers.is_exact
        self.bounded = numbers.members[0].columns.split()[1]
        self.members = []
        for marginals, log_weight in zip(numbers.members, numbers.log_weights):
            on_line = copy.copy(marginals)
            on_line.columns = marginals.columns.split()[0]
            self.members.append(Member.of(on_line, float(log_weight)))
        self.n_numbers = numbers.members[0].dim
        mixtures = (one.marginals.base if one.marginals.inner is None else one.marginals.proposal for one in self.members)
        self._asked: list[_Conditional] = []
        self.n_terms: int = sum(mixture.n_components for mixture in mixtures)  # of a branch
        self.n_threads: int = numbers.flow.n_jobs

    def in_one_thread(self) -> RealModel:
        """The same, for questions that are themselves asked in threads."""
        twin = copy.copy(self)
        twin.members = [one._replace(marginals=one.marginals.in_one_thread()) for one in self.members]
        twin.n_threads = 1
        return twin

    def to_line(self, x: Floats, column: int) -> Floats:
        """Numbers (n, 1) of a column on the real line."""
        supports, origin = self.numbers.supports, np.broadcast_to(self.numbers.origin, self.n_numbers)[column]
        if supports is None:
            found: Floats = x - origin
            return found
        layer = supports._exact
        one = Bounded(1, [layer.bounds[column]], [layer.scales[column]], [layer.edges[column]], dtype="float64")
        moved: Floats = one.inverse(x + 0.5 * supports.is_whole[column] - origin)[0]
        return moved

    @property
    def has_context(self) -> bool:
        """Whether a context, which is none of the categories, is needed."""
        return self.table is None and self.numbers.members[0].context_dim > 0

    def limits(self, column: int, margin: float = MARGIN) -> tuple[float, float]:
        """Between which numbers on the line next to all of a column lies, over all rows: not known with a context."""
        if self.has_context:
            return np.inf, -np.inf
        u = self.to_line(self.model.examples[:, column : column + 1], column)
        low, high = float(u.min()), float(u.max())
        return low - margin * (high - low), high + margin * (high - low)

    def are_far(self, rows: Floats) -> Bools:
        """Which rows (n, R + K) have a number far from all samples of the model: never with a context."""
        found, supports = np.zeros(len(rows), bool), self.numbers.supports
        for column in [] if self.has_context else range(self.n_numbers):
            given = ~np.isnan(rows[:, column])
            if given.any() and not (supports is not None and supports.turns[column]):
                u = self.to_line(rows[given, column : column + 1], column)[:, 0]
                low, high = self.limits(column, FAR)
                found[given] |= np.isfinite(u) & ((u < low) | (u > high))
        return found

    def branches(self, rows: Floats, context: Floats | None) -> Branches:
        """The branches of rows (n, R + K), NaN where cells are open: the same cells of numbers in all rows."""
        n, row, log_weight = len(rows), np.arange(len(rows)), np.zeros(len(rows))
        x = rows
        if self.table is not None:
            x, codes = self.table._split(rows)
            row, codes, log_weight = self._all_codes(codes)
            x, context = x[row], self.table._context(codes)
        missing = np.isnan(x[0]) if len(x) else np.zeros(x.shape[1], bool)
        points, log_shares = points_of(self.numbers._lowest(x), *self.numbers._sums(missing))
        n_points = points.shape[1]
        with np.errstate(invalid="ignore"):
            u, slopes = self.bounded.inverse((points - self.numbers.origin).reshape(-1, x.shape[1]), None)
        log_weight = (log_weight[:, np.newaxis] + log_shares).ravel() + slopes[:, ~missing].sum(axis=1)
        outside = ~(np.isfinite(u) | missing).all(axis=1)
        log_weight[outside], u[outside] = -np.inf, np.where(missing, np.nan, 0.0)
        context = None if context is None else np.repeat(context, n_points, axis=0)
        return Branches(np.repeat(row, n_points), log_weight, u, context, n)

    def _all_codes(self, codes: Ints) -> tuple[Ints, Ints, Floats]:
        """All codes (B, K) that agree with those of rows (n, K), -1 where open; their rows, and their log-probabilities."""
        assert self.table is not None
        unique, inverse = np.unique(codes, axis=0, return_inverse=True)
        parts, log_p = [], []
        for one in unique:
            full, is_drawn = self.table._combinations(one)
            of_drawn = self.table.categories.log_prob(one[np.newaxis]) - np.log(len(full))
            parts.append(full)
            log_p.append(np.repeat(of_drawn, len(full)) if is_drawn else self.table.categories.log_prob(full))
        chosen = inverse.ravel().tolist()
        row = np.repeat(np.arange(len(codes)), [len(parts[i]) for i in chosen])
        return row, np.concatenate([parts[i] for i in chosen]), np.concatenate([log_p[i] for i in chosen])

    def mixture_line(self, branches: Branches, free: int) -> MixtureLine:
        """The distribution of the free column, with other open columns integrated out, by the mixtures of the members.

        It is exact where there are no trained layers. Otherwise it is that of mixtures fitted to samples.
        """
        parts = [self._terms(member, branches, free) for member in self.members]
        log_terms, means, stds = parts[0] if len(parts) == 1 else (np.concatenate(c, axis=1) for c in zip(*parts))
        line = MixtureLine.of_terms(branches.row, log_terms, means, stds, branches.n)
        bends = [member.bend(free) for member in self.members]
        if not any(bends):
            return line
        member_of = np.repeat(np.arange(len(parts)), [part[0].shape[1] for part in parts])
        return line._replace(bend_of=member_of, bends=tuple(bends))

    def _terms(self, member: Member, branches: Branches, free: int) -> tuple[Floats, Floats, Floats]:
        """Log-weights, means and standard deviations (B, K) of the components of a member, behind the margin of the column."""
        marginals, context = member.marginals, branches.context
        if marginals.n_indicators and context is not None:
            found: list[Floats] = []
            for given, rows in marginals._by_indicators(context):
                own = self._terms(
                    member._replace(marginals=given),
                    branches._replace(log_weight=branches.log_weight[rows], u=branches.u[rows], context=context[rows]),
                    free,
                )
                found = found or [np.empty((len(context), part.shape[1])) for part in own]
                for whole, part in zip(found, own):
                    whole[rows] = part
            return found[0], found[1], found[2]
        y, slopes = member.columns.inverse(branches.u, context)
        zero, log_scale = member.line(branches, free)
        mixture = marginals.base if marginals.inner is None else marginals.proposal
        missing = np.isnan(branches.u[0])
        log_terms, means, stds = self._conditional(mixture, missing, free).terms(y, context)
        scale = np.exp(log_scale)[:, np.newaxis]
        log_terms += (branches.log_weight + member.log_weight + slopes[:, ~missing].sum(axis=1))[:, np.newaxis]
        means -= zero[:, np.newaxis]
        means /= scale
        return log_terms, means, stds / scale

    def _conditional(self, mixture: MixtureBase, missing: Mask, free: int) -> _Conditional:
        """Those of the last question are kept: one part of the rows after another asks it."""
        for conditional in self._asked:
            if conditional.is_of(mixture, missing, free):
                return conditional
        conditional = _Conditional(mixture, missing, free)
        self._asked = [conditional, *self._asked[: len(self.members) - 1]]
        return conditional


class _Conditional:
    """One free column of a mixture given others, with further open ones integrated out.

    Parameters
    ----------
    mixture : MixtureBase
    missing : ndarray of bool, shape (D,)
        The open columns, the free one among them.
    free : int
    """

    def __init__(self, mixture: MixtureBase, missing: Mask, free: int) -> None:
        self.mixture, self.missing, self.free = mixture, missing, free
        self.given = SplitMixture.of(mixture, _with_context(mixture, missing))
        self.column = self.given.only(int(np.searchsorted(np.flatnonzero(missing), free)))
        self.context: SplitMixture | None = None
        if mixture.context_dim:
            self.context = SplitMixture.of(mixture, _with_context(mixture, np.ones_like(missing)))

    def is_of(self, mixture: MixtureBase, missing: Mask, free: int) -> bool:
        return self.mixture is mixture and self.free == free and np.array_equal(self.missing, missing)

    def terms(self, y: Floats, context: Floats | None) -> tuple[Floats, Floats, Floats]:
        """Log-weights, means and standard deviations (B, K) of the components, for rows y (B, D)."""
        given, log_context = y[:, ~self.missing], None
        if self.context is not None:
            read = _of(context, self.mixture)
            given, log_context = np.hstack([read, given]), self.context.log_prob(read)
        log_terms = self.given.log_terms(given)
        if log_context is not None:
            log_terms -= log_context[:, np.newaxis]
        stds = np.broadcast_to(self.column.roots[:, 0, 0], log_terms.shape)
        return log_terms, self.column.centres(given)[:, :, 0], stds
