"""What all base densities of flows share."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from nvpflow import _core
from nvpflow._io.encoding import encode_flow
from nvpflow._io.state_dict import checked_state
from nvpflow._typing import ArrayLike, DTypeLike, FloatDType, Floats, Seed
from nvpflow._validation.arguments import check_dtype, check_int, draw_seeds
from nvpflow._validation.arrays import as_array

__all__ = ["Base", "bare_flow"]


class Base:
    """What all bases share: they are described by `config`, and hold one flat array of parameters.

    A base that a `Flow` has taken over works on the flow's array.
    """

    _in_flow = False
    _kind = ""  # the core's name of it
    _arguments: tuple[str, ...] = ()  # attributes that make the sizes, data_dim among them, in the order of `config`
    _state_names: tuple[str, ...] = ()  # attributes that are views of the parameters, in their order
    _parameters: Floats
    data_dim: int

    def _allocate(self, *sizes: Any) -> None:
        """Set the attributes of `_arguments`, and zeros as parameters of a dtype, the last of `sizes`."""
        raise NotImplementedError

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        """A base from what `config` gave, with parameters of no meaning."""
        base = cls.__new__(cls)
        base._allocate(*(check_int(name, config[name], 1) for name in cls._arguments), check_dtype(dtype))
        return base

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike) -> Self:
        """The base with the entries "base.<name>" of a flow's state dict, which are taken out of it."""
        raise NotImplementedError

    def _grad_log_prob(self, z: Floats) -> Floats:
        """The gradient of the log-density with respect to latent points, both (n, D)."""
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

    def sample(self, n_samples: int, random_state: Seed = None) -> Floats:
        """Draw latent points.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None

        Returns
        -------
        z : ndarray, shape (n_samples, D)
        """
        (seed,) = draw_seeds(random_state, 1)
        return self._flow()._sample(check_int("n_samples", n_samples, 0), seed, None)[0]

    def log_prob(self, z: ArrayLike) -> Floats:
        """Log-density of latent points.

        Parameters
        ----------
        z : array_like, shape (n, D)

        Returns
        -------
        log_prob : ndarray, shape (n,)
            In nats; -inf where there is no density.

        Raises
        ------
        TypeError, ValueError
            If z does not hold real numbers, or has a wrong shape.
        """
        z = as_array("z", z)
        if z.ndim != 2 or z.shape[1] != self.data_dim:
            raise ValueError(f"z must have shape (n, {self.data_dim}), got {z.shape}")
        return self._flow().log_prob(z)

    def _flow(self) -> _core.Flow:
        return bare_flow(self.data_dim, self.dtype, self._fields(), self._parameters)

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

    def _fields(self) -> dict[str, Any]:
        """What `encode_flow` reads: the kind, and the attributes that are its fields."""
        _, fields = _core.BASE_KINDS[self._kind]
        return {"type": self._kind, **{name: getattr(self, name) for name, *_ in fields}}

    def _rebind(self, parameters: Floats) -> None:
        parameters[:] = self._parameters
        self._parameters = parameters

    def state_dict(self) -> dict[str, Floats]:
        """Copies of the parameters by name: "logits", "means", "factors" of a mixture.

        Returns
        -------
        dict of str to ndarray
        """
        return {name: np.array(getattr(self, name)) for name in self._state_names}

    def _load(self, state: dict[str, ArrayLike]) -> None:
        """Take the entries "base.<name>" out of a flow's state dict."""
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


def bare_flow(data_dim: int, dtype: FloatDType, fields: Mapping[str, Any], parameters: Floats | None = None) -> _core.Flow:
    """The core's flow over a base with such fields whose layers do nothing, on these parameters or on its own."""
    identity = {"type": "permutation", "permutation": list(range(data_dim))}
    return _core.Flow(encode_flow(dtype, data_dim, 0, [identity], fields), parameters)
