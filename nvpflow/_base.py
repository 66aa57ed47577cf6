"""The base class of base densities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nvpflow import _core
from nvpflow._io.encoding import encode_flow
from nvpflow._io.state_dict import checked_state
from nvpflow._typing import ArrayLike, DTypeLike, FloatDType, Floats, Seed
from nvpflow._validation.arguments import check_dtype, check_int, draw_seeds
from nvpflow._validation.arrays import as_array

if TYPE_CHECKING:
    from nvpflow.layers import Layer

__all__ = ["Base", "bare_flow"]


class Base:
    """Base class of base densities: `config` describes one, and one flat array holds its parameters.

    In a `Flow` the parameters are a view of the flow's array.
    """

    _in_flow = False
    _kind = ""  # its name in the core
    _arguments: tuple[str, ...] = ()  # attributes that determine the sizes, including data_dim, in the order of `config`
    _state_names: tuple[str, ...] = ()  # attributes that are views of the parameters, in the order of the array
    _words = ""  # what it is, for tables; a mixture says more
    _parameters: Floats
    data_dim: int
    context_dim = 0  # columns of the context that the density depends on

    def _allocate(self, *sizes: Any) -> None:
        """Set the attributes `_arguments`, and the parameters to zeros. `sizes` are their values and then the dtype."""
        raise NotImplementedError

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        """Create a base from the result of `config`. Its parameters are placeholders."""
        base = cls.__new__(cls)
        base._allocate(*(check_int(name, config[name], 1) for name in cls._arguments), check_dtype(dtype))
        return base

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike, *sizes: int) -> Self:
        """Create a base from the entries "base.<name>" of a flow's state dict, and remove them from it."""
        raise NotImplementedError

    def _to_normal(self, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
        """`to_normal` of checked points (n, D), or `from_normal`. Both results are in float64."""
        raise NotImplementedError

    def _tempered(self, temperature: float) -> Base:
        """A copy whose normal distributions have covariances that are `temperature` times as large, outside of any flow."""
        raise NotImplementedError

    def _layers_at(self, temperature: float) -> list[Layer]:
        """Layers above `_tempered`, for a base that has no member of its family at a temperature."""
        return []

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        """Gradient of the log-density with respect to the latent points z, (n, D) like these. The context is (n, C)."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        """numpy.dtype: float32 or float64."""
        return self._parameters.dtype

    @property
    def parameters(self) -> Floats:
        """ndarray, shape (n_parameters,): all parameters, as a writable view. In a flow, a view of its parameters."""
        return self._parameters.view()

    @property
    def n_parameters(self) -> int:
        """int: the length of `parameters`."""
        return len(self._parameters)

    def sample(self, n_samples: int, random_state: Seed = None, context: ArrayLike | None = None) -> Floats:
        """Draw latent points.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None
        context : array_like, shape (n_samples, C)
            Required if the density depends on a context.

        Returns
        -------
        z : ndarray, shape (n_samples, D)
        """
        (seed,) = draw_seeds(random_state, 1)
        context = None if context is None else as_array("context", context)
        return self._flow()._sample(check_int("n_samples", n_samples, 0), seed, context, False)[0]

    def log_prob(self, z: ArrayLike, context: ArrayLike | None = None) -> Floats:
        """Log-density of latent points.

        Parameters
        ----------
        z : array_like, shape (n, D)
        context : array_like, shape (n, C)
            Required if the density depends on a context.

        Returns
        -------
        log_prob : ndarray, shape (n,)
            In nats, -inf for points without a density.

        Raises
        ------
        TypeError, ValueError
            If z does not hold real numbers, or has a wrong shape.
        """
        z = as_array("z", z)
        if z.ndim != 2 or z.shape[1] != self.data_dim:
            raise ValueError(f"z must have shape (n, {self.data_dim}), got {z.shape}")
        return self._flow().log_prob(z, context)

    def to_normal(self, z: ArrayLike, context: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Map latent points to points that are distributed as N(0, I), if z are draws from this density.

        It is the Rosenblatt transform of the density, one column after the other::

            y_d = Phi^-1(F(z_d | z_1, ..., z_(d-1), context)),     log p(z | context) = log N(y; 0, I) + log|det dy/dz|

        with the conditional distribution functions F of the density, and Phi that of N(0, 1). It is smooth and increasing in
        each column.

        Parameters
        ----------
        z : array_like, shape (n, D)
        context : array_like, shape (n, C)
            Required if the density depends on a context.

        Returns
        -------
        y : ndarray of float64, shape (n, D)
            A row of z that is not finite stays as it is.
        log_det : ndarray of float64, shape (n,)
            log|det dy/dz|, in nats.

        Raises
        ------
        TypeError, ValueError
            If z or context does not hold real numbers, or has a wrong shape.

        References
        ----------
        Rosenblatt (1952), "Remarks on a multivariate transformation".
        """
        points, context = self._check_points("z", z, context)
        return self._to_normal(points, context, backward=False)

    def from_normal(self, y: ArrayLike, context: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Map points of N(0, I) to latent points, undoing `to_normal`.

        Parameters
        ----------
        y : array_like, shape (n, D)
        context : array_like, shape (n, C)
            Required if the density depends on a context.

        Returns
        -------
        z : ndarray of float64, shape (n, D)
        log_det : ndarray of float64, shape (n,)
            log|det dz/dy|, in nats.

        Raises
        ------
        TypeError, ValueError
            If y or context does not hold real numbers, or has a wrong shape.
        """
        points, context = self._check_points("y", y, context)
        return self._to_normal(points, context, backward=True)

    def _check_points(self, name: str, points: ArrayLike, context: ArrayLike | None) -> tuple[Floats, Floats | None]:
        """Check points (n, D) and their context (n, C), as numbers of the dtype or in float64."""
        checked = _check_table(name, points, None, self.data_dim)
        if self.context_dim == 0 and context is None:
            return checked, None
        if self.context_dim == 0 or context is None:
            needed = f"must have shape (n, {self.context_dim})" if self.context_dim else "must be None"
            raise ValueError(f"context {needed}, got {'None' if context is None else 'one'}")
        return checked, _check_table("context", context, len(checked), self.context_dim)

    def _flow(self) -> _core.Flow:
        return bare_flow(self.data_dim, self.dtype, self._fields(), self._parameters, self.context_dim)

    def copy(self) -> Self:
        """An independent base with the same parameters, outside of any flow.

        Returns
        -------
        Base
            Of the same class, with the same additional attributes.
        """
        return copy.copy(self)

    def config(self) -> dict[str, Any]:
        """The sizes of the base as plain Python values, without its parameters.

        Returns
        -------
        config : dict
        """
        return {"type": self._kind, **{name: getattr(self, name) for name in self._arguments}}

    def _fields(self) -> dict[str, Any] | None:
        """The description that `encode_flow` reads: the kind and its fields."""
        _, fields = _core.BASE_KINDS[self._kind]
        return {"type": self._kind, **{name: getattr(self, name) for name, *_ in fields}}

    def _rebind(self, parameters: Floats) -> None:
        parameters[:] = self._parameters
        self._parameters = parameters

    def state_dict(self) -> dict[str, Floats]:
        """Copy the parameters by name: "logits", "means" and "factors" of a mixture, "log_excess" of a `StudentTBase`.

        Returns
        -------
        dict of str to ndarray
        """
        return {name: np.array(getattr(self, name)) for name in self._state_names}

    def _load(self, state: dict[str, ArrayLike]) -> None:
        """Set the parameters from the entries "base.<name>" of a flow's state dict, and remove them from it."""
        shapes = {f"base.{name}": getattr(self, name).shape for name in self._state_names}
        arrays = checked_state({name: state.pop(name) for name in shapes if name in state}, shapes)
        for name in self._state_names:
            getattr(self, name)[...] = arrays[f"base.{name}"]

    def __getstate__(self) -> dict[str, Any]:
        attributes = {name: value for name, value in vars(self).items() if name != "_in_flow"}
        return {**attributes, "_parameters": np.array(self._parameters)}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={getattr(self, name)}" for name in self._arguments)
        return f"{type(self).__name__}({sizes}, dtype='{self.dtype}')"


def _check_table(name: str, value: ArrayLike, n: int | None, columns: int) -> Floats:
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != columns or n not in (None, len(array)):
        raise ValueError(f"{name} must have shape ({'n' if n is None else n}, {columns}), got {array.shape}")
    with np.errstate(over="ignore"):  # longdouble may overflow
        return array.astype(np.float64)


def bare_flow(
    data_dim: int, dtype: FloatDType, fields: Mapping[str, Any] | None, parameters: Floats | None = None, context_dim: int = 0
) -> _core.Flow:
    """Create a core flow over a base with these fields. Its only layer is the identity.

    It works on the array `parameters`, or on its own without one.
    """
    identity = {"type": "permutation", "permutation": list(range(data_dim))}
    return _core.Flow(encode_flow(dtype, data_dim, context_dim, [identity], fields), parameters)
