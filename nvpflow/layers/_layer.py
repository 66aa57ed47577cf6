"""The base class of layers."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from typing import Any, Self, SupportsIndex, TypeAlias

import numpy as np

from nvpflow import _core
from nvpflow._io.encoding import encode_flow
from nvpflow._io.state_dict import checked_state
from nvpflow._typing import ArrayLike, DTypeLike, FloatDType, Floats

__all__ = ["Layer", "StateView"]

StateView: TypeAlias = tuple[Floats, tuple[int, ...], Any]


class Layer(_core.Transform):
    """Base class of layers: `config` describes a layer, and one flat buffer holds its parameters.

    In a `Flow` the parameters are views of the flow's buffer.
    """

    _in_flow = False
    _reads_context = False  # whether the layer has networks that read the context of a conditional flow
    _kind = ""  # its name in the core
    _state_names: tuple[str, ...] = ()  # the names of `_state_views` outside of networks
    _arguments: tuple[str, ...] = ()  # of the constructor, without data_dim and dtype; each is an attribute as well

    def config(self) -> dict[str, Any]:
        """The type and the arguments of the layer as plain Python values, without its parameters.

        Returns
        -------
        config : dict
        """
        arguments = {name: _plain(getattr(self, name)) for name in self._arguments}
        return {"type": self._known_kind(), "data_dim": self.data_dim, **arguments}

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        """Create a layer from the result of `config`. Its parameters are placeholders."""
        arguments = {**config, "dtype": dtype}
        del arguments["type"]
        return cls(**arguments)

    def _known_kind(self) -> str:
        if not self._kind:
            raise TypeError(f"{type(self).__name__} does not describe a layer")
        return self._kind

    def _fields(self) -> dict[str, Any]:
        """The description that `encode_flow` reads: the kind and its fields."""
        kind = self._known_kind()
        return {"type": kind, **{name: _plain(getattr(self, name)) for name, *_ in _core.LAYER_KINDS[kind]}}

    def _create(self, data_dim: int, dtype: FloatDType, context_dim: int = 0) -> None:
        """Create the core's transform from the attributes.

        Call it by name: a subclass may put another class with an __init__ between this one and the core.
        """
        self._description = encode_flow(dtype, data_dim, context_dim, [self._fields()])
        _core.Transform.__init__(self, self._description)

    def _state_views(self) -> dict[str, StateView]:
        """For each name in the state dict: a view of the parameters, the full shape, and the view's index in that shape."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def copy(self) -> Self:
        """Copy the layer with its parameters. The copy belongs to no flow.

        Returns
        -------
        Layer
            Independent of this one, of the same class and with the same attributes.
        """
        return copy.copy(self)

    def state_dict(self) -> dict[str, Floats]:
        """Copy the parameters, with the names and full shapes of the PyTorch module.

        Returns
        -------
        dict of str to ndarray
            Entries that the mask makes irrelevant are 0.
        """
        state = {}
        for name, (view, shape, index) in self._state_views().items():
            state[name] = np.zeros(shape, self.dtype)
            state[name][index] = view
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the parameters from arrays with the names and shapes of `state_dict`.

        Parameters
        ----------
        state : mapping of str to array_like
            Arrays or PyTorch tensors. Entries that the mask makes irrelevant are ignored.

        Raises
        ------
        TypeError, ValueError
            If an entry does not hold real numbers, a name is missing or unknown, or a shape is wrong. The layer is
            unchanged then.
        """
        views = self._state_views()
        arrays = checked_state(state, {name: shape for name, (_, shape, _) in views.items()})
        for name, (view, _, index) in views.items():
            view[...] = arrays[name][index]

    # Copies and pickles are made without a call of __init__: that of a subclass may have other arguments.

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update({name: value for name, value in vars(self).items() if name != "_in_flow"})
        _core.Transform.__init__(twin, self._description)  # known already, and checked
        twin.parameters[:] = self.parameters
        return twin

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # older protocols cannot pickle C objects

    def __getstate__(self) -> dict[str, Any]:
        attributes = {name: value for name, value in vars(self).items() if name not in ("_in_flow", "_description")}
        core = {name: getattr(self, name) for name in ("data_dim", "dtype", "context_dim")}
        return {**attributes, **core, "parameters": np.array(self.parameters)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        attributes = dict(state)
        data_dim, dtype, context_dim, parameters = (
            attributes.pop(name) for name in ("data_dim", "dtype", "context_dim", "parameters")
        )
        vars(self).update(attributes)
        self._create(data_dim, dtype, context_dim)
        self.parameters[:] = parameters

    def __repr__(self) -> str:
        config = self.config()
        del config["type"]
        arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
        return f"{type(self).__name__}({arguments}, dtype='{self.dtype}')"

    def _repr_html_(self) -> str:
        from nvpflow._display import layer_html

        return layer_html(self)


def _plain(value: Any) -> Any:
    """Convert an attribute to types that JSON has."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
