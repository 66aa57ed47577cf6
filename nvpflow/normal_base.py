"""N(0, I) as an object, with the methods of the other base densities."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._base import Base
from nvpflow._typing import DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int
from nvpflow.mixture_base import MixtureBase

__all__ = ["NormalBase"]


class NormalBase(Base):
    """N(0, I), the base density of a `Flow` whose `base` is None.

    It has the methods of the other bases and no parameters: `Flow.base_density` is one where `Flow.base` is None.

    Parameters
    ----------
    data_dim : int
    dtype : {"float32", "float64"}, default "float32"

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or an invalid value.

    Examples
    --------
    >>> import nvpflow
    >>> base = nvpflow.NormalBase(2)
    >>> base.log_prob(base.sample(3, random_state=0)).shape
    (3,)
    """

    _kind = "standard_normal"
    _arguments = ("data_dim",)

    def __init__(self, data_dim: int, *, dtype: DTypeLike = "float32") -> None:
        self._allocate(check_int("data_dim", data_dim, 1), check_dtype(dtype))

    def _allocate(self, *sizes: Any) -> None:
        self.data_dim, dtype = sizes
        self._parameters = np.empty(0, dtype)

    def _fields(self) -> None:
        return None

    def _to_normal(self, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
        return points.astype(np.float64), np.zeros(len(points))

    def _tempered(self, temperature: float) -> MixtureBase:
        covariance = temperature * np.eye(self.data_dim)
        return MixtureBase([1], np.zeros((1, self.data_dim)), covariance[np.newaxis], dtype=self.dtype)

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        return -z
