"""The spline coupling of columns of angles beside columns of real numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._typing import Activation, ArrayLike, DTypeLike, Floats, Ints, Seed
from nvpflow._validation.arguments import check_dtype, check_int, check_periods, check_tail_bound
from nvpflow.layers._coupling import Coupling, Linear
from nvpflow.layers._spline_coupling import MAX_BINS, MIN_BINS

__all__ = ["CircularSplineCoupling"]

CIRCLE_OUTPUTS = 3  # of the network for an angle, beyond those for a real number


class CircularSplineCoupling(Coupling):
    """Rational-quadratic spline coupling layer for angles, on circles, beside real numbers.

    A transformed column of real numbers has the spline of `SplineCoupling`. A column of angles with the period P has a
    monotone spline S with K bins of the circle onto itself, and a rotation r::

        inverse  z = S(x - r)
        forward  x = S^-1(z) + r      both taken into [-P/2, P/2) by whole turns

    The derivative of S is the same on both sides of the point -P/2 = P/2, so a density without steps has none there. The
    network reads the cosine and the sine of angles, so the layer does not depend on which of x, x + P, x - P ... stands for an
    angle. It gives for each angle K widths, K heights, K - 1 derivatives at the inner knots, that at the ends, and
    the point (1 + c, s), whose angle is the rotation. So r may make whole turns while another angle makes one.

    Layers that scale columns, such as `ActNorm`, must leave columns of angles alone. The base density must be one of angles,
    such as a `CircularBase`, or the density has a seam.

    Parameters
    ----------
    data_dim, hidden_dim, mask, activation
        As in `AffineCoupling`.
    periods : float or sequence of D floats or None, default 2 pi
        The period P > 0 of each column of angles; None or 0 is a column of real numbers. One number stands for all columns.
        The square of a period must be a normal number of the dtype.
    n_bins : int, default 8
        K, from 2 to 64.
    tail_bound : float, default 4.0
        B > 0, of the columns of real numbers, as in `SplineCoupling`.
    context_dim : int, default 0
        As in `AffineCoupling`.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        As in `SplineCoupling`. The layer is the identity if all outputs of the network are 0.

    Attributes
    ----------
    parameters : ndarray, shape (n_parameters,)
        For each linear map the weight in C order, then the bias, as a writable view.
    net : tuple of Linear
        The linear maps as views of `parameters`. The first one has two inputs for each identity column of angles, and the last
        one 3 K + 2 outputs for each transformed one.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    Notes
    -----
    All columns of angles leave in [-P/2, P/2). An infinite angle has no density.

    References
    ----------
    Rezende, Papamakarios, Racaniere, Albergo, Kanwar, Shanahan and Cranmer (2020), "Normalizing flows on tori and spheres",
    section 2.1.2. There the rotation is an output of the network itself.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> options = {"periods": [2 * np.pi, None], "dtype": "float64"}
    >>> layer = nvpflow.CircularSplineCoupling(2, 64, mask=[0, 1], random_state=0, **options)
    >>> x = np.array([[3.0, -1.0], [3.0 - 2 * np.pi, -1.0]])
    >>> z, log_det = layer.inverse(x)
    >>> bool(np.allclose(z[0], z[1]) and np.allclose(layer.forward(z)[0], [3.0, -1.0]))
    True
    """

    _kind = "circular_spline_coupling"
    _arguments = (*Coupling._arguments, "periods", "n_bins", "tail_bound")

    def __init__(
        self,
        data_dim: int,
        hidden_dim: int | Sequence[int] = 64,
        mask: ArrayLike | None = None,
        *,
        activation: Activation = "relu",
        periods: float | Sequence[float | None] | Floats = 2 * np.pi,
        n_bins: int = 8,
        tail_bound: float = 4.0,
        context_dim: int = 0,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        data_dim = self._describe_conditioner(data_dim, hidden_dim, mask, activation)
        self._periods = check_periods(periods, data_dim, check_dtype(dtype))
        self._n_bins = check_int("n_bins", n_bins, MIN_BINS, MAX_BINS)
        self._tail_bound = check_tail_bound("tail_bound", tail_bound, check_dtype(dtype))
        self._start(data_dim, context_dim, dtype, random_state)

    @property
    def periods(self) -> tuple[float, ...]:
        """tuple of D floats: the period of each column of angles, and 0 for columns of real numbers."""
        return self._periods

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

    def _full_inputs(self, columns: Ints) -> Ints:
        return _spread(1 + self._is_angle(), columns)

    def _full_outputs(self, columns: Ints) -> Ints:
        return _spread(3 * self._n_bins - 1 + CIRCLE_OUTPUTS * self._is_angle(), columns)

    def _is_angle(self) -> Ints:
        return (np.array(self._periods) > 0).astype(np.intp)


def _spread(counts: Ints, columns: Ints) -> Ints:
    """Indices of the entries of these columns in a list with so many entries for each column."""
    ends = np.cumsum(counts)
    return np.concatenate([np.arange(ends[i] - counts[i], ends[i]) for i in columns] or [columns])
