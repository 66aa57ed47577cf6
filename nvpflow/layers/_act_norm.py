"""The elementwise affine layer of Glow."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow.layers._layer import Layer, StateView

__all__ = ["ActNorm"]


class ActNorm(Layer):
    """Elementwise affine layer: one scale and one shift per dimension.

    It maps::

        x = z exp(log_scale) + bias,     log|det dx/dz| = sum of log_scale

    It starts as the identity. `Flow.initialize_act_norms` sets it to the standard deviation and the mean of data. It then
    standardises the data inside the flow, and log-densities stay in the units of the data.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    parameters : ndarray, shape (2 D,)
        `log_scale`, then `bias`, as a writable view.
    log_scale, bias : ndarray, shape (D,)
        Views of `parameters`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    References
    ----------
    Kingma and Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> layer = nvpflow.ActNorm(2)
    >>> layer.log_scale[:], layer.bias[:] = np.log([2.0, 3.0]), [10.0, 20.0]
    >>> layer.forward([[1.0, 1.0]])[0]
    array([[12., 23.]], dtype=float32)
    """

    _kind = "act_norm"
    _state_names = ("log_scale", "bias")

    def __init__(self, data_dim: int, *, dtype: DTypeLike = "float32") -> None:
        self._create(check_int("data_dim", data_dim, 1), check_dtype(dtype))

    @property
    def log_scale(self) -> Floats:
        """ndarray, shape (D,)"""
        return self.parameters[: self.data_dim]

    @property
    def bias(self) -> Floats:
        """ndarray, shape (D,)"""
        return self.parameters[self.data_dim :]

    def _standardize(self, x: Floats) -> None:
        """Make `inverse` standardise the finite samples x to mean 0 and standard deviation 1."""
        deviation = x.std(axis=0, dtype=np.float64)
        constant = np.flatnonzero((x.min(axis=0) == x.max(axis=0)) | ~(deviation > 0))
        if len(constant):
            columns = ", ".join(map(str, constant[:10]))
            raise ValueError(f"x must vary in every column where it reaches an ActNorm, got constants in column(s) {columns}")
        self.log_scale[:] = np.log(deviation)
        self.bias[:] = x.mean(axis=0, dtype=np.float64)

    def _state_views(self) -> dict[str, StateView]:
        shape = (self.data_dim,)
        return {"log_scale": (self.log_scale, shape, ...), "bias": (self.bias, shape, ...)}
