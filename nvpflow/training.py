"""What a training takes along from one call of `Flow.fit` to the next."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

__all__ = ["TrainingState"]


class TrainingState:
    """Where a training stands: the last parameters, the optimiser's moments, averages, the best parameters, counters.

    It is empty at first. `Flow.fit` fills it and, given it again, goes on from there, as if there had been one call. It can
    be copied and pickled: a copy is a second training from the same point. While `fit` runs it is as it was before.

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

    def copy(self) -> Self:
        """An independent state of the same content.

        Returns
        -------
        TrainingState
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._memory = None if self._memory is None else self._memory.copy()
        return other

    __copy__ = copy

    def _memory_for(self, flow):
        """A copy of the bytes that the C core goes on from, zeros at first; ValueError where they are another flow's."""
        if self._memory is None:
            return np.zeros(flow._train_state_size(), np.uint8)
        if self._flow_kind != flow.config():
            raise ValueError("state must be empty or of a training of such a flow, got that of a flow with other layers")
        return self._memory.copy()

    def _keep(self, flow, memory, n_iter):
        """The bytes that the C core has left behind."""
        self._flow_kind, self._memory, self.n_iter = flow.config(), memory, n_iter

    def __repr__(self):
        return f"<TrainingState after {self.n_iter} epochs>"
