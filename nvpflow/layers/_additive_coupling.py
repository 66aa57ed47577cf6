"""The additive coupling of NICE."""

from __future__ import annotations

from collections.abc import Sequence

from nvpflow._typing import Activation, ArrayLike, DTypeLike, Seed
from nvpflow.layers._coupling import Coupling, Linear

__all__ = ["AdditiveCoupling"]


class AdditiveCoupling(Coupling):
    """Additive coupling layer of NICE: a shift without a scale, which preserves volume.

    It maps::

        x = z + (1 - m) b,     log|det dx/dz| = 0

    where b is a network of the identity part m z and the context, Linear -> activation -> ... -> Linear.

    Parameters
    ----------
    data_dim, hidden_dim, mask, activation, context_dim
        As in `AffineCoupling`.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Draws the initial parameters, as in `AffineCoupling` with ``scale="tanh"``.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        For each linear map the weight in C order, then the bias, as a writable view.
    net : tuple of Linear
        The linear maps as views of `parameters`. The last one has one output for each transformed column.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    References
    ----------
    Dinh, Krueger and Bengio (2014), "NICE: non-linear independent components estimation", section 3.2.

    Examples
    --------
    >>> import nvpflow
    >>> x, log_det = nvpflow.AdditiveCoupling(2, 16, random_state=0).forward([[0.5, -1.0]])
    >>> float(x[0, 0]), float(log_det[0])  # the identity column; no change of volume
    (0.5, 0.0)
    """

    _kind = "additive_coupling"

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
