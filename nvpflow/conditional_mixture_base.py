"""A mixture of normal distributions of the context and the latent point together, given the context, as the base of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from nvpflow._typing import ArrayLike, DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow._validation.arrays import as_array
from nvpflow.mixture_base import GRAD_NUMBERS, MixtureBase, _check_mixture, shape_of_means

__all__ = ["ConditionalMixtureBase"]


class ConditionalMixtureBase(MixtureBase):
    """A mixture of K normal distributions of the context c and the latent point z together, given the context.

    As the base density of a conditional `Flow`, its weights and means depend on the context::

        p(z | c) = p(c, z) / p(c),     p(c, z) = sum over k of weights_k N((c, z); means_k, covariances_k)

    It suits data of several branches that come, go or move with the context, which layers that read the context must bend out
    of one density. Far from all components the nearest one has all the weight, and its mean is linear in the context.

    The last I columns of the context may be indicators s of categories, one column for each value of a variable, of which one
    is 1 and the others are 0. They change the weights only::

        p(z | c, s) = p(c, s, z) / p(c, s),
        p(c, s, z) = sum over k of weights_k exp(indicator_logits_k . s) N((c, z); means_k, covariances_k)

    With logarithms of probabilities as `indicator_logits`, the categories are independent of each other and of the other
    columns within a component.

    Parameters
    ----------
    weights : array_like, shape (K,)
        Positive. They are normalised to a sum of 1.
    means : array_like, shape (K, C - I + D)
        The columns of the context that are not indicators come first.
    covariances : array_like, shape (K, C - I + D, C - I + D)
        Symmetric and positive definite.
    context_dim : int, >= 1
        C, the number of columns of the context, with the indicators.
    n_indicators : int, default 0
        I, the number of indicators, 0 to C.
    dtype : {"float32", "float64"}, default "float32"
        As in `MixtureBase`.

    Attributes
    ----------
    parameters : ndarray
        As in `MixtureBase`, for C - I + D columns, as are `logits`, `means` and `factors`; then `indicator_logits`.
    indicator_logits : ndarray, shape (K, I)
        Initially zeros, with which the indicators change nothing. A view.
    data_dim, context_dim : int
        D and C.

    Raises
    ------
    TypeError, ValueError
        If an argument does not hold real numbers, or has a wrong shape or a value out of range.

    References
    ----------
    Sung (2004), "Gaussian mixture regression and classification". With indicators: Hunt and Jorgensen (1999), "Mixture model
    clustering using the MULTIMIX program"; Jordan and Jacobs (1994), "Hierarchical mixtures of experts and the EM algorithm".

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
    n_indicators = 0

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        context_dim: int,
        *,
        n_indicators: int = 0,
        dtype: DTypeLike = "float32",
    ) -> None:
        if hasattr(self, "_parameters"):
            raise RuntimeError("a base cannot be initialised twice")
        context_dim = check_int("context_dim", context_dim, 1)
        n_indicators = _check_indicators(n_indicators, context_dim)
        logits, means, factors = _check_mixture(weights, means, covariances)
        (k, n_columns), n_real = means.shape, context_dim - n_indicators
        if n_columns <= n_real:
            real = " that are not indicators" * bool(n_indicators)
            raise ValueError(f"means must have more columns than the {n_real} of the context{real}, got shape {means.shape}")
        self._allocate(k, n_columns - n_real, context_dim, check_dtype(dtype), n_indicators)
        self._set(logits, means, factors)

    def _allocate(self, *sizes: Any) -> None:
        n_components, data_dim, context_dim, dtype, *n_indicators = sizes
        if n_indicators and n_indicators[0]:
            (self.n_indicators,) = n_indicators
        super()._allocate(n_components, data_dim, context_dim, dtype)
        self._parameters = np.append(self._parameters, np.zeros(n_components * self.n_indicators, dtype))

    @property
    def _n_columns(self) -> int:
        return self.context_dim - self.n_indicators + self.data_dim

    @property
    def _state_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("logits", "means", "factors", *["indicator_logits"] * bool(self.n_indicators))

    @property
    def indicator_logits(self) -> Floats:
        """ndarray, shape (K, I): how much each indicator adds to the logarithm of a component's weight. A view."""
        n = len(self._parameters) - self.n_components * self.n_indicators
        return self._parameters[n:].reshape(self.n_components, self.n_indicators)

    def _logits_of_indicators(self) -> Floats:
        return self.indicator_logits.astype(np.float64)

    def config(self) -> dict[str, Any]:
        config = super().config()
        return config | {"n_indicators": self.n_indicators} if self.n_indicators else config

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        base = cls.__new__(cls)
        sizes = [check_int(name, config[name], 1) for name in cls._arguments]
        base._allocate(*sizes, check_dtype(dtype), _check_indicators(config.get("n_indicators", 0), sizes[-1]))
        return base

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike, *context_dim: int) -> Self:
        (n_context,) = context_dim
        logits = as_array("base.indicator_logits", state.get("base.indicator_logits", np.empty((0, 0))))
        if logits.ndim != 2 or logits.shape[1] > n_context:
            raise ValueError(
                f"state dict entry 'base.indicator_logits' must have shape (K, I) with I <= {n_context}, got {logits.shape}"
            )
        n_indicators = logits.shape[1]
        n_components, n_columns = shape_of_means(state, n_context - n_indicators)
        base = cls.__new__(cls)
        base._allocate(n_components, n_columns - n_context + n_indicators, n_context, check_dtype(dtype), n_indicators)
        base._load(state)
        return base

    @classmethod
    def _of_joint(cls, joint: MixtureBase, context_dim: int) -> Self:
        """The mixture of all columns, given the first ones. It has the same parameters."""
        base = cls.__new__(cls)
        base._allocate(joint.n_components, joint.data_dim - context_dim, context_dim, joint.dtype)
        base._parameters[:] = joint.parameters
        return base

    def _map_context(self, scale: Floats, shift: Floats) -> None:
        """Rewrite the parameters for the context scale * c + shift, where they were for c. The density does not change.

        Indicators have the scale 1 and the shift 0.
        """
        dim, (row, column) = self.context_dim - self.n_indicators, np.tril_indices(self._n_columns)
        scale, shift = scale[:dim], shift[:dim]
        diagonal, other = (row == column) & (row < dim), (row > column) & (column < dim)
        self.means[:, :dim] = self.means[:, :dim] * scale + shift
        self.factors[:, diagonal] -= np.log(scale)
        self.factors[:, other] /= scale[column[other]]

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        grad, p, dim = np.empty_like(z), self.precision_factors, self.context_dim - self.n_indicators
        log_scales = np.log(np.diagonal(p, axis1=1, axis2=2))
        rows = max(1, GRAD_NUMBERS // p[:, 0].size)
        for start in range(0, len(z), rows):
            part = slice(start, start + rows)
            known = np.asarray(context, np.float64)[part]
            columns = np.hstack([known[:, :dim], z[part]])
            white = np.einsum("kij,nkj->nki", p, columns[:, np.newaxis] - self.means)  # P (v - mean)
            log_terms = log_scales - 0.5 * white**2
            log_share = np.log(self.weights) + log_terms[:, :, :dim].sum(axis=2) + known[:, dim:] @ self.indicator_logits.T
            log_share = log_share - log_share.max(axis=1, keepdims=True) + log_terms[:, :, dim:].sum(axis=2)
            share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True)
            grad[part] = -np.einsum("nk,kij,nki->nj", share, p[:, dim:, dim:], white[:, :, dim:])
        return grad


def _check_indicators(n_indicators: object, context_dim: int) -> int:
    n = check_int("n_indicators", n_indicators, 0)
    if n > context_dim:
        raise ValueError(f"n_indicators must be at most the {context_dim} columns of the context, got {n}")
    return n
