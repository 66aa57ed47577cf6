"""The layers that a flow is made of. Each is an invertible transform with an exact log-determinant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._arrays import as_array
from nvpflow._checks import (
    check_choice,
    check_dtype,
    check_hidden,
    check_int,
    check_mask,
    check_real,
    draw_seeds,
    seed_sequence,
)
from nvpflow._typing import Activation, ArrayLike, DTypeLike, Floats, Ints, Scale, Seed

__all__ = ["ActNorm", "AdditiveCoupling", "CouplingLayer", "LULinear", "Linear", "Permutation", "SplineCoupling"]

ACTIVATIONS = ("relu", "tanh", "silu")
SCALES = ("exp", "tanh")
NETWORKS = ("separate", "shared")
MAX_BINS = 64  # NVP_MAX_BINS of nvpflow.h
# A transform then stretches at most e-fold; of 1/2, 1 and 2 it left the best density of fresh points on 1000 moons.
SCALE_BOUND = 1.0


class Linear(NamedTuple):
    """The linear map y = weight @ x + bias; both arrays are views of a layer's parameters.

    Parameters
    ----------
    weight : ndarray, shape (outputs, inputs)
    bias : ndarray, shape (outputs,)

    Examples
    --------
    >>> import nvpflow
    >>> layer = nvpflow.CouplingLayer(3, 16, mask=[1, 1, 0])
    >>> [linear.weight.shape for linear in layer.s_net]
    [(16, 2), (1, 16)]
    """

    weight: Floats
    bias: Floats


StateView: TypeAlias = tuple[Floats, tuple[int, ...], Any]


class Layer(_core.Transform):
    """What all layers share: they are described by `config` and held together by one flat buffer.

    A layer that a `Flow` has taken over works on the flow's buffer.
    """

    _in_flow = False
    _reads_context = False  # whether the networks of a conditional flow's layer read the context

    def config(self) -> dict[str, Any]:
        """The arguments that make such a layer again, as plain Python values, and its `type`."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def _description(self) -> tuple[Any, ...]:
        """The tuple that `_core.Transform` understands."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def _state_views(self) -> dict[str, StateView]:
        """For each name in the state dict (view of the parameters, full shape, index into it)."""
        raise TypeError(f"{type(self).__name__} does not describe a layer")

    def copy(self) -> Self:
        """An independent layer with the same parameters, in no flow.

        Returns
        -------
        Layer
            Of the same class.
        """
        twin = layer_from_config(self.config(), self.dtype)
        twin.parameters[:] = self.parameters
        return twin

    def state_dict(self) -> dict[str, Floats]:
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

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the parameters from arrays of the names and shapes of `state_dict`.

        Parameters
        ----------
        state : mapping of str to array_like
            Such as tensors of PyTorch. Entries that the mask makes irrelevant are ignored.

        Raises
        ------
        TypeError, ValueError
            If an entry holds no real numbers, a name is missing or unknown, or a shape is wrong; nothing has changed then.
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

    def _repr_html_(self):
        from nvpflow._display import layer_html

        return layer_html(self)


class Coupling(Layer):
    """What coupling layers share: a mask, and networks of the identity columns and the context, the conditioner."""

    _reads_context = True
    _hidden_dim: tuple[int, ...]
    _mask: npt.NDArray[np.uint8]
    _activation: Activation

    @property
    def _network_names(self) -> tuple[str, ...]:
        return ("net",)

    @property
    def _outputs_per_column(self) -> int:
        """Of each network, for a transformed column."""
        return 1

    def _describe_conditioner(self, data_dim, hidden_dim, mask, activation):
        """Check what all couplings have, and keep it. Returns data_dim."""
        data_dim = check_int("data_dim", data_dim, 1)
        self._hidden_dim = check_hidden(hidden_dim)
        self._mask = check_mask(mask, data_dim)
        self._mask.flags.writeable = False
        self._activation = check_choice("activation", activation, ACTIVATIONS)
        return data_dim

    def _start(self, data_dim, context_dim, dtype, random_state):
        """The C side of the layer, with random parameters."""
        (seed,) = draw_seeds(random_state, 1)
        context_dim = check_int("context_dim", context_dim, 0)
        super().__init__(data_dim, check_dtype(dtype), (self._description(),), context_dim=context_dim)
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

    def _conditioner_config(self):
        return {
            "data_dim": self.data_dim,
            "hidden_dim": list(self.hidden_dim),
            "mask": self.mask.tolist(),
            "activation": self.activation,
            "context_dim": self.context_dim,
        }

    def _conditioner_description(self):
        return self._mask.tobytes(), self._hidden_dim, self._activation

    def _full_outputs(self, columns):
        """Which outputs of a full-shape network belong to these columns, in the order of the core."""
        per_column = self._outputs_per_column
        return np.add.outer(columns * per_column, np.arange(per_column)).ravel()

    def _networks(self) -> list[tuple[Linear, ...]]:
        n_identity = int(self._mask.sum())
        n_outputs = (self.data_dim - n_identity) * self._outputs_per_column
        widths = (n_identity + self.context_dim, *self._hidden_dim, n_outputs)
        parameters, at, networks = self.parameters, 0, []
        for _ in self._network_names:
            maps = []
            for n_in, n_out in zip(widths[:-1], widths[1:]):
                weight = parameters[at : at + n_out * n_in].reshape(n_out, n_in)
                at += n_out * n_in
                maps.append(Linear(weight, parameters[at : at + n_out]))
                at += n_out
            networks.append(tuple(maps))
        return networks

    def _state_views(self) -> dict[str, StateView]:
        identity, transformed = np.flatnonzero(self._mask == 1), np.flatnonzero(self._mask == 0)
        full = (self.data_dim + self.context_dim, *self._hidden_dim, self.data_dim * self._outputs_per_column)
        inputs = np.concatenate([identity, np.arange(self.data_dim, full[0])])
        views: dict[str, StateView] = {}
        for net_name, net in zip(self._network_names, self._networks()):
            for k, linear in enumerate(net):
                rows = self._full_outputs(transformed) if k == len(net) - 1 else np.arange(full[k + 1])
                columns = inputs if k == 0 else np.arange(full[k])
                # torch.nn.Sequential counts the activations, too.
                name = f"{net_name}.{2 * k}"
                views[f"{name}.weight"] = linear.weight, (full[k + 1], full[k]), np.ix_(rows, columns)
                views[f"{name}.bias"] = linear.bias, (full[k + 1],), rows
        return views


class CouplingLayer(Coupling):
    """Affine coupling layer of Real NVP.

    With the binary mask m (1: identity part) it maps, forward and back::

        x = m z + (1 - m) (z exp(s) + b),     log|det dx/dz| = sum of (1 - m) s
        z = m x + (1 - m) (x - b) exp(-s),    log|det dz/dx| = -sum of (1 - m) s

    where s and b are networks of the identity part and the context, Linear -> activation -> ... -> Linear.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    hidden_dim : int or sequence of int, default 64
        Width of the hidden layer, or of each hidden layer, of the networks.
    mask : array_like of 0 and 1, shape (D,), optional
        1 marks the identity columns. Default: 1, 0, 1, 0, ...
    activation : {"relu", "tanh", "silu"}, default "relu"
    networks : {"separate", "shared"}, default "separate"
        "separate": s and b have a network each, as published. "shared": one network has the outputs of both.
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
        (transformed columns, hidden). With ``networks="shared"`` they are views of one network, and differ in the last
        map alone.

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

    def __init__(
        self,
        data_dim: int,
        hidden_dim: int | Sequence[int] = 64,
        mask: ArrayLike | None = None,
        *,
        activation: Activation = "relu",
        networks: Literal["separate", "shared"] = "separate",
        scale: Scale = "tanh",
        scale_bound: float = SCALE_BOUND,
        context_dim: int = 0,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        data_dim = self._describe_conditioner(data_dim, hidden_dim, mask, activation)
        self._shared = check_choice("networks", networks, NETWORKS) == "shared"
        self._scale = check_choice("scale", scale, SCALES)
        self._scale_bound = check_real("scale_bound", scale_bound, 0, low_open=True)
        self._start(data_dim, context_dim, dtype, random_state)

    @property
    def networks(self) -> str:
        """str: whether s and b share a network."""
        return NETWORKS[self._shared]

    @property
    def scale(self) -> Scale:
        """str: how s is bounded."""
        return self._scale

    @property
    def scale_bound(self) -> float:
        """float: c, for scale='tanh'."""
        return self._scale_bound

    @property
    def s_net(self) -> tuple[Linear, ...]:
        """tuple of Linear: the network of s."""
        return self._half(0)

    @property
    def b_net(self) -> tuple[Linear, ...]:
        """tuple of Linear: the network of b."""
        return self._half(1)

    @property
    def _network_names(self) -> tuple[str, ...]:
        return ("net",) if self._shared else ("s_net", "b_net")

    @property
    def _outputs_per_column(self) -> int:
        return 2 if self._shared else 1

    def config(self) -> dict[str, Any]:
        return {
            "type": "affine_coupling",
            **self._conditioner_config(),
            "networks": self.networks,
            "scale": self.scale,
            "scale_bound": self.scale_bound,
        }

    def _description(self) -> tuple[Any, ...]:
        return "affine_coupling", *self._conditioner_description(), self._scale, self._scale_bound, self._shared

    def _half(self, k: int) -> tuple[Linear, ...]:
        """The network of s, 0, or of b, 1."""
        if not self._shared:
            return self._networks()[k]
        ((*trunk, last),) = self._networks()
        half = slice(k * len(last.bias) // 2, (k + 1) * len(last.bias) // 2)
        return *trunk, Linear(last.weight[half], last.bias[half])

    def _full_outputs(self, columns):
        return np.concatenate([columns + k * self.data_dim for k in range(self._outputs_per_column)])

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, ArrayLike],
        mask: ArrayLike | None = None,
        *,
        activation: Activation = "relu",
        scale: Scale = "exp",
        scale_bound: float = SCALE_BOUND,
        dtype: DTypeLike | None = None,
    ) -> Self:
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
            dtype = state_dtype(state)
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


