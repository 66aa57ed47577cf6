"""The layers that a flow is made of. Each is an invertible transform with an exact log-determinant."""

from typing import NamedTuple

import numpy as np

from nvpflow import _core
from nvpflow._checks import (
    check_choice,
    check_dtype,
    check_hidden,
    check_int,
    check_mask,
    check_real,
    draw_seeds,
)

__all__ = ["ActNorm", "CouplingLayer", "Linear"]

ACTIVATIONS = ("relu", "tanh", "silu")
SCALES = ("exp", "tanh")
# A transform then stretches at most e-fold; of 1/2, 1 and 2 it left the best density of fresh points on 1000 moons.
SCALE_BOUND = 1.0


class Linear(NamedTuple):
    """The linear map y = weight @ x + bias; both arrays are views of a layer's parameters."""

    weight: np.ndarray
    bias: np.ndarray


class Layer(_core.Transform):
    """What all layers share: they are described by `config` and held together by one flat buffer.

    A layer that a `Flow` has taken over works on the flow's buffer.
    """

    _in_flow = False
    _reads_context = False  # whether the networks of a conditional flow's layer read the context

    def config(self):
        """The arguments that make such a layer again, as plain Python values, and its `type`."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def _description(self):
        """The tuple that `_core.Transform` understands."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def _state_views(self):
        """For each name in the state dict (view of the parameters, full shape, index into it)."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def copy(self):
        """An independent layer with the same parameters, in no flow."""
        twin = layer_from_config(self.config(), self.dtype)
        twin.parameters[:] = self.parameters
        return twin

    def state_dict(self):
        """Copies of the parameters in the full shapes and under the names of the PyTorch module.

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

    def load_state_dict(self, state):
        """Set the parameters from arrays of the names and shapes of `state_dict`.

        Parameters
        ----------
        state : mapping of str to array_like
            Entries that the mask makes irrelevant are ignored.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape is wrong; nothing has changed then.
        """
        views = self._state_views()
        arrays = checked_state(state, {name: shape for name, (_, shape, _) in views.items()})
        for name, (view, _, index) in views.items():
            view[...] = arrays[name][index]

    def __reduce__(self):
        return _restore_layer, (self.config(), self.dtype.name, np.array(self.parameters))

    def __repr__(self):
        config = self.config()
        del config["type"]
        arguments = ", ".join(f"{name}={value!r}" for name, value in config.items())
        return f"{type(self).__name__}({arguments}, dtype='{self.dtype}')"


