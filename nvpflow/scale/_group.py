"""The processes that fit one model together, each with rows of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Alone", "Group"]


class Group(ABC):
    """Processes that call the same functions in the same order. Every member gets the same bits from each of them.

    Attributes
    ----------
    rank : int
        Of this member, 0 <= rank < size.
    size : int
    """

    rank: int
    size: int

    @abstractmethod
    def sum(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sum over the members of an array that has the same shape and dtype on each of them."""

    @abstractmethod
    def gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rows of all members, (n_0 + n_1 + ..., D), in the order of their ranks, on every member."""

    @abstractmethod
    def broadcast(self, value: Any) -> Any:
        """An object of the first member, which can be pickled."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any member."""
        return bool(self.sum(np.array([float(flag)]))[0] > 0)

    def lowest(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The elementwise minimum over the members."""
        found: npt.NDArray[Any] = self.gather_rows(array[np.newaxis]).min(axis=0)
        return found


class Alone(Group):
    """The group of one process."""

    rank, size = 0, 1

    def sum(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array

    def gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array

    def broadcast(self, value: Any) -> Any:
        return value
