"""A mixture of normal distributions of the context and the latent point together, given the context, as the base of a flow."""

from __future__ import annotations

from typing import Self

import numpy as np

from nvpflow._typing import ArrayLike, DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow.mixture_base import GRAD_NUMBERS, MixtureBase, _check_mixture

__all__ = ["ConditionalMixtureBase"]


class ConditionalMixtureBase(MixtureBase):
    """A mixture of K normal distributions of the context c and the latent point z together, given the context.

    As the base density of a conditional `Flow`, its weights and means depend on the context::

        p(z | c) = p(c, z) / p(c),     p(c, z) = sum over k of weights_k N((c, z); means_k, covariances_k)

    It suits data of several branches that come, go or move with the context, which layers that read the context must bend out
    of one density. Far from all components the nearest one has all the weight, and its mean is linear in the context.

    Parameters
    ----------
    weights : array_like, shape (K,)
        Positive. They are normalised to a sum of 1.
    means : array_like, shape (K, C + D)
        The columns of the context come first.
    covariances : array_like, shape (K, C + D, C + D)
        Symmetric and positive definite.
    context_dim : int, >= 1
        C, the number of columns of the context.
    dtype : {"float32", "float64"}, default "float32"
        As in `MixtureBase`.

    Attributes
    ----------
    parameters : ndarray
        As in `MixtureBase`, for C + D columns, as are `logits`, `means` and `factors`.
    data_dim, context_dim : int
        D and C.

    Raises
    ------
    TypeError, ValueError
        If an argument does not hold real numbers, or has a wrong shape or a value out of range.

    References
    ----------
    Sung (2004), "Gaussian mixture regression and classification".

    Examples
    --------
    >>> import nvpflow
    >>> base = nvpflow.ConditionalMixtureBase([1, 1], [[0, -1], [0, 1]], [[[1, 0.9], [0.9, 1]]] * 2, context_dim=1)
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(1, 16, [0], context_dim=1, random_state=0)], base=base)
    >>> flow.sample(4, random_state=0, context=[0.5]).shape
    (4, 1)
    """

    _kind = "conditional_mixture"
    _arguments = ("n_components", "data_dim", "context_dim")

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        context_dim: int,
        *,
        dtype: DTypeLike = "float32",
    ) -> None:
        if hasattr(self, "_parameters"):
            raise RuntimeError("a base cannot be initialised twice")
        context_dim = check_int("context_dim", context_dim, 1)
        logits, means, factors = _check_mixture(weights, means, covariances)
        k, n_columns = means.shape
        if n_columns <= context_dim:
            raise ValueError(f"means must have more columns than the {context_dim} of the context, got shape {means.shape}")
        self._allocate(k, n_columns - context_dim, context_dim, check_dtype(dtype))
        self._set(logits, means, factors)

    @classmethod
    def _of_joint(cls, joint: MixtureBase, context_dim: int) -> Self:
        """The mixture of all columns, given the first ones. It has the same parameters."""
        base = cls.__new__(cls)
        base._allocate(joint.n_components, joint.data_dim - context_dim, context_dim, joint.dtype)
        base._parameters[:] = joint.parameters
        return base

    def _joint(self) -> MixtureBase:
        """The mixture of context and latent point."""
        joint = MixtureBase.__new__(MixtureBase)
        joint._allocate(self.n_components, self._n_columns, self.dtype)
        joint._parameters[:] = self.parameters
        return joint

    def _map_context(self, scale: Floats, shift: Floats) -> None:
        """Rewrite the parameters for the context scale * c + shift, where they were for c. The density does not change."""
        dim, (row, column) = self.context_dim, np.tril_indices(self._n_columns)
        diagonal, other = (row == column) & (row < dim), (row > column) & (column < dim)
        self.means[:, :dim] = self.means[:, :dim] * scale + shift
        self.factors[:, diagonal] -= np.log(scale)
        self.factors[:, other] /= scale[column[other]]

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        grad, p, dim = np.empty_like(z), self.precision_factors, self.context_dim
        log_scales = np.log(np.diagonal(p, axis1=1, axis2=2))
        rows = max(1, GRAD_NUMBERS // p[:, 0].size)
        for start in range(0, len(z), rows):
            part = slice(start, start + rows)
            columns = np.hstack([np.asarray(context, np.float64)[part], z[part]])
            white = np.einsum("kij,nkj->nki", p, columns[:, np.newaxis] - self.means)  # P (v - mean)
            log_terms = log_scales - 0.5 * white**2
            log_share = np.log(self.weights) + log_terms[:, :, :dim].sum(axis=2)
            log_share = log_share - log_share.max(axis=1, keepdims=True) + log_terms[:, :, dim:].sum(axis=2)
            share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True)
            grad[part] = -np.einsum("nk,kij,nki->nj", share, p[:, dim:, dim:], white[:, :, dim:])
        return grad
