"""Densities of one column where several others are open: means over draws of these, by importance sampling.

All points of a line share their draws, which are points of lattices with random shifts: see `nvpflow.missing._marginal`. So
the density is one function of the free column, for quadrature to integrate, and the shifts tell its error.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.missing._marginal import shifts_of
from nvpflow.queries._branches import Branches, Member, RealModel
from nvpflow.queries._ragged import gather, starts_of

__all__ = ["Drawn"]

N_SHIFTS = 4  # of a lattice
MOST_POINTS = 2**18  # to evaluate at once


class Drawn:
    """The same as `Slice` where several other columns are open, in so many estimates as there are shifts.

    Parameters
    ----------
    model : RealModel
    branches : Branches
    free : int
    n_points : int
        Of the lattice.
    """

    def __init__(self, model: RealModel, branches: Branches, free: int, n_points: int) -> None:
        self.model, self.branches, self.free, self.n_points = model, branches, free, n_points
        self.starts = starts_of(branches.row, branches.n)
        is_open = np.isnan(branches.u[0])
        self.others = is_open & (np.arange(len(is_open)) != free)
        self.shifts = shifts_of(branches.u[:, ~is_open], N_SHIFTS, int(self.others.sum()))

    def __call__(self, rows: Ints, u: Floats) -> Floats:
        """Log-densities (m, N_SHIFTS), in nats, of rows (m,) at u (m,)."""
        found = np.empty((len(rows), N_SHIFTS))
        step = max(1, MOST_POINTS * self.branches.n // (self.n_points * N_SHIFTS * len(self.branches.row)))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            inner = self.branches.take(rows[part]).given(self.free, u[part])
            shifts = self.shifts[gather(self.starts, len(self.branches.row), rows[part])[0]]
            terms = np.logaddexp.reduce([self._of_member(one, inner, shifts) for one in self.model.members], axis=0)
            found[part] = np.logaddexp.reduceat(terms, starts_of(inner.row, inner.n))
        return found

    def _of_member(self, member: Member, inner: Branches, shifts: Floats) -> Floats:
        """Terms (B, N_SHIFTS) of the sum over branches and members."""
        y, slopes = member.columns.inverse(inner.u, inner.context)
        log_weight = inner.log_weight + member.log_weight + slopes[:, ~self.others].sum(axis=1)
        log_p = member.marginals.log_means(y, self.others, inner.context, shifts, self.n_points)
        found: Floats = log_weight[:, np.newaxis] + log_p
        return found
