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
# A layer then scales by a factor of at most e. Of 1/2, 1 and 2, this bound gave the best held-out density on 1000 moons.
SCALE_BOUND = 1.0


class AffineCoupling(Coupling):
    """Affine coupling layer of Real NVP. `CouplingLayer`, the name in the article, is an alias.

    With the binary mask m (1: identity part), `forward` and `inverse` map::

        x = m z + (1 - m) (z exp(s) + b),     log|det dx/dz| = sum of (1 - m) s
        z = m x + (1 - m) (x - b) exp(-s),    log|det dz/dx| = -sum of (1 - m) s

    where s and b are networks of the identity part and the context, Linear -> activation -> ... -> Linear.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    hidden_dim : int or sequence of int, default 64
        Width of the networks' hidden layer, or widths of several hidden layers.
    mask : array_like of 0 and 1, shape (D,), optional
        1 marks the identity columns. Default: 1, 0, 1, 0, ...
    activation : {"relu", "tanh", "silu"}, default "relu"
    networks : {"separate", "shared"}, default "separate"
        "separate": s and b have separate networks, as published. "shared": one network has the outputs of both.
    scale : {"tanh", "exp"}, default "tanh"
        "exp": s is the output of its network, as published. It may grow without limit far from the training data.
        "tanh": s = c tanh(output / c), which stays within +-c.
    scale_bound : float, default 1.0
        c > 0, for ``scale="tanh"``. Both c and 1 / c must be normal numbers of the dtype: 1.2e-38 to 8.5e37 in float32.
    context_dim : int, default 0
        C, the number of columns of the context that the density is conditional on.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Draws the initial parameters, uniformly in +-1/sqrt(fan-in) as in ``torch.nn.Linear``. With ``scale="tanh"`` those
        of the last map are multiplied by 0.3, so that the layer starts near the identity.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        The s network, then the b network; for each linear map the weight in C order, then the bias. A writable view.
    s_net, b_net : tuple of Linear
        The linear maps as views of `parameters`. The inputs of a network are the identity columns and then the context, its
        outputs the transformed columns. The first weight has shape (hidden, identity columns + C), the last one
        (transformed columns, hidden). With ``networks="shared"`` both are views of one network and differ only in the last
        map.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

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
        """str: "shared" if s and b share a network, else "separate"."""
        return NETWORKS[self._shared]

    @property
    def scale(self) -> Scale:
        """str: "tanh" if s is bounded, "exp" if not."""
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
        """The network of s (k = 0) or b (k = 1)."""
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
        """Create a layer from the parameters of a PyTorch module.

        Parameters
        ----------
        state : mapping of str to array_like
            "s_net.0.weight" (hidden, D + C), "s_net.0.bias" (hidden,), "s_net.2.weight" (D, hidden), ... and the same
            for "b_net". "mask" (D,) is read if present.
        mask : array_like of 0 and 1, shape (D,), optional
            Default: that of the state dict; without one, 1, 0, 1, 0, ...
        activation, scale, scale_bound
            As in the constructor. A state dict does not hold them. The defaults are those of the published layer.
        dtype : {"float32", "float64"}, optional
            Default: float64 if any array has it, otherwise float32.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or if shapes do not fit together.
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


CouplingLayer = AffineCoupling  # the name in the article
