"""The joint density as a function of one column, for many rows at once."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.ensemble import log_sum_exp
from nvpflow.queries._branches import Branches, Member, RealModel
from nvpflow.queries._ragged import gather, starts_of

__all__ = ["Slice"]


class Slice:
    """Log-densities on the real line of rows whose only open column is given. What does not depend on it is computed once.

    Parameters
    ----------
    model : RealModel
    branches : Branches
    free : int
    """

    def __init__(self, model: RealModel, branches: Branches, free: int) -> None:
        self.branches, self.starts = branches, starts_of(branches.row, branches.n)
        self.parts = [_Part(member, branches, free) for member in model.members]

    def __call__(self, rows: Ints, u: Floats) -> Floats:
        """Log-densities (m,), in nats, of rows (m,) at u (m,)."""
        if len(self.branches.row) == self.branches.n:
            return self._sum_of_members(rows, u)
        index, owner = gather(self.starts, len(self.branches.row), rows)
        found: Floats = np.logaddexp.reduceat(self._sum_of_members(index, u[owner]), starts_of(owner, len(rows)))
        return found

    def _sum_of_members(self, index: Ints, u: Floats) -> Floats:
        log_p = [part(index, u) for part in self.parts]
        return log_p[0] if len(log_p) == 1 else log_sum_exp(np.stack(log_p))


class _Part:
    """The same of one member, for branches (B,)."""

    def __init__(self, member: Member, branches: Branches, free: int) -> None:
        self.marginals, self.free, self.bend = member.marginals, free, member.bend(free)
        y, slopes = member.columns.inverse(branches.u, branches.context)
        self.y = y if member.marginals.inner is None else y.astype(member.marginals.inner.dtype)
        self.zero, log_scale = member.line(branches, free)
        given = np.arange(self.y.shape[1]) != free
        self.log_weight = branches.log_weight + member.log_weight + slopes[:, given].sum(axis=1) + log_scale
        self.scale = np.exp(log_scale)
        self.context = branches.context

    def __call__(self, index: Ints, u: Floats) -> Floats:
        v, slopes = (u, None) if self.bend is None else self.bend.inverse(u)
        y = np.take(self.y, index, axis=0)
        y[:, self.free] = self.zero[index] + self.scale[index] * v
        context = None if self.context is None else self.context[index]
        log_p: Floats = self.marginals.log_joint(y, context) + self.log_weight[index]
        return log_p if slopes is None else log_p + np.log(slopes)
