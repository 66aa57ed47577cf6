"""The base density with heavy tails: a product of Student's t distributions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nvpflow import _core
from nvpflow._base import Base
from nvpflow._typing import ArrayLike, DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow._validation.arrays import as_array
from nvpflow.layers import ActNorm, Layer

__all__ = ["LEAST_DF", "MOST_DF", "StudentTBase"]

LEAST_DF, MOST_DF = 0.5, 1e6
ROWS_AT_A_TIME = 100_000  # between which Ctrl-C is noticed


class StudentTBase(Base):
    """Student's t distributions of independent columns, each with its own degrees of freedom, which are trained.

    The density of a column with nu degrees of freedom is::

        log p(z) = log Gamma((nu + 1)/2) - log Gamma(nu/2) - log(nu pi)/2 - (nu + 1)/2 log(1 + z^2/nu)

    Its tails fall as ``|z|^-(nu + 1)``; many degrees of freedom make it N(0, 1). Couplings whose maps are linear far away, as
    splines are, leave the power of the tails as it is. So flows of data with heavy tails need a base that has them.

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    df : float or array_like of shape (D,), default 5.0
        The degrees of freedom of all columns or of each one, more than 0.5 and at most 1e6.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    df : ndarray of float64, shape (D,)
    log_excess : ndarray, shape (D,)
        The trained parameters ``log(df - 0.5)``, a view of `parameters`. Above log(1e6) they act like it, without a gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or an invalid value.

    References
    ----------
    Jaini, Kobyzev, Yu and Brubaker (2020), "Tails of Lipschitz triangular flows".

    Laszkiewicz, Lederer and Fischer (2022), "Marginal tail-adaptive normalizing flows".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> layers = [nvpflow.SplineCoupling(2, 16, mask, random_state=0) for mask in ([1, 0], [0, 1])]
    >>> flow = nvpflow.Flow(layers, base=nvpflow.StudentTBase(2, df=4))
    >>> X = np.random.default_rng(0).standard_t(2, size=(500, 2))
    >>> history = flow.fit(X, max_iter=50, learning_rate=0.01, random_state=0)
    >>> bool((flow.base.df < 4).all())
    True
    """

    _kind = "student_t"
    _arguments = ("data_dim",)
    _state_names = ("log_excess",)
    _words = "Student t"

    def __init__(self, data_dim: int, df: ArrayLike = 5.0, *, dtype: DTypeLike = "float32") -> None:
        if hasattr(self, "_parameters"):
            raise RuntimeError("a base cannot be initialised twice")
        dim, checked = check_int("data_dim", data_dim, 1), check_dtype(dtype)
        log_excess = np.log(_check_df(df, dim) - LEAST_DF)
        self._allocate(dim, checked)
        self._parameters[:] = log_excess

    def _allocate(self, *sizes: Any) -> None:
        self.data_dim, dtype = sizes
        self._parameters = np.zeros(self.data_dim, dtype)

    @property
    def log_excess(self) -> Floats:
        """ndarray, shape (D,): the logarithm of the degrees of freedom beyond 0.5, as a writable view of the parameters."""
        return self._parameters.view()

    @property
    def df(self) -> Floats:
        """ndarray of float64, shape (D,): the degrees of freedom."""
        excess: Floats = np.exp(np.minimum(self._parameters.astype(np.float64), np.log(MOST_DF)))
        return LEAST_DF + excess

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike, *sizes: int) -> Self:
        base = cls.__new__(cls)
        base._allocate(*sizes, check_dtype(dtype))
        base._load(state)
        return base

    def _to_normal(self, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
        points = np.ascontiguousarray(points, np.float64)
        log_excess, found, log_det = self._parameters.astype(np.float64), np.empty_like(points), np.empty(len(points))
        for start in range(0, len(points), ROWS_AT_A_TIME):
            part = slice(start, start + ROWS_AT_A_TIME)
            _core.student_t(backward, points[part], log_excess, found[part], log_det[part])
        return found, log_det

    def _tempered(self, temperature: float) -> Base:
        return self.copy()

    def _layers_at(self, temperature: float) -> list[Layer]:
        scale = ActNorm(self.data_dim, dtype=self.dtype)
        scale.log_scale[:] = 0.5 * np.log(temperature)
        return [scale]

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        root = np.sqrt(self.df)
        s = np.abs(z) / root
        least = np.minimum(s, 1 / np.maximum(s, 1))  # s or 1/s, whose square cannot overflow
        slope: Floats = -np.sign(z) * (self.df + 1) / root * least / (1 + least**2)
        return slope.astype(z.dtype)

    def __repr__(self) -> str:
        shown = ", ".join(f"{df:.4g}" for df in self.df[:6]) + ", ..." * (self.data_dim > 6)
        return f"StudentTBase({self.data_dim}, df=[{shown}], dtype='{self.dtype}')"


def _check_df(df: ArrayLike, dim: int) -> Floats:
    array = as_array("df", df)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"df must be a real number or an array of them, got dtype {array.dtype}")
    if array.shape not in ((), (dim,)):
        raise ValueError(f"df must be a number or have shape ({dim},), got shape {array.shape}")
    numbers: Floats = np.broadcast_to(array.astype(np.float64), (dim,))
    bad = ~((numbers > LEAST_DF) & (numbers <= MOST_DF))  # NaN is bad
    if bad.any():
        raise ValueError(f"df must be more than {LEAST_DF} and at most {MOST_DF:g}, got {numbers[bad][0]:g}")
    return numbers
