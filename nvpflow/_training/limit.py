"""When training has to end before `max_iter`: after a time, or because the thread that waits for it was interrupted."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

__all__ = ["Limit"]

LEAST_SECONDS = 1e-9  # of a limit that has passed: the core reads 0 as none


class Limit:
    """A moment at which training ends, after the epoch that is under way, and a byte that interrupts it at once.

    Parameters
    ----------
    seconds : float, optional
        From now. None: no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._stop = np.zeros(1, np.uint8)
        self._in_thread = False

    def share(self, fraction: float, in_thread: bool = False) -> Limit:
        """A limit of a fraction of the time that is left, and the same byte.

        `in_thread`: for a thread that `interrupt` has to reach, since it gets no signals.
        """
        left = self._left()
        part = Limit(None if left is None else fraction * left)
        part._stop, part._in_thread = self._stop, self._in_thread or in_thread
        return part

    @property
    def has_passed(self) -> bool:
        """Whether the moment is over."""
        return self._end is not None and time.monotonic() >= self._end

    def interrupt(self) -> None:
        """End all training in other threads that has this limit or a share of it, as Ctrl-C does in the main thread."""
        self._stop[0] = 1

    def _left(self) -> float | None:
        return None if self._end is None else max(LEAST_SECONDS, self._end - time.monotonic())

    def for_core(self) -> tuple[dict[str, Any], Any]:
        """The option for ``_core.Flow._train``, and its argument `stop`."""
        return {"time_limit": self._left()}, self._stop if self._in_thread else None