class CouplingLayer(Layer):
    """Affine coupling layer of Real NVP.

    With the binary mask m (1: identity part) it maps, forward and back,

        x = m z + (1 - m) (z exp(s) + b),     log|det dx/dz| = sum of (1 - m) s
        z = m x + (1 - m) (x - b) exp(-s),    log|det dz/dx| = -sum of (1 - m) s

    where s and b are two networks of the identity part alone, Linear -> activation -> ... -> Linear; in a conditional
    flow they read the context, too.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    hidden_dim : int or sequence of int, default 64
        Width of the hidden layer, or of each hidden layer, of both networks.
    mask : array_like of 0 and 1, shape (D,), optional
        1 marks the identity columns. Default: 1, 0, 1, 0, ...
    activation : {"relu", "tanh", "silu"}, default "relu"
    scale : {"tanh", "exp"}, default "tanh"
        "exp": s is the output of its network, as published; it may grow without limit outside of the training data.
        "tanh": s = c tanh(output / c), which stays within +-c.
    scale_bound : float, default 1.0
        c > 0, for ``scale="tanh"``.
    context_dim : int, default 0
        C, the number of columns of the context, on which the density is conditional.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Makes the starting parameters, which are uniform in +-1/sqrt(fan-in) as in ``torch.nn.Linear``; with
        ``scale="tanh"`` the last map is 0.3 times that, for a start near the identity.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        Every parameter; a view that can be written to. First the s network, then the b network; in each, for each
        linear map, the weight in C order and then the bias.
    s_net, b_net : tuple of Linear
        The linear maps as views of `parameters`. Only identity columns feed the networks and only transformed columns
        leave them, so the first weight has shape (hidden, identity columns + C), the context last, and the last one
        (transformed columns, hidden).

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP", equations 7 and 8.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> layer = nvpflow.CouplingLayer(2, 64, mask=[1, 0], dtype="float64", random_state=0)
    >>> z = np.array([[0.5, -1.0], [2.0, 0.0]])
    >>> x, log_det = layer.forward(z)
    >>> np.allclose(layer.inverse(x)[0], z)
    True
    """

    _reads_context = True

    def __init__(
        self,
        data_dim,
        hidden_dim=64,
        mask=None,
        *,
        activation="relu",
        scale="tanh",
        scale_bound=SCALE_BOUND,
        context_dim=0,
        dtype="float32",
        random_state=None,
    ):
        data_dim = check_int("data_dim", data_dim, 1)
        self._hidden_dim = check_hidden(hidden_dim)
        self._mask = check_mask(mask, data_dim)
        self._mask.flags.writeable = False
        self._activation = check_choice("activation", activation, ACTIVATIONS)
        self._scale = check_choice("scale", scale, SCALES)
        self._scale_bound = check_real("scale_bound", scale_bound, 0, low_open=True)
        (seed,) = draw_seeds(random_state, 1)
        context_dim = check_int("context_dim", context_dim, 0)
        super().__init__(data_dim, check_dtype(dtype), (self._description(),), context_dim=context_dim)
        self._initialize(seed)

    hidden_dim = property(lambda self: self._hidden_dim, doc="tuple of int: widths of the hidden layers.")
    mask = property(lambda self: self._mask, doc="ndarray of uint8, shape (D,): 1 marks the identity columns.")
    activation = property(lambda self: self._activation, doc="str: the activation of the networks.")
    scale = property(lambda self: self._scale, doc="str: how s is bounded.")
    scale_bound = property(lambda self: self._scale_bound, doc="float: c, for scale='tanh'.")
    s_net = property(lambda self: self._networks()[0], doc="tuple of Linear: the network of s.")
    b_net = property(lambda self: self._networks()[1], doc="tuple of Linear: the network of b.")

    def config(self):
        return {
            "type": "affine_coupling",
            "data_dim": self.data_dim,
            "hidden_dim": list(self.hidden_dim),
            "mask": self.mask.tolist(),
            "activation": self.activation,
            "scale": self.scale,
            "scale_bound": self.scale_bound,
            "context_dim": self.context_dim,
        }

    def _description(self):
        return (
            "affine_coupling",
            self._mask.tobytes(),
            self._hidden_dim,
            self._activation,
            self._scale,
            self._scale_bound,
        )

    def _networks(self):
        n_identity = int(self._mask.sum())
        widths = (n_identity + self.context_dim, *self._hidden_dim, self.data_dim - n_identity)
        parameters, at, networks = self.parameters, 0, []
        for _ in range(2):
            maps = []
            for n_in, n_out in zip(widths[:-1], widths[1:]):
                weight = parameters[at : at + n_out * n_in].reshape(n_out, n_in)
                at += n_out * n_in
                maps.append(Linear(weight, parameters[at : at + n_out]))
                at += n_out
            networks.append(tuple(maps))
        return networks

    def _state_views(self):
        identity, transformed = np.flatnonzero(self._mask == 1), np.flatnonzero(self._mask == 0)
        full = (self.data_dim + self.context_dim, *self._hidden_dim, self.data_dim)
        inputs = np.concatenate([identity, np.arange(self.data_dim, full[0])])
        views = {}
        for net_name, net in zip(("s_net", "b_net"), self._networks()):
            for k, linear in enumerate(net):
                rows = transformed if k == len(net) - 1 else np.arange(full[k + 1])
                columns = inputs if k == 0 else np.arange(full[k])
                # torch.nn.Sequential counts the activations, too.
                name = f"{net_name}.{2 * k}"
                views[f"{name}.weight"] = linear.weight, (full[k + 1], full[k]), np.ix_(rows, columns)
                views[f"{name}.bias"] = linear.bias, (full[k + 1],), rows
        return views

    @classmethod
    def from_state_dict(
        cls, state, mask=None, *, activation="relu", scale="exp", scale_bound=SCALE_BOUND, dtype=None
    ):
        """The layer that a PyTorch module with these parameters computes.

        Parameters
        ----------
        state : mapping of str to array_like
            "s_net.0.weight" (hidden, D + C), "s_net.0.bias" (hidden,), "s_net.2.weight" (D, hidden), ... and the same
            for "b_net"; "mask" (D,) is read if there is one.
        mask : array_like of 0 and 1, shape (D,), optional
            Default: that of the state dict, else 1, 0, 1, 0, ...
        activation, scale, scale_bound
            As in the constructor; a state dict does not hold them. The defaults are the published layer's.
        dtype : {"float32", "float64"}, optional
            Default: float64 if any array is, else float32.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or shapes do not fit together.
        """
        state = dict(state)
        stored_mask = state.pop("mask", None)
        widths = state_widths(state)
        if dtype is None:
            dtype = np.result_type(np.float32, *(np.asarray(value).dtype for value in state.values()))
        layer = cls(
            widths[-1],
            widths[1:-1],
            stored_mask if mask is None else mask,
            activation=activation,
            scale=scale,
            scale_bound=scale_bound,
            context_dim=max(0, widths[0] - widths[-1]),
            dtype=dtype,
            random_state=0,
        )
        layer.load_state_dict(state)
        return layer


