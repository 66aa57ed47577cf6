"""The spline coupling of neural spline flows."""

from __future__ import annotations

from collections.abc import Sequence

from nvpflow._io.encoding import allowed
from nvpflow._typing import Activation, ArrayLike, DTypeLike, Seed
from nvpflow._validation.arguments import check_dtype, check_int, check_tail_bound
from nvpflow.layers._coupling import Coupling, Linear

__all__ = ["SplineCoupling"]

MIN_BINS, MAX_BINS = allowed("spline_coupling", "n_bins")


class SplineCoupling(Coupling):
    """Rational-quadratic spline coupling layer of neural spline flows.

    A monotone spline with K bins transforms each transformed column on [-B, B]; outside it is the identity. A network of the
    identity part and the context, Linear -> activation -> ... -> Linear, gives the splines of each sample: for each
    transformed column K widths and K heights (softmax), and the derivatives at the K - 1 inner knots (softplus).

    The network reads the identity part clamped to [-B, B], so that points far away keep their precision: beyond B they have
    the splines of B, and no gradient flows through the network. The context is not clamped. Data should be standardised so
    that most of them lie in [-B, B]. An `ActNorm` as the last layer does that inside the flow.

    Parameters
    ----------
    data_dim, hidden_dim, mask, activation
        As in `AffineCoupling`.
    n_bins : int, default 8
        K, from 2 to 64.
    tail_bound : float, default 4.0
        B > 0. Its square must be a normal number of the dtype: B from 1.1e-19 to 1.8e19 in float32.
    context_dim : int, default 0
        As in `AffineCoupling`.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Draws the initial parameters, as in `AffineCoupling` with ``scale="tanh"``. The layer starts near the identity,
        which it is exactly if all outputs of the network are 0.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        For each linear map the weight in C order, then the bias, as a writable view.
    net : tuple of Linear
        The linear maps as views of `parameters`. The last one has 3 K - 1 outputs for each transformed column: widths,
        heights, derivatives.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    Notes
    -----
    `inverse`, x -> z, evaluates the spline; `forward` solves a quadratic equation. Every bin has at least 1/1000 of the width
    and the height of the spline. Derivatives are between 1e-3 and 1e6. The published layer does not clamp; the two agree if
    the identity part lies in [-B, B].

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

    _kind = "spline_coupling"
    _arguments = (*Coupling._arguments, "n_bins", "tail_bound")

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
        self._n_bins = check_int("n_bins", n_bins, MIN_BINS, MAX_BINS)
        self._tail_bound = check_tail_bound("tail_bound", tail_bound, check_dtype(dtype))
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