class AdditiveCoupling(Coupling):
    """Additive coupling layer of NICE: a shift without a scale, which preserves volumes.

    It maps::

        x = z + (1 - m) b,     log|det dx/dz| = 0

    where b is a network of the identity part m z and the context, Linear -> activation -> ... -> Linear.

    Parameters
    ----------
    data_dim, hidden_dim, mask, activation, context_dim
        As in `CouplingLayer`.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Makes the starting parameters, as in `CouplingLayer` with ``scale="tanh"``.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        For each linear map the weight in C order and then the bias; a view that can be written to.
    net : tuple of Linear
        The linear maps as views of `parameters`, the last one with an output for each transformed column.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

    References
    ----------
    Dinh, Krueger and Bengio (2014), "NICE: non-linear independent components estimation", section 3.2.

    Examples
    --------
    >>> import nvpflow
    >>> x, log_det = nvpflow.AdditiveCoupling(2, 16, random_state=0).forward([[0.5, -1.0]])
    >>> float(x[0, 0]), float(log_det[0])  # the identity column; volumes stay
    (0.5, 0.0)
    """

    def __init__(
        self,
        data_dim: int,
        hidden_dim: int | Sequence[int] = 64,
        mask: ArrayLike | None = None,
        *,
        activation: Activation = "relu",
        context_dim: int = 0,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        data_dim = self._describe_conditioner(data_dim, hidden_dim, mask, activation)
        self._start(data_dim, context_dim, dtype, random_state)

    @property
    def net(self) -> tuple[Linear, ...]:
        """tuple of Linear: the network of b."""
        return self._networks()[0]

    def config(self) -> dict[str, Any]:
        return {"type": "additive_coupling", **self._conditioner_config()}

    def _description(self) -> tuple[Any, ...]:
        return "additive_coupling", *self._conditioner_description()


class SplineCoupling(Coupling):
    """Rational-quadratic spline coupling layer of neural spline flows.

    On [-B, B] each transformed column goes through a monotone spline of K bins, outside it is unchanged. A network of the
    identity part and the context, Linear -> activation -> ... -> Linear, gives the splines of each sample: for each transformed
    column K widths and K heights (softmax), and the derivatives at the K - 1 inner knots (softplus). Data should be
    standardised, so that they lie between the tails; an `ActNorm` behind the last layer does it inside the flow.

    Parameters
    ----------
    data_dim, hidden_dim, mask, activation
        As in `CouplingLayer`.
    n_bins : int, default 8
        K, from 2 to 64.
    tail_bound : float, default 4.0
        B > 0.
    context_dim : int, default 0
        As in `CouplingLayer`.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Makes the starting parameters, as in `CouplingLayer` with ``scale="tanh"``: the layer starts near the identity,
        which is what it is when all outputs of the network are 0.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        For each linear map the weight in C order and then the bias; a view that can be written to.
    net : tuple of Linear
        The linear maps as views of `parameters`, the last one with 3 K - 1 outputs for each transformed column: widths,
        heights, derivatives.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

    Notes
    -----
    The spline is that of `inverse`, x -> z, which costs no more than evaluating it; `forward` solves a quadratic equation.
    Bins have at least 1/1000 of the width and the height of the spline, derivatives are between 1e-3 and 1e6.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios (2019), "Neural spline flows", section 3.1 and appendix A.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> layer = nvpflow.SplineCoupling(2, 64, mask=[1, 0], dtype="float64", random_state=0)
    >>> z = np.array([[0.5, -1.0], [2.0, 0.0]])
    >>> x, log_det = layer.forward(z)
    >>> np.allclose(layer.inverse(x)[0], z)
    True
    """

    def __init__(
        self,
        data_dim: int,
        hidden_dim: int | Sequence[int] = 64,
        mask: ArrayLike | None = None,
        *,
        activation: Activation = "relu",
        n_bins: int = 8,
        tail_bound: float = 4.0,
        context_dim: int = 0,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        data_dim = self._describe_conditioner(data_dim, hidden_dim, mask, activation)
        self._n_bins = check_int("n_bins", n_bins, 2)
        if self._n_bins > MAX_BINS:
            raise ValueError(f"n_bins must be at most {MAX_BINS}, got {n_bins}")
        self._tail_bound = check_real("tail_bound", tail_bound, 0, low_open=True)
        self._start(data_dim, context_dim, dtype, random_state)

    @property
    def n_bins(self) -> int:
        """int: K."""
        return self._n_bins

    @property
    def tail_bound(self) -> float:
        """float: B."""
        return self._tail_bound

    @property
    def net(self) -> tuple[Linear, ...]:
        """tuple of Linear: the network."""
        return self._networks()[0]

    @property
    def _outputs_per_column(self) -> int:
        return 3 * self._n_bins - 1

    def config(self) -> dict[str, Any]:
        return {
            "type": "spline_coupling",
            **self._conditioner_config(),
            "n_bins": self.n_bins,
            "tail_bound": self.tail_bound,
        }

    def _description(self) -> tuple[Any, ...]:
        return "spline_coupling", *self._conditioner_description(), self._n_bins, self._tail_bound


class ActNorm(Layer):
    """Elementwise affine layer: one scale and one shift per dimension.

    It maps::

        x = z exp(log_scale) + bias,     log|det dx/dz| = sum of log_scale

    It starts as the identity. Set to the standard deviation and the mean of data it standardises them inside the flow,
    so that log-densities are in the units of the data; `Flow.initialize_act_norms` does so.

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

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> layer = nvpflow.ActNorm(2)
    >>> layer.log_scale[:], layer.bias[:] = np.log([2.0, 3.0]), [10.0, 20.0]
    >>> layer.forward([[1.0, 1.0]])[0]
    array([[12., 23.]], dtype=float32)
    """

    def __init__(self, data_dim: int, *, dtype: DTypeLike = "float32") -> None:
        super().__init__(check_int("data_dim", data_dim, 1), check_dtype(dtype), (self._description(),))

    @property
    def log_scale(self) -> Floats:
        """ndarray, shape (D,)"""
        return self.parameters[: self.data_dim]

    @property
    def bias(self) -> Floats:
        """ndarray, shape (D,)"""
        return self.parameters[self.data_dim :]

    def _standardize(self, x):
        """Have `inverse` give x, finite samples, mean 0 and standard deviation 1."""
        deviation = x.std(axis=0, dtype=np.float64)
        constant = np.flatnonzero((x.min(axis=0) == x.max(axis=0)) | ~(deviation > 0))
        if len(constant):
            columns = ", ".join(map(str, constant[:10]))
            raise ValueError(f"x must vary in every column where it reaches an ActNorm, got constants in column(s) {columns}")
        self.log_scale[:] = np.log(deviation)
        self.bias[:] = x.mean(axis=0, dtype=np.float64)

    def config(self) -> dict[str, Any]:
        return {"type": "act_norm", "data_dim": self.data_dim}

    def _description(self) -> tuple[Any, ...]:
        return ("act_norm",)

    def _state_views(self) -> dict[str, StateView]:
        shape = (self.data_dim,)
        return {"log_scale": (self.log_scale, shape, ...), "bias": (self.bias, shape, ...)}


class Permutation(Layer):
    """A fixed permutation of the columns.

    It maps::

        x_i = z_p(i),     log|det dx/dz| = 0

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    permutation : array_like of int, shape (D,), optional
        p, each of 0, ..., D - 1 once: ``x = z[:, permutation]``. Default: a random one.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Draws the permutation where none is given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

    Examples
    --------
    >>> import nvpflow
    >>> nvpflow.Permutation(3, [2, 0, 1]).forward([[10.0, 20.0, 30.0]])[0]
    array([[30., 10., 20.]], dtype=float32)
    """

    def __init__(
        self,
        data_dim: int,
        permutation: ArrayLike | None = None,
        *,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        data_dim = check_int("data_dim", data_dim, 1)
        if permutation is None:
            permutation = np.random.default_rng(seed_sequence(random_state)).permutation(data_dim)
        self._permutation = check_permutation(permutation, data_dim)
        super().__init__(data_dim, check_dtype(dtype), (self._description(),))

    @property
    def permutation(self) -> Ints:
        """ndarray of int, shape (D,): p."""
        return np.array(self._permutation)

    def config(self) -> dict[str, Any]:
        return {"type": "permutation", "data_dim": self.data_dim, "permutation": list(self._permutation)}

    def _description(self) -> tuple[Any, ...]:
        return "permutation", self._permutation

    def _state_views(self) -> dict[str, StateView]:
        return {}


class LULinear(Layer):
    """Invertible linear layer, by the LU decomposition of its matrix.

    It maps::

        x = L U z + bias,     log|det dx/dz| = sum of log diag U

    L is unit lower triangular and U upper triangular with a positive diagonal, so that the matrix is always invertible. It
    starts as the identity. Together with a `Permutation` in front or behind, it is the decomposition P L U.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    parameters : ndarray, shape (D^2 + D,)
        `lu` in C order, then `bias`; a view that can be written to.
    lu : ndarray, shape (D, D)
        View of `parameters`: L below the diagonal, U above it, and on it the logarithm of the diagonal of U.
    bias : ndarray, shape (D,)
        View of `parameters`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

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

    def __init__(self, data_dim: int, *, dtype: DTypeLike = "float32") -> None:
        super().__init__(check_int("data_dim", data_dim, 1), check_dtype(dtype), (self._description(),))

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
        """ndarray, shape (D, D): L U, computed anew."""
        lower, upper = np.tril(self.lu, -1) + np.eye(self.data_dim, dtype=self.dtype), np.triu(self.lu, 1)
        return lower @ (upper + np.diag(np.exp(np.diag(self.lu))))

    def config(self) -> dict[str, Any]:
        return {"type": "lu_linear", "data_dim": self.data_dim}

    def _description(self) -> tuple[Any, ...]:
        return ("lu_linear",)

    def _state_views(self) -> dict[str, StateView]:
        return {"lu": (self.lu, self.lu.shape, ...), "bias": (self.bias, self.bias.shape, ...)}


def check_permutation(permutation, data_dim):
    """The permutation as a tuple of int."""
    values = np.asarray(permutation)
    if values.dtype.kind not in "iu":
        raise TypeError(f"permutation must hold integers, got dtype {values.dtype}")
    if values.shape != (data_dim,):
        raise ValueError(f"permutation must have shape ({data_dim},), got {values.shape}")
    if not np.array_equal(np.sort(values), np.arange(data_dim)):
        raise ValueError(f"permutation must hold each of 0, ..., {data_dim - 1} once, got {permutation!r}")
    return tuple(values.tolist())


LAYER_TYPES = {
    "affine_coupling": CouplingLayer,
    "act_norm": ActNorm,
    "spline_coupling": SplineCoupling,
    "additive_coupling": AdditiveCoupling,
    "permutation": Permutation,
    "lu_linear": LULinear,
}


def layer_from_config(config, dtype):
    """A layer from what `Layer.config` gave, with starting parameters of no meaning."""
    arguments = dict(config)
    layer_type = LAYER_TYPES[check_choice("layer type", arguments.pop("type", None), tuple(LAYER_TYPES))]
    if issubclass(layer_type, Coupling):
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
    arrays = {name: as_array(f"state dict entry {name!r}", state[name]) for name in shapes}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise TypeError(f"state dict entry {name!r} must hold real numbers, got dtype {array.dtype}")
        if array.shape != shapes[name]:
            raise ValueError(f"state dict entry {name!r} must have shape {shapes[name]}, got {array.shape}")
    return arrays


def state_dtype(state):
    """float64 if any array of a state dict is, else float32."""
    wide = any(as_array(f"state dict entry {name!r}", value).dtype == np.float64 for name, value in state.items())
    return np.dtype(np.float64 if wide else np.float32)


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
