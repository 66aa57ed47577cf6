"""What a training takes along from one call of `Flow.fit` to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TrainingState"]


class TrainingState:
    """Where a training stands: the last parameters, the optimiser's moments, averages, the best parameters, counters.

    It is empty at first. `Flow.fit` fills it and, given it again, goes on from there, as if there had been one call. It can
    be copied and pickled: a copy is a second training from the same point.

    Attributes
    ----------
    n_iter : int
        Epochs so far.

    Examples
    --------
    A training in two parts, which gives the same bits as one call:

    >>> import numpy as np, nvpflow
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> flow = nvpflow.Flow([nvpflow.CouplingLayer(2, 16, mask, random_state=0) for mask in ([1, 0], [0, 1])])
    >>> state = nvpflow.TrainingState()
    >>> history = flow.fit(x, max_iter=100, schedule="cosine", pause_after=20, state=state)
    >>> state.n_iter
    20
    >>> history = flow.fit(x, max_iter=100, schedule="cosine", state=state)
    >>> state.n_iter, len(history["train_nll"])
    (100, 80)
    """

    def __init__(self) -> None:
        self.n_iter = 0
        self._flow_kind: dict[str, Any] | None = None
        self._memory: npt.NDArray[np.uint8] | None = None

    def copy(self) -> TrainingState:
        """An independent state of the same content.

        Returns
        -------
        TrainingState
        """
        other = TrainingState()
        other.n_iter, other._flow_kind = self.n_iter, self._flow_kind
        other._memory = None if self._memory is None else self._memory.copy()
        return other

    __copy__ = copy

    def _memory_for(self, flow):
        """The bytes that the C core reads and writes, zeros at first; ValueError where they are another flow's."""
        kind = flow.config()
        if self._flow_kind is None:
            self._flow_kind, self._memory = kind, np.zeros(flow._train_state_size(), np.uint8)
        if self._flow_kind != kind:
            raise ValueError("state must be empty or of a training of such a flow, got that of a flow with other layers")
        return self._memory

    def __repr__(self):
        return f"<TrainingState after {self.n_iter} epochs>"
