"""A mixture of normal distributions as the base density of a flow."""

from __future__ import annotations

import functools
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nvpflow._base import Base
from nvpflow._rosenblatt import rosenblatt
from nvpflow._typing import ArrayLike, DTypeLike, FloatDType, Floats
from nvpflow._validation.arguments import check_dtype
from nvpflow._validation.arrays import as_array

__all__ = ["MixtureBase", "concatenated", "mixture_of"]

GRAD_NUMBERS = 1_000_000  # numbers in memory at a time, over all components


class MixtureBase(Base):
    """A mixture of K normal distributions, as the base density of a `Flow`.

    The density of latent points is::

        p(z) = sum over k of weights_k N(z; means_k, covariances_k)

    It suits data with several clusters, which no smooth map can make from one normal distribution. Its parameters are trained
    together with those of the layers. `FlowDensity` first fits a mixture to its samples; any other flow starts with the given
    parameters.

    Parameters
    ----------
    weights : array_like, shape (K,)
        Positive. They are normalised to a sum of 1.
    means : array_like, shape (K, D)
    covariances : array_like, shape (K, D, D)
        Symmetric and positive definite.
    dtype : {"float32", "float64"}, default "float32"
        Means must be within its range. In float32, standard deviations must be between about 1e-37 and 1e37.

    Attributes
    ----------
    parameters : ndarray, shape (K + K D + K D (D + 1) / 2,)
        `logits`, `means` and `factors` in one array, as a writable view. In a flow it is a view of the parameters of the flow.
    logits : ndarray, shape (K,)
        The weights are their softmax. A view, as are the next two.
    means : ndarray, shape (K, D)
    factors : ndarray, shape (K, D (D + 1) / 2)
        The lower triangle of P, row by row, with the logarithm of its diagonal. The precision is P^T P.

    Raises
    ------
    TypeError, ValueError
        If an argument does not hold real numbers, or has a wrong shape or a value out of range.

    References
    ----------
    Izmailov, Kirichenko, Finzi and Wilson (2020), "Semi-supervised learning with normalizing flows", section 3.

    Examples
    --------
    >>> import nvpflow
    >>> base = nvpflow.MixtureBase([1, 1], means=[[-3, 0], [3, 0]], covariances=[[[1, 0], [0, 1]]] * 2)
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 16, random_state=0)], base=base)
    >>> flow.sample(4, random_state=0).shape
    (4, 2)
    """

    _kind = "mixture"
    _arguments: tuple[str, ...] = ("n_components", "data_dim")
    _state_names = ("logits", "means", "factors")
    n_components: int

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, *, dtype: DTypeLike = "float32") -> None:
        if hasattr(self, "_parameters"):
            raise RuntimeError("a base cannot be initialised twice")
        logits, means, factors = _check_mixture(weights, means, covariances)
        self._allocate(*means.shape, check_dtype(dtype))
        self._set(logits, means, factors)

    def _set(self, logits: Floats, means: Floats, factors: Floats) -> None:
        with np.errstate(over="ignore"):
            self.logits[:], self.means[:], self.factors[:] = logits, means, pack_factors(factors)
        if not (np.isfinite(self.parameters).all() and _has_normal_diagonals(factors, self.dtype)):
            raise ValueError(f"weights, means and covariances must be within the range of {self.dtype}")

    def _allocate(self, *sizes: Any) -> None:
        *values, dtype = sizes
        for name, value in zip(self._arguments, values, strict=True):
            setattr(self, name, value)
        n = self.n_components * (1 + self._n_columns + self._n_columns * (self._n_columns + 1) // 2)
        self._parameters = np.zeros(n, dtype)

    @property
    def _n_columns(self) -> int:
        """The number of columns of the normal distributions: the context's, if it has one, and the latent points'."""
        return self.context_dim + self.data_dim

    @property
    def logits(self) -> Floats:
        """ndarray, shape (K,): the weights are their softmax. A view of the parameters."""
        return self._parameters[: self.n_components]

    @property
    def means(self) -> Floats:
        """ndarray, shape (K, D): a view of the parameters."""
        n = self.n_components
        return self._parameters[n : n + n * self._n_columns].reshape(n, self._n_columns)

    @property
    def factors(self) -> Floats:
        """ndarray, shape (K, D (D + 1) / 2): the lower triangle of P, row by row, with logarithms on the diagonal. A view."""
        n, triangle = self.n_components * (1 + self._n_columns), self._n_columns * (self._n_columns + 1) // 2
        return self._parameters[n : n + self.n_components * triangle].reshape(self.n_components, triangle)

    @property
    def weights(self) -> Floats:
        """ndarray of float64, shape (K,): their sum is 1."""
        powers = np.exp(self.logits.astype(np.float64) - self.logits.max())
        weights: Floats = powers / powers.sum()
        return weights

    @property
    def precision_factors(self) -> Floats:
        """ndarray of float64, shape (K, D, D): P, where the precision is P^T P."""
        dim = self._n_columns
        factors = np.zeros((self.n_components, dim, dim))
        factors[:, *np.tril_indices(dim)] = self.factors
        factors[:, np.arange(dim), np.arange(dim)] = np.exp(factors[:, np.arange(dim), np.arange(dim)])
        return factors

    @property
    def covariances(self) -> Floats:
        """ndarray of float64, shape (K, D, D): the inverse of the precisions."""
        inverse = np.linalg.inv(self.precision_factors)
        return inverse @ inverse.transpose(0, 2, 1)

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike, *context_dim: int) -> Self:
        base, (n_components, n_columns) = cls.__new__(cls), shape_of_means(state)
        base._allocate(n_components, n_columns, check_dtype(dtype))
        base._load(state)
        return base

    def _tempered(self, temperature: float) -> Self:
        twin, first = self.copy(), self._n_columns - self.data_dim  # those before are the context's
        row, column = np.tril_indices(self._n_columns)
        with np.errstate(over="ignore"):
            twin.factors[:, (row > column) & (row >= first)] /= np.sqrt(temperature)
        twin.factors[:, (row == column) & (row >= first)] -= np.log(temperature) / 2
        if not np.isfinite(twin.parameters).all():
            raise ValueError(f"temperature must keep the base within the range of {self.dtype}, got {temperature}")
        return twin

    def _logits_of_indicators(self) -> Floats:
        """How much each indicator at the end of the context adds to the logarithms of the weights, (K, I), in float64."""
        return np.empty((self.n_components, 0))

    def _to_normal(self, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
        return rosenblatt(self, points, context, backward=backward)

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        grad, p, log_weights = np.empty_like(z), self.precision_factors, np.log(self.weights)
        log_weights = log_weights + np.log(np.diagonal(p, axis1=1, axis2=2)).sum(axis=1)
        rows = max(1, GRAD_NUMBERS // p[:, 0].size)
        for start in range(0, len(z), rows):
            part = slice(start, start + rows)
            white = np.einsum("kij,nkj->nki", p, z[part, np.newaxis].astype(np.float64) - self.means)  # P (z - mean)
            log_share = log_weights - 0.5 * (white**2).sum(axis=2)
            share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True)
            grad[part] = -np.einsum("nk,kij,nki->nj", share, p, white)
        return grad


def mixture_of(base: Base | None) -> MixtureBase | None:
    """The base of a flow as an estimator makes it: a mixture, or None for N(0, I)."""
    if base is not None and not isinstance(base, MixtureBase):
        raise TypeError(f"the flow of an estimator must have a mixture or N(0, I) as its base, got a {type(base).__name__}")
    return base


def concatenated(bases: list[MixtureBase]) -> MixtureBase:
    """The components of several mixtures of a kind, with their logits: the average if those of each mixture are normalised."""
    n_components = sum(base.n_components for base in bases)
    whole = type(bases[0])._from_config({**bases[0].config(), "n_components": n_components}, bases[0].dtype)
    for name in whole._state_names:
        getattr(whole, name)[:] = np.concatenate([getattr(base, name) for base in bases])
    return whole


def shape_of_means(state: dict[str, ArrayLike], n_context: int = 0) -> tuple[int, int]:
    """The shape of a mixture's means in a flow's state dict. They have more columns than the `n_context` of a context."""
    if "base.means" not in state:
        raise ValueError("state dict misses 'base.means'")
    means: npt.NDArray[Any] = as_array("base.means", state["base.means"])
    if means.ndim != 2 or means.shape[1] <= n_context or len(means) == 0:
        raise ValueError(f"state dict entry 'base.means' must have shape (K, D) with K >= 1 and D >= 1, got {means.shape}")
    return len(means), means.shape[1]


def pack_factors(factors: Floats) -> Floats:
    """Cholesky factors of precisions (K, D, D) as parameters (K, D (D + 1) / 2), with logarithms of the diagonals."""
    places, diagonal = _places_of_triangle(factors.shape[1])
    packed: Floats = factors.reshape(len(factors), -1).take(places, axis=1)
    packed[:, diagonal] = np.log(packed[:, diagonal])
    return packed


@functools.lru_cache(maxsize=16)  # fits pack hundreds of mixtures of the same columns
def _places_of_triangle(dim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where the lower triangle is in a square (D, D), row by row, and where in the triangle the diagonal is."""
    row, column = np.tril_indices(dim)
    return row * dim + column, np.flatnonzero(row == column)


def _check_mixture(weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Logits, means and Cholesky factors of the precisions, in float64."""
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    for name, value in (("weights", weights), ("means", means), ("covariances", covariances)):
        array = as_array(name, value)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        with np.errstate(over="ignore"):  # longdouble may overflow
            arrays[name] = array.astype(np.float64)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
    weights, means, covariances = arrays.values()
    if means.ndim != 2 or means.size == 0:
        raise ValueError(f"means must have shape (K, D) with K >= 1 and D >= 1, got {means.shape}")
    k, dim = means.shape
    for name, shape in (("weights", (k,)), ("covariances", (k, dim, dim))):
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} must have shape {shape} to go with means of shape {means.shape}, got {arrays[name].shape}"
            )
    if not (weights > 0).all():
        raise ValueError(f"weights must be positive, got {weights.min()}")
    with np.errstate(over="ignore"):
        differences = np.abs(covariances - covariances.transpose(0, 2, 1)).max(axis=(1, 2))
    skew = np.flatnonzero(differences > 1e-6 * np.abs(covariances).max(axis=(1, 2)))
    if len(skew):
        raise ValueError(f"covariances[{skew[0]}] must be symmetric, got entries that differ by {differences[skew[0]]:.3g}")
    logits = np.log(weights) - np.log(weights.max())
    return logits - np.log(np.exp(logits).sum()), means, np.linalg.inv(_cholesky(covariances))


def _has_normal_diagonals(factors: Floats, dtype: FloatDType) -> bool:
    """Whether the diagonals, stored as logarithms, and their reciprocals are normal numbers of the dtype."""
    logarithms = np.log(np.diagonal(factors, axis1=1, axis2=2))
    return bool((np.abs(logarithms) < -np.log(np.finfo(dtype).tiny)).all())


def _cholesky(covariances: Floats) -> Floats:
    try:
        return np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(covariances)[:, 0]
    i = least.argmin()
    raise ValueError(f"covariances[{i}] must be positive definite, got one with a least eigenvalue of {least[i]:.3g}")
