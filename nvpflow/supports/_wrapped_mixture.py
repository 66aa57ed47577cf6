"""The sum over the windings of many angles, of a mixture of normal distributions: only the terms that count are computed.

With q angles there are N_WINDINGS^q numbers to sum over for each row. Where the layers of a flow are the identity, its density
is a mixture. The factor P of a component's precision is lower triangular, so the squared distance from its mean is a sum with
a term for each column, given those before it, and can only grow. A search column by column drops what has become too far away:
Fincke and Pohst (1985), "Improved methods for calculating vectors of short length in a lattice".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import Floats
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm
from nvpflow.mixture_base import MixtureBase
from nvpflow.supports._windings import N_WINDINGS

if TYPE_CHECKING:
    from nvpflow.missing._columns import Columns

__all__ = ["WrappedMixture"]

# With fewer, the sum of all terms by the core is faster: for coupled angles and 640 to 800 components, this took 3 times as
# long with three angles, and 1 / 1.7 and 1 / 18 of the time with four and six.
LEAST_ANGLES = 4
NEGLIGIBLE = 30.0  # nats below the largest term: each one that is dropped is less than 1e-13 of it
MOST_NUMBERS = 2**21  # in memory at a time, about


class WrappedMixture(NamedTuple):
    """A mixture below layers that act on each column by itself, in which columns of angles are wrapped.

    Attributes
    ----------
    base : MixtureBase
    columns : Columns
        The layers.
    steps : ndarray of float64, shape (D,)
        The periods of angles as the base sees them, 0 for other columns.
    """

    base: MixtureBase
    columns: Columns
    steps: Floats

    @classmethod
    def of(cls, flow: object, turns: Floats) -> WrappedMixture | None:
        """That of a fitted flow whose angles have these periods (D,). None where the core has to sum over all windings."""
        from nvpflow.missing._columns import split_layers

        if not isinstance(flow, Flow) or np.count_nonzero(turns) < LEAST_ANGLES:
            return None
        mixing, columns = split_layers(flow)
        if mixing or flow.context_dim or not isinstance(flow.base, MixtureBase):
            return None
        log_scale = sum(layer.log_scale.astype(np.float64) for layer in columns.layers if isinstance(layer, ActNorm))
        return cls(flow.base, columns, turns * np.exp(-log_scale))

    def log_prob(self, x: Floats) -> Floats:
        """Log-density (n,) of rows x (n, D), as the flow reads them, in nats."""
        y, slopes = self.columns.inverse(np.where(np.isnan(x).any(axis=1, keepdims=True), 0, x), None)
        found = np.full(len(x), -np.inf)
        inside = np.flatnonzero(np.isfinite(y).all(axis=1))
        size = N_WINDINGS * self.base.n_components * x.shape[1]
        for rows in np.array_split(inside, max(1, -(-len(inside) * size // MOST_NUMBERS))):
            found[rows] = self._log_sums(y[rows]) + slopes[rows].sum(axis=1)
        found[np.isnan(x).any(axis=1)] = np.nan
        return found

    def _log_sums(self, y: Floats) -> Floats:
        """Log-density of rows y (m, D), as the base sees them."""
        p, base, dim = self.base.precision_factors, self.base, y.shape[1]
        log_dets = np.log(np.diagonal(p, axis1=1, axis2=2)).sum(axis=1)
        logs = np.log(base.weights) + log_dets - 0.5 * dim * np.log(2 * np.pi)
        away = y[:, np.newaxis] - base.means.astype(np.float64)
        least = self._nearest(p, logs, away) - NEGLIGIBLE
        row, k = np.divmod(np.arange(away[..., 0].size), len(p))
        term, away = logs[k], away.reshape(-1, dim)
        for d, step in enumerate(self.steps):
            shifts = step * (np.arange(N_WINDINGS) - N_WINDINGS // 2) if step else np.zeros(1)
            residual = np.einsum("ei,ei->e", p[k, d, : d + 1], away[:, : d + 1])
            terms = term[:, np.newaxis] - 0.5 * (residual[:, np.newaxis] + p[k, d, d, np.newaxis] * shifts) ** 2
            at, winding = np.nonzero(terms > least[row, np.newaxis])
            row, k, term, away = row[at], k[at], terms[at, winding], away[at]
            away[:, d] += shifts[winding]
        largest = least + NEGLIGIBLE
        sums = np.bincount(row, np.exp(term - largest[row]), minlength=len(y))
        with np.errstate(divide="ignore"):
            return largest + np.log(sums)

    def _nearest(self, p: Floats, logs: Floats, away: Floats) -> Floats:
        """A large term of the sum of each row (m,), from differences to the means (m, K, D): the nearest winding of one column
        after the other."""
        away, terms = away.copy(), np.tile(logs, (len(away), 1))
        for d, step in enumerate(self.steps):
            residual = np.einsum("ki,mki->mk", p[:, d, : d + 1], away[..., : d + 1])
            if step:
                size = p[:, d, d] * step
                winding = np.clip(np.round(-residual / size), -(N_WINDINGS // 2), N_WINDINGS // 2)
                away[..., d] += winding * step
                residual += winding * size
            terms -= 0.5 * residual**2
        largest: Floats = terms.max(axis=1)
        return largest
