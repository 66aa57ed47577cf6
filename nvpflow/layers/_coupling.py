"""The base class of coupling layers: the mask and the conditioner."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nvpflow._io.encoding import allowed
from nvpflow._typing import Activation, ArrayLike, DTypeLike, Floats, Ints, Seed
from nvpflow._validation.arguments import check_choice, check_dtype, check_hidden, check_int, check_mask, draw_seeds
from nvpflow.layers._layer import Layer, StateView

__all__ = ["ACTIVATIONS", "Coupling", "Linear"]

ACTIVATIONS: tuple[Activation, ...] = allowed("affine_coupling", "activation")


class Linear(NamedTuple):
    """The linear map y = weight @ x + bias; both arrays are views of a layer's parameters.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs)
    bias : ndarray, shape (outputs,)

    Examples
    --------
    >>> import nvpflow
    >>> layer = nvpflow.AffineCoupling(3, 16, mask=[1, 1, 0])
    >>> [linear.weight.shape for linear in layer.s_net]
    [(16, 2), (1, 16)]
    """

    weight: Floats
    bias: Floats


class Coupling(Layer):
    """Base class of coupling layers: a mask and the conditioner, networks of the identity columns and the context."""

    _reads_context = True
    _arguments: tuple[str, ...] = ("hidden_dim", "mask", "activation", "context_dim")
    _hidden_dim: tuple[int, ...]
    _mask: npt.NDArray[np.uint8]
    _activation: Activation

    @property
    def _network_names(self) -> tuple[str, ...]:
        return ("net",)

    @property
    def _outputs_per_column(self) -> int:
        """Number of outputs of each network for a transformed column."""
        return 1

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        return super()._from_config({**config, "random_state": 0}, dtype)

    def _describe_conditioner(
        self, data_dim: int, hidden_dim: int | Sequence[int], mask: ArrayLike | None, activation: Activation
    ) -> int:
        """Check and store the arguments that all couplings have. Return data_dim."""
        self._check_unused()
        data_dim = check_int("data_dim", data_dim, 1)
        self._hidden_dim = check_hidden("hidden_dim", hidden_dim)
        self._mask = check_mask(mask, data_dim)
        self._mask.flags.writeable = False
        self._activation = check_choice("activation", activation, ACTIVATIONS)
        return data_dim

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._mask.flags.writeable = False

    def _start(self, data_dim: int, context_dim: int, dtype: DTypeLike, random_state: Seed) -> None:
        """Create the core's transform, with random parameters."""
        (seed,) = draw_seeds(random_state, 1)
        context_dim = check_int("context_dim", context_dim, 0)
        self._create(data_dim, check_dtype(dtype), context_dim)
        self._initialize(seed)

    @property
    def hidden_dim(self) -> tuple[int, ...]:
        """tuple of int: widths of the hidden layers."""
        return self._hidden_dim

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """ndarray of uint8, shape (D,): 1 marks the identity columns."""
        return self._mask

    @property
    def activation(self) -> Activation:
        """str: the activation of the networks."""
        return self._activation

    def _full_inputs(self, columns: Ints) -> Ints:
        """Indices of the inputs of a full-shape network for these columns, in the order of the core."""
        return columns

    def _full_outputs(self, columns: Ints) -> Ints:
        """Indices of the outputs of a full-shape network for these columns, in the order of the core."""
        per_column = self._outputs_per_column
        return np.add.outer(columns * per_column, np.arange(per_column)).ravel()

    def _networks(self) -> list[tuple[Linear, ...]]:
        identity, transformed = np.flatnonzero(self._mask == 1), np.flatnonzero(self._mask == 0)
        n_inputs, n_outputs = len(self._full_inputs(identity)), len(self._full_outputs(transformed))
        widths = (n_inputs + self.context_dim, *self._hidden_dim, n_outputs)
        parameters, at, networks = self.parameters, 0, []
        for _ in self._network_names:
            maps = []
            for n_in, n_out in itertools.pairwise(widths):
                weight = parameters[at : at + n_out * n_in].reshape(n_out, n_in)
                at += n_out * n_in
                maps.append(Linear(weight, parameters[at : at + n_out]))
                at += n_out
            networks.append(tuple(maps))
        return networks

    def _state_views(self) -> dict[str, StateView]:
        identity, transformed = np.flatnonzero(self._mask == 1), np.flatnonzero(self._mask == 0)
        n_inputs, n_outputs = (len(full(np.arange(self.data_dim))) for full in (self._full_inputs, self._full_outputs))
        full = (n_inputs + self.context_dim, *self._hidden_dim, n_outputs)
        inputs = np.concatenate([self._full_inputs(identity), np.arange(n_inputs, full[0])])
        views: dict[str, StateView] = {}
        for net_name, net in zip(self._network_names, self._networks()):
            for k, linear in enumerate(net):
                rows = self._full_outputs(transformed) if k == len(net) - 1 else np.arange(full[k + 1])
                columns = inputs if k == 0 else np.arange(full[k])
                # The indices of torch.nn.Sequential include activations.
                name = f"{net_name}.{2 * k}"
                views[f"{name}.weight"] = linear.weight, (full[k + 1], full[k]), np.ix_(rows, columns)
                views[f"{name}.bias"] = linear.bias, (full[k + 1],), rows
        return views
