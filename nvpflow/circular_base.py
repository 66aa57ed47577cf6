"""The base density of flows of angles: uniform on circles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from nvpflow._base import Base
from nvpflow._typing import ArrayLike, Bools, DTypeLike, Floats
from nvpflow._validation.arguments import check_dtype, check_int, check_periods, shown
from nvpflow.layers import Bounded

__all__ = ["CircularBase"]


class CircularBase(Base):
    """The uniform density on the circle of each column of angles, and N(0, 1) in columns of real numbers.

    It is the base of a `Flow` of `CircularSplineCoupling` layers. Its samples of an angle are in [-P/2, P/2). It has no
    parameters.

    Parameters
    ----------
    periods : sequence of D floats or None
        The period P > 0 of each column of angles; None or 0 is a column of real numbers. The square of a period must be a
        normal number of the dtype.
    dtype : {"float32", "float64"}, default "float32"

    Attributes
    ----------
    periods : tuple of D floats
        0 for columns of real numbers.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    References
    ----------
    Rezende, Papamakarios, Racaniere, Albergo, Kanwar, Shanahan and Cranmer (2020), "Normalizing flows on tori and spheres".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> periods = [2 * np.pi, None]
    >>> layers = [nvpflow.CircularSplineCoupling(2, 16, mask, periods=periods) for mask in ([1, 0], [0, 1])]
    >>> flow = nvpflow.Flow(layers, base=nvpflow.CircularBase(periods))
    >>> X = np.random.default_rng(0).vonmises(0, [4, 1], size=(200, 2))
    >>> history = flow.fit(X, max_iter=20, random_state=0)
    >>> bool(np.allclose(flow.log_prob(X), flow.log_prob(X + [2 * np.pi, 0]), atol=1e-4))
    True
    """

    _kind = "circular"
    _arguments = ("data_dim", "periods")
    _words = "uniform on circles, normal elsewhere"
    _periods: tuple[float, ...]

    def __init__(self, periods: Sequence[float | None] | Floats, *, dtype: DTypeLike = "float32") -> None:
        if hasattr(self, "_parameters"):
            raise RuntimeError("a base cannot be initialised twice")
        if isinstance(periods, str) or not isinstance(periods, (Sequence, np.ndarray)) or len(periods) == 0:
            raise TypeError(f"periods must be a list with a number or None for each column, got {shown(periods)}")
        checked = check_dtype(dtype)
        self._allocate(len(periods), check_periods(periods, len(periods), checked), checked)

    def _allocate(self, *sizes: Any) -> None:
        self.data_dim, self._periods, dtype = sizes
        self._parameters = np.zeros(0, dtype)

    @property
    def periods(self) -> tuple[float, ...]:
        """tuple of D floats: the period of each column of angles, and 0 for columns of real numbers."""
        return self._periods

    @classmethod
    def _from_config(cls, config: Mapping[str, Any], dtype: DTypeLike) -> Self:
        base, dim, checked = cls.__new__(cls), check_int("data_dim", config["data_dim"], 1), check_dtype(dtype)
        base._allocate(dim, check_periods(config["periods"], dim, checked), checked)
        return base

    @classmethod
    def _from_state(cls, state: dict[str, ArrayLike], dtype: DTypeLike, *sizes: int) -> Self:
        raise TypeError("a CircularBase has no parameters, and a state dict does not tell its periods")

    def config(self) -> dict[str, Any]:
        """The dimension and the periods as plain Python values.

        Returns
        -------
        config : dict
        """
        return {"type": self._kind, "data_dim": self.data_dim, "periods": list(self._periods)}

    def _fields(self) -> dict[str, Any]:
        return {"type": self._kind, "periods": list(self._periods)}

    def _to_normal(self, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
        ends = [(-period / 2, period / 2) if period else None for period in self._periods]
        layer = Bounded(self.data_dim, ends, dtype=np.float64)  # takes normal columns to uniform ones
        if backward:
            return layer.forward(points)
        turns = np.array(self._periods)
        with np.errstate(invalid="ignore"):
            within = points - turns * np.round(points / np.where(turns > 0, turns, 1))
        finite: Bools = np.logical_and.reduce(np.isfinite(points), axis=1)
        y, log_det = layer.inverse(np.where(finite[:, np.newaxis], within, 0))
        return np.where(finite[:, np.newaxis], y, points), np.where(finite, log_det, 0)

    def _tempered(self, temperature: float) -> Base:
        if all(self._periods):
            return self.copy()
        raise ValueError(f"temperature must be 1 over a CircularBase with columns of real numbers, got {temperature}")

    def _grad_log_prob(self, z: Floats, context: Floats | None = None) -> Floats:
        return np.where(np.array(self._periods) > 0, 0, -z).astype(z.dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._periods)}, dtype='{self.dtype}')"
