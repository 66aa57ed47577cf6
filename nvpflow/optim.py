"""Adam for custom training loops, and the state of a resumable training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_real
from nvpflow._validation.arrays import as_array

if TYPE_CHECKING:
    from nvpflow.flow import Flow

__all__ = ["Adam", "TrainingState"]


class Adam:
    """The optimiser of `Flow.fit`, for custom training loops and losses other than the likelihood.

    Parameters
    ----------
    parameters : ndarray
        The parameters to optimise, such as ``flow.parameters``: contiguous, writeable, float32 or float64. Updated in place.
    learning_rate : float, default 1e-3
        > 0 in the dtype of the parameters. It may be changed between steps.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the first and second moment estimates, in [0, 1).
    epsilon : float, default 1e-8
        > 0 in the dtype of the parameters. It prevents 0 / 0 for parameters without gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    References
    ----------
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> w = np.array([3.0])
    >>> adam = nvpflow.Adam(w, learning_rate=0.1)
    >>> for _ in range(300):
    ...     adam.step(2 * w)  # the gradient of w**2
    >>> bool(abs(w[0]) < 1e-2)
    True
    """

    def __init__(
        self,
        parameters: Floats,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        if not isinstance(parameters, np.ndarray):
            raise TypeError(f"parameters must be a numpy array, got {type(parameters).__name__}")
        if parameters.dtype not in (np.float32, np.float64):
            raise ValueError(f"parameters must be float32 or float64, got {parameters.dtype}")
        if not (parameters.flags.carray):
            raise ValueError("parameters must be contiguous, aligned and writeable")
        as_array("parameters", parameters)  # an error if it has masked elements
        self.parameters = parameters
        self.learning_rate = learning_rate
        self._beta_1 = check_real("beta_1", beta_1, 0, 1)
        self._beta_2 = check_real("beta_2", beta_2, 0, 1)
        self._epsilon = check_real("epsilon", epsilon, 0, low_open=True, dtype=parameters.dtype)
        self.n_steps = 0
        self._m = np.zeros_like(parameters)
        self._v = np.zeros_like(parameters)

    @property
    def learning_rate(self) -> float:
        """float: the step size, > 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = check_real("learning_rate", value, 0, low_open=True, dtype=self.parameters.dtype)

    @property
    def beta_1(self) -> float:
        """float: decay of the first moment estimates."""
        return self._beta_1

    @property
    def beta_2(self) -> float:
        """float: decay of the second moment estimates."""
        return self._beta_2

    @property
    def epsilon(self) -> float:
        """float: added to the root of the second moments."""
        return self._epsilon

    def step(self, grad: ArrayLike) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        grad : array_like, with the shape of the parameters

        Raises
        ------
        TypeError, ValueError
            If grad does not hold real numbers, has a wrong shape, or is not finite. Nothing changes then.
        """
        grad, dtype = as_array("grad", grad), self.parameters.dtype
        if grad.dtype.kind not in "fiub":
            raise TypeError(f"grad must be an array of real numbers, got dtype {grad.dtype}")
        if grad.shape != self.parameters.shape:
            raise ValueError(f"grad must have shape {self.parameters.shape}, got {grad.shape}")
        with np.errstate(over="ignore"):
            grad = np.ascontiguousarray(grad, dtype).reshape(grad.shape)
        if not np.isfinite(grad).all():
            raise ValueError(f"grad must be finite in {dtype}, got NaN or infinity")
        _core.adam_step(
            self.parameters, grad, self._m, self._v, self.n_steps + 1,
            self._learning_rate, self._beta_1, self._beta_2, self._epsilon,
        )  # fmt: skip
        self.n_steps += 1


class TrainingState:
    """Resumable training state: the last parameters, the optimiser's moments, averages, the best parameters, counters.

    A new state is empty. `Flow.fit` fills it; a later call of `fit` with it resumes the training, as if there had been one
    call. A state can be copied and pickled. A copy resumes independently. `fit` updates the state only when it ends.

    Examples
    --------
    Training in two parts gives the same bits as one call:

    >>> import numpy as np, nvpflow
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 16, mask, random_state=0) for mask in ([1, 0], [0, 1])])
    >>> state = nvpflow.TrainingState()
    >>> history = flow.fit(x, max_iter=100, schedule="cosine", pause_after=20, state=state)
    >>> state.n_iter
    20
    >>> history = flow.fit(x, max_iter=100, schedule="cosine", state=state)
    >>> state.n_iter, len(history["train_nll"])
    (100, 80)
    """

    def __init__(self) -> None:
        # Epochs, the flow's config and the bytes of the core: one tuple, so that of two trainings that end at the same time
        # in two threads, the state is wholly that of one.
        self._kept: tuple[int, dict[str, Any], npt.NDArray[np.uint8]] | None = None

    @property
    def n_iter(self) -> int:
        """int: epochs so far."""
        return 0 if self._kept is None else self._kept[0]

    def copy(self) -> Self:
        """Copy the state.

        Returns
        -------
        TrainingState
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)  # nothing changes the bytes: trainings work on copies
        return other

    __copy__ = copy

    def _memory_for(self, flow: Flow) -> npt.NDArray[np.uint8]:
        """A copy of the bytes that the core resumes from, zeros if the state is empty.

        ValueError if they belong to a flow with other layers.
        """
        kept = self._kept
        if kept is None:
            return np.zeros(flow._train_state_size(), np.uint8)
        if kept[1] != flow.config():
            raise ValueError("state must be empty or of a training of such a flow, got that of a flow with other layers")
        return kept[2].copy()

    def _keep(self, flow: Flow, memory: npt.NDArray[np.uint8], n_iter: int) -> None:
        """Store the bytes that the core returned."""
        self._kept = n_iter, flow.config(), memory

    def __repr__(self) -> str:
        return f"<TrainingState after {self.n_iter} epochs>"
