"""Invertible linear maps."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow.layers._layer import Layer, StateView

__all__ = ["LULinear"]


class LULinear(Layer):
    """Invertible linear layer, parametrised by the LU decomposition of its matrix.

    It maps::

        x = L U z + bias,     log|det dx/dz| = sum of log diag U

    L is unit lower triangular. U is upper triangular with a positive diagonal, so the matrix is always invertible. The layer
    starts as the identity. With a `Permutation` before or after it, it is the decomposition P L U.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    parameters : ndarray, shape (D^2 + D,)
        `lu` in C order, then `bias`, as a writable view.
    lu : ndarray, shape (D, D)
        View of `parameters`: L below the diagonal, U above it, and the logarithm of the diagonal of U on it.
    bias : ndarray, shape (D,)
        View of `parameters`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    References
    ----------
    Kingma and Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.2.

    Examples
    --------
    >>> import nvpflow
    >>> layer = nvpflow.LULinear(2, dtype="float64")
    >>> layer.lu[1, 0] = 0.5
    >>> layer.matrix
    array([[1. , 0. ],
           [0.5, 1. ]])
    >>> layer.forward([[2.0, 3.0]])[0]
    array([[2., 4.]])
    """

    _kind = "lu_linear"
    _state_names = ("lu", "bias")

    def __init__(self, data_dim: int, *, dtype: DTypeLike = "float32") -> None:
        self._create(check_int("data_dim", data_dim, 1), check_dtype(dtype))

    @property
    def lu(self) -> Floats:
        """ndarray, shape (D, D)"""
        return self.parameters[: -self.data_dim].reshape(self.data_dim, -1)

    @property
    def bias(self) -> Floats:
        """ndarray, shape (D,)"""
        return self.parameters[-self.data_dim :]

    @property
    def matrix(self) -> Floats:
        """ndarray, shape (D, D): L U, a new array in each access."""
        lower, upper = np.tril(self.lu, -1) + np.eye(self.data_dim, dtype=self.dtype), np.triu(self.lu, 1)
        matrix: Floats = lower @ (upper + np.diag(np.exp(np.diag(self.lu))))
        return matrix

    def _state_views(self) -> dict[str, StateView]:
        return {"lu": (self.lu, self.lu.shape, ...), "bias": (self.bias, self.bias.shape, ...)}
