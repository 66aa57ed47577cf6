"""Adam, for training loops of one's own."""

import numpy as np

from nvpflow import _core
from nvpflow._arrays import as_array
from nvpflow._checks import check_real
from nvpflow._typing import ArrayLike, Floats

__all__ = ["Adam"]


class Adam:
    """The optimiser of `Flow.fit`, for losses that are not a likelihood.

    Parameters
    ----------
    parameters : ndarray
        What to optimise, such as ``flow.parameters``: contiguous, writeable, float32 or float64. Updated in place.
    learning_rate : float, default 1e-3
        > 0, also in the dtype of the parameters. May be changed between steps.
    beta_1, beta_2 : float, default 0.9 and 0.999
        Decay of the first and second moment estimates, in [0, 1).
    epsilon : float, default 1e-8
        > 0, also in the dtype of the parameters: it keeps the step of a parameter without gradient from being 0 / 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type, or outside of its range.

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
        as_array("parameters", parameters)  # none masked
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
        """float: what is added to the root of the second moments."""
        return self._epsilon

    def step(self, grad: ArrayLike) -> None:
        """Update the parameters in place.

        Parameters
        ----------
        grad : array_like, the shape of the parameters

        Raises
        ------
        TypeError, ValueError
            If grad holds no real numbers, its shape is wrong or a value is not finite; nothing has changed then.
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