class ActNorm(Layer):
    """Elementwise affine layer: one scale and one shift per dimension.

        x = z exp(log_scale) + bias,     log|det dx/dz| = sum of log_scale

    It starts as the identity. Set to the standard deviation and the mean of data it standardises them inside the flow,
    so that log-densities are in the units of the data.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    parameters : ndarray, shape (2 D,)
        `log_scale`, then `bias`; a view that can be written to.
    log_scale, bias : ndarray, shape (D,)
        Views of `parameters`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

    References
    ----------
    Kingma and Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.
    """

    def __init__(self, data_dim, *, dtype="float32"):
        super().__init__(check_int("data_dim", data_dim, 1), check_dtype(dtype), (self._description(),))

    log_scale = property(lambda self: self.parameters[: self.data_dim], doc="ndarray, shape (D,)")
    bias = property(lambda self: self.parameters[self.data_dim :], doc="ndarray, shape (D,)")

    def config(self):
        return {"type": "act_norm", "data_dim": self.data_dim}

    def _description(self):
        return ("act_norm",)

    def _state_views(self):
        shape = (self.data_dim,)
        return {"log_scale": (self.log_scale, shape, ...), "bias": (self.bias, shape, ...)}


LAYER_TYPES = {"affine_coupling": CouplingLayer, "act_norm": ActNorm}


def layer_from_config(config, dtype):
    """A layer from what `Layer.config` gave, with starting parameters of no meaning."""
    arguments = dict(config)
    layer_type = LAYER_TYPES[check_choice("layer type", arguments.pop("type", None), tuple(LAYER_TYPES))]
    if layer_type is CouplingLayer:
        arguments["random_state"] = 0
    return layer_type(**arguments, dtype=dtype)


def _restore_layer(config, dtype, parameters):
    layer = layer_from_config(config, dtype)
    layer.parameters[:] = parameters
    return layer


def checked_state(state, shapes):
    """The arrays of a state dict, if their names and shapes are those of `shapes`."""
    missing, unknown = shapes.keys() - state.keys(), state.keys() - shapes.keys()
    if missing or unknown:
        what = "misses" if missing else "has the unknown"
        raise ValueError(f"state dict {what} {', '.join(map(repr, sorted(missing or unknown)))}")
    arrays = {name: np.asarray(state[name]) for name in shapes}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise TypeError(f"state dict entry {name!r} must hold real numbers, got dtype {array.dtype}")
        if array.shape != shapes[name]:
            raise ValueError(f"state dict entry {name!r} must have shape {shapes[name]}, got {array.shape}")
    return arrays


def state_widths(state):
    """(D + C, hidden widths ..., D) of a coupling layer's state dict, read off the weights of its s network."""
    widths, k = [], 0
    while (weight := state.get(f"s_net.{2 * k}.weight")) is not None:
        if np.ndim(weight) != 2:
            raise ValueError(
                f"state dict entry 's_net.{2 * k}.weight' must have 2 dimensions, got shape {np.shape(weight)}"
            )
        widths += [np.shape(weight)[1]] if k == 0 else []
        widths.append(np.shape(weight)[0])
        k += 1
    if not widths:
        raise ValueError(f"state dict misses 's_net.0.weight'; it has {', '.join(map(repr, sorted(state)))}")
    return tuple(widths)
