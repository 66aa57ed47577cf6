"""The base of a flow, given the context of rows, as a mixture of normal distributions of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from nvpflow._normal import normal_cdf
from nvpflow._typing import Floats
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.flow import Flow
from nvpflow.mixture_base import mixture_of

__all__ = ["Components"]

LEAST_SHARE = 1e-9  # of a component that counts
NEWTON_STEPS, GRID, REACH = 12, 257, 7.0  # REACH: standard deviations
REFINED, MOST_LEVELS = range(2), 96  # turns, and the points that each adds
TOLERANCE = 1e-7  # of a quantile, in shares of the distance between the ends of the mixture: the precision of float32
TINY = 1e-30
SATURATED = 8.0  # standard deviations, beyond which the mass is less than 1e-15


class Components(NamedTuple):
    """A mixture of each of n rows.

    Attributes
    ----------
    share : ndarray of float64, shape (n, K)
    mean : ndarray of float64, shape (n, K, D)
    deviation : ndarray of float64, shape (n, K, D)
        Of each column by itself.
    """

    share: Floats
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, flow: Flow, context: Floats) -> Self:
        """Those of the base of a flow with the context (n, C), in float64."""
        n, dim, base = len(context), flow.data_dim, mixture_of(flow.base)
        if base is None:
            return cls(np.ones((n, 1)), np.zeros((n, 1, dim)), np.ones((n, 1, dim)))
        p = base.precision_factors.astype(np.float64)
        log_share, means = np.log(base.weights.astype(np.float64)), base.means.astype(np.float64)
        known = p.shape[1] - dim
        roots = np.linalg.inv(p[:, known:, known:])  # (K, D, D), of the covariances given the context
        diagonal = np.diagonal(p, axis1=1, axis2=2)
        if isinstance(base, ConditionalMixtureBase):
            c = context.astype(np.float64)
            distance = c[:, np.newaxis, :known] - means[:, :known]  # (n, K, known)
            white = np.einsum("kij,nkj->nki", p[:, :known, :known], distance)
            log_share = log_share + np.log(diagonal[:, :known]).sum(axis=1) - 0.5 * (white**2).sum(axis=2)
            log_share = log_share + c[:, known:] @ base.indicator_logits.T.astype(np.float64)
            shift = np.einsum("kij,nkj->nki", p[:, known:, :known], distance)
            mean = means[:, known:] - np.einsum("kij,nkj->nki", roots, shift)
        else:
            log_share, mean = np.broadcast_to(log_share, (n, len(log_share))), np.broadcast_to(means, (n, *means.shape))
        share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
        share = share / share.sum(axis=1, keepdims=True)
        deviation = np.broadcast_to(np.sqrt((roots**2).sum(axis=2)), mean.shape)
        return cls(share, mean, deviation)._without_small()

    def column(self, j: int) -> Self:
        """The mixtures of one column."""
        return self._replace(mean=self.mean[:, :, [j]], deviation=self.deviation[:, :, [j]])

    def _without_small(self) -> Self:
        """As many components as the row that needs most of them has, the largest ones of each row."""
        n_kept = int((self.share > LEAST_SHARE).sum(axis=1).max()) if len(self.share) else self.share.shape[1]
        if n_kept == self.share.shape[1]:
            return self
        order = np.argsort(-self.share, axis=1, kind="stable")[:, :n_kept]
        share = np.take_along_axis(self.share, order, axis=1)
        share = share / share.sum(axis=1, keepdims=True)
        mean, deviation = (np.take_along_axis(part, order[:, :, np.newaxis], axis=1) for part in self[1:])
        return type(self)(share, mean, deviation)

    def expectation(self) -> Floats:
        """The mean (n, D) of each row."""
        mean: Floats = np.einsum("nk,nkd->nd", self.share, self.mean)
        return mean

    def cdf(self, z: Floats) -> Floats:
        """The distribution functions at z (n, Q), in one dimension."""
        return self._sum_over(z, lambda white, _: _below(white))

    def ends(self) -> tuple[Floats, Floats]:
        """For each row, (n, 1), two numbers between which is all of its mass, but for 1e-9."""
        present = self.share > LEAST_SHARE
        mean, reach = self.mean[:, :, 0], REACH * self.deviation[:, :, 0]
        low = np.where(present, mean - reach, np.inf).min(axis=1, keepdims=True)
        high = np.where(present, mean + reach, -np.inf).max(axis=1, keepdims=True)
        return low, high

    def grid(self) -> tuple[Floats, Floats]:
        """Points (n, GRID) between the ends, more of them where there is more mass, and the distribution functions there."""
        low, high = self.ends()
        z = low + (high - low) * np.linspace(0, 1, GRID - len(REFINED) * MOST_LEVELS)
        at = self.cdf(z)
        for _ in REFINED:
            levels = normal_cdf(np.linspace(-4.5, 4.5, MOST_LEVELS))  # more of them in the tails
            new = np.stack([np.interp(levels, f, points) for f, points in zip(at, z)]).reshape(-1, MOST_LEVELS)
            z, at = np.concatenate([z, new], axis=1), np.concatenate([at, self.cdf(new)], axis=1)
            order = np.argsort(z, axis=1, kind="stable")
            z, at = np.take_along_axis(z, order, axis=1), np.take_along_axis(at, order, axis=1)
        return z, np.maximum.accumulate(at, axis=1)  # which rounding may disturb

    def ppf(self, levels: Floats) -> Floats:
        """The quantiles (n, Q) at levels (Q,) in (0, 1), in one dimension, by Newton steps within cells of a grid."""
        z, at = self.grid()
        cell = np.stack([np.clip(np.searchsorted(row, levels) - 1, 0, GRID - 2) for row in at])
        a, b, p, q = (np.take_along_axis(rows, cell + k, axis=1) for rows, k in ((z, 0), (z, 1), (at, 0), (at, 1)))
        found = a + (b - a) * np.clip((levels - p) / np.maximum(q - p, TINY), 0, 1)
        rows = np.arange(len(found))  # that go on
        for _ in range(NEWTON_STEPS):
            some, y = Components(*(part[rows] for part in self)), found[rows]
            excess = some.cdf(y) - levels
            a[rows], b[rows] = np.where(excess < 0, y, a[rows]), np.where(excess < 0, b[rows], y)
            slope = some._sum_over(y, _density)
            step = y - excess / np.maximum(slope, TINY)
            found[rows] = np.where((step >= a[rows]) & (step <= b[rows]), step, (a[rows] + b[rows]) / 2)
            rows = rows[np.abs(found[rows] - y).max(axis=1) > TOLERANCE * (z[rows, -1] - z[rows, 0])]
            if not len(rows):
                break
        return found

    def _sum_over(self, z: Floats, function: Callable[[Floats, Floats], Floats]) -> Floats:
        """The sum over components of their share times ``function((z - mean) / deviation, deviation)``."""
        total = np.zeros(z.shape)
        for share, mean, deviation in zip(self.share.T, self.mean[:, :, 0].T, self.deviation[:, :, 0].T):
            here = share > 0.01 * LEAST_SHARE
            if here.any():
                white = (z[here] - mean[here, None]) / deviation[here, None]
                total[here] += share[here, None] * function(white, deviation[here, None])
        return total


def _below(white: Floats) -> Floats:
    """The normal distribution function, without its tails beyond SATURATED, where most points are for most components."""
    below = (white > 0).astype(np.float64)
    near = np.abs(white) < SATURATED
    below[near] = normal_cdf(white[near])
    return below


def _density(white: Floats, deviation: Floats) -> Floats:
    density: Floats = np.exp(-0.5 * white**2) / (deviation * np.sqrt(2 * np.pi))
    return density
