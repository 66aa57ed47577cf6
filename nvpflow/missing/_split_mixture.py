"""A mixture of normal distributions, split in two: the marginal of some columns, and the conditional of the others."""

from __future__ import annotations

import copy

import numpy as np

from nvpflow._normal import probit
from nvpflow._typing import Floats, Ints
from nvpflow.missing._patterns import Mask
from nvpflow.mixture_base import MixtureBase

__all__ = ["SplitMixture"]

MOST_NUMBERS = 4_000_000  # in memory at a time, over all components
WIDE, MOST_PRODUCTS = 16, 200_000  # see `_product`; OpenBLAS has one thread for up to 262,144 products of numbers


class SplitMixture:
    """The marginal of the present columns of a mixture, and the conditional of the missing ones given these.

    With the precision P^T P of a component, a QR decomposition of P with the missing columns first gives both: its upper left
    block R_mm is the factor of the conditional precision, its lower right one that of the marginal precision, and the
    conditional mean is mean_m - R_mm^-1 R_mo (x_o - mean_o).

    Parameters
    ----------
    logits : ndarray, shape (K,)
    means : ndarray, shape (K, D)
    factors : ndarray, shape (K, D, D)
        P, lower triangular.
    missing : ndarray of bool, shape (D,)
    """

    def __init__(self, logits: Floats, means: Floats, factors: Floats, missing: Mask) -> None:
        present, absent = np.flatnonzero(~missing), np.flatnonzero(missing)
        n = len(absent)
        upper: Floats = np.asarray(np.linalg.qr(factors[:, :, np.append(absent, present[::-1])], mode="r"))
        upper *= np.where(np.diagonal(upper, axis1=1, axis2=2) < 0, -1.0, 1.0)[:, :, np.newaxis]
        # Rows and columns in reverse make the lower triangle that a MixtureBase has, with the columns in their order again.
        self.factors = upper[:, n:, n:][:, ::-1, ::-1]
        self.logits, self.means, self.absent_means = logits, means[:, present], means[:, absent]
        self.roots = np.linalg.inv(upper[:, :n, :n])
        self.slopes = -self.roots @ upper[:, :n, n:][:, :, ::-1]
        self.n_absent = n
        self._base: MixtureBase | None = None
        scales = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        self._log_scales = logits - np.logaddexp.reduce(logits) + scales - 0.5 * len(present) * np.log(2 * np.pi)
        self._rows = np.ascontiguousarray(np.moveaxis(np.sqrt(0.5) * self.factors, 0, 2))  # (d, d, K), of half the squares
        self._offsets = np.einsum("ijk,kj->ik", self._rows, self.means)

    @classmethod
    def of(cls, mixture: MixtureBase, missing: Mask) -> SplitMixture:
        """Split a base. One that reads the context counts its columns as the first ones."""
        return cls(mixture.logits.astype(np.float64), mixture.means.astype(np.float64), mixture.precision_factors, missing)

    def log_prob(self, x: Floats) -> Floats:
        """Log-density (n,) of present columns x (n, d), in nats, in float64."""
        if x.shape[1] == 0:
            return np.zeros(len(x))
        if self._base is None:
            self._base = MixtureBase.__new__(MixtureBase)
            self._base._allocate(*self.means.shape, np.dtype(np.float64))
            self._base._set(self.logits, self.means, self.factors)
        return self._base.log_prob(x)

    def log_terms(self, x: Floats) -> Floats:
        """Logarithms (n, K) of the components' weighted densities of present columns x (n, d), in nats."""
        terms = np.empty((len(x), len(self.logits)))
        terms[:] = self._log_scales
        for i, offset in enumerate(self._offsets):  # products of matrices of two dimensions, which are the fastest
            white = _product(x[:, : i + 1], self._rows[i, : i + 1])
            white -= offset
            white *= white
            terms -= white
        return terms

    def draw(self, x: Floats, uniforms: Floats) -> Floats:
        """Draw the missing columns (n, N, m) given present ones x (n, d), from uniform numbers (n, N, m) in (0, 1).

        The first number chooses the component, and its place within the share of the component is the first coordinate. So
        evenly spaced numbers make evenly spaced draws.
        """
        found = np.empty(uniforms.shape)
        width = max(self.logits.size * (x.shape[1] + self.n_absent), uniforms.shape[1] * self.n_absent**2)
        step = max(1, MOST_NUMBERS // width)
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            terms = self.log_terms(x[rows])
            shares = np.exp(terms - terms.max(axis=1, keepdims=True))
            chosen, within = _places(shares, uniforms[rows, :, 0])
            normals = uniforms[rows].copy()
            normals[:, :, 0] = within
            normals = probit(normals)
            offsets = np.take_along_axis(self.centres(x[rows]), chosen[:, :, np.newaxis], axis=1)
            found[rows] = offsets + np.einsum("nsij,nsj->nsi", self.roots[chosen], normals)
        return found

    def centres(self, x: Floats) -> Floats:
        """Conditional means (n, K, m) of the components."""
        k, n_present = self.means.shape
        offsets = self.absent_means - np.einsum("kij,kj->ki", self.slopes, self.means)
        moved = _product(x, self.slopes.reshape(k * self.n_absent, n_present).T).reshape(len(x), k, self.n_absent)
        moved += offsets
        return moved

    def only(self, place: int) -> SplitMixture:
        """The same for one of the missing columns, by its place among them: the others are integrated out."""
        found = copy.copy(self)
        found.absent_means, found.slopes, found.n_absent = self.absent_means[:, [place]], self.slopes[:, [place]], 1
        found.roots = np.sqrt((self.roots[:, [place]] ** 2).sum(axis=2, keepdims=True))
        return found


def _product(a: Floats, b: Floats) -> Floats:
    """The product (n, m) of a (n, k) and b (k, m). If k is small it is computed part by part.

    In one piece BLAS would share it among threads. With OpenBLAS and two threads thin products took five times as long.
    """
    if a.shape[1] > WIDE:
        return np.asarray(a @ b)
    product, b = np.empty((len(a), b.shape[1])), np.ascontiguousarray(b)
    step = max(1, MOST_PRODUCTS // max(1, b.size))
    for start in range(0, len(a), step):
        np.matmul(a[start : start + step], b, out=product[start : start + step])
    return product


def _places(shares: Floats, places: Floats) -> tuple[Ints, Floats]:
    """For places (n, N) in (0, 1) the numbers of the shares (n, K), of any positive sum, where they fall, and where within."""
    sums = np.cumsum(shares, axis=1)
    places = places * sums[:, -1:]
    chosen = np.stack([np.searchsorted(row, place, side="right") for row, place in zip(sums, places)])
    chosen = np.minimum(chosen, shares.shape[1] - 1)
    share = np.maximum(np.take_along_axis(shares, chosen, axis=1), np.finfo(float).tiny)
    below = np.take_along_axis(sums, chosen, axis=1) - share
    return chosen, (places - below) / share
