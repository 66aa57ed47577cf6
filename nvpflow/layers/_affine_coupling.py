"""The affine coupling of Real NVP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np

from nvpflow._io.encoding import allowed
from nvpflow._io.state_dict import state_dtype, state_widths
from nvpflow._typing import Activation, ArrayLike, DTypeLike, Ints, Scale, Seed
from nvpflow._validation.arguments import check_choice, check_dtype, check_scale_bound
from nvpflow.layers._coupling import Coupling, Linear

__all__ = ["NETWORKS", "SCALES", "SCALE_BOUND", "AffineCoupling", "CouplingLayer"]

SCALES: tuple[Scale, ...] = allowed("affine_coupling", "scale")
NETWORKS: tuple[str, ...] = allowed("affine_coupling", "networks")
# A transform then stretches at most e-fold; of 1/2, 1 and 2 it left the best density of fresh points on 1000 moons.
SCALE_BOUND = 1.0


class AffineCoupling(Coupling):
    """Affine coupling layer of Real NVP, also under the article's name, `CouplingLayer`.

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
        c > 0, for ``scale="tanh"``. Both c and 1 / c must be normal numbers of the dtype: 1.2e-38 to 8.5e37 in float32.
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
    >>> layer = nvpflow.AffineCoupling(2, 64, mask=[1, 0], dtype="float64", random_state=0)
    >>> z = np.array([[0.5, -1.0], [2.0, 0.0]])
    >>> x, log_det = layer.forward(z)
    >>> np.allclose(layer.inverse(x)[0], z)
    True
    """

    _kind = "affine_coupling"
    _arguments = (*Coupling._arguments, "networks", "scale", "scale_bound")

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
        self._scale_bound = check_scale_bound("scale_bound", scale_bound, check_dtype(dtype))
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

    def _half(self, k: int) -> tuple[Linear, ...]:
        """The network of s, 0, or of b, 1."""
        if not self._shared:
            return self._networks()[k]
        ((*trunk, last),) = self._networks()
        half = slice(k * len(last.bias) // 2, (k + 1) * len(last.bias) // 2)
        return *trunk, Linear(last.weight[half], last.bias[half])

    def _full_outputs(self, columns: Ints) -> Ints:
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


CouplingLayer = AffineCoupling  # the article's name
