"""aspire: a backend for its flows, found as ``Aspire(..., flow_backend="nvpflow")``."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any, Self, cast

import numpy as np

from nvpflow._validation.arguments import check_int, draw_seeds
from nvpflow._validation.arrays import as_array
from nvpflow.density import FlowDensity
from nvpflow.integrations._missing import not_installed
from nvpflow.integrations._normal_flow import NormalFlow

try:
    import array_api_compat.numpy as array_namespace
    from aspire.flows.base import Flow as AspireBase
    from aspire.history import FlowHistory
    from aspire.transforms import BaseTransform
except ModuleNotFoundError as error:
    raise not_installed("aspire", error) from None

__all__ = ["AspireFlow"]


class AspireFlow(AspireBase):
    """A flow of aspire over a `FlowDensity` with normal latent points.

    Parameters
    ----------
    dims : int
        Number of dimensions.
    device : optional
        None or "cpu".
    data_transform : aspire.transforms.BaseTransform, optional
        Applied before the flow; aspire passes one that makes bounded parameters unbounded.
    dtype : optional
        Of the flow: float32 or float64, as a NumPy dtype or a string. None: float32.
    **options
        Parameters of `FlowDensity`, other than `latent` and `n_models`: further arguments of ``Aspire``.

    Attributes
    ----------
    model : FlowDensity
        The density of transformed samples.
    xp : module
        The array namespace of results, NumPy's.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    Samples are drawn with fresh seeds of the generator that `random_state` begins, so that runs are repeatable.

    References
    ----------
    Williams (2025), "Accelerated sequential posterior inference via reuse for gravitational-wave analyses".

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.integrations.aspire import AspireFlow
    >>> flow = AspireFlow(2, max_iter=20, random_state=0)
    >>> history = flow.fit(np.random.default_rng(0).normal(size=(200, 2)))
    >>> x, log_prob = flow.sample_and_log_prob(5)
    >>> x.shape, log_prob.shape
    ((5, 2), (5,))
    """

    xp = array_namespace

    # Not **parameters: aspire passes the names of its parameters to an argument of that name.
    def __init__(self, dims: int, device: Any = None, data_transform: Any = None, dtype: Any = None, **options: Any) -> None:
        if device is not None and str(device) != "cpu":
            raise ValueError(f"device must be None or 'cpu', where nvpflow computes, got {device!r}")
        super().__init__(check_int("dims", dims, 1), device="cpu", data_transform=data_transform)
        if dtype is not None:
            name = getattr(dtype, "__name__", str(dtype))  # of NumPy, of PyTorch, or a string
            options["dtype"] = name.rpartition(".")[2]
        self._flow = NormalFlow(self.dims, options)
        (seed,) = draw_seeds(self.model.random_state, 1)
        self._rng = np.random.default_rng(seed)

    @property
    def model(self) -> FlowDensity:
        """FlowDensity: the density of transformed samples."""
        return self._flow.model

    def fit(self, x: Any, **parameters: Any) -> FlowHistory:
        """Fit the density to samples.

        Parameters
        ----------
        x : array_like, shape (n, D)
        **parameters
            Parameters of `FlowDensity` to change.

        Returns
        -------
        history : aspire.history.FlowHistory
            Mean negative log-densities of transformed samples, in nats.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid. An earlier fit is unchanged then.
        """
        self.model.set_params(**parameters)
        self._flow.fit(self.fit_data_transform(self._array("x", x)))
        history = self.model.history_
        return FlowHistory(list(history["train_nll"]), list(history.get("validation_nll", ())))

    def log_prob(self, x: Any, xp: ModuleType | None = None) -> Any:
        """Log-density of samples.

        Parameters
        ----------
        x : array_like, shape (n, D)
        xp : module, optional
            The array namespace of the result. Default: NumPy's.

        Returns
        -------
        log_prob : array, shape (n,)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        points, log_det = self.rescale(self._array("x", x))
        return self._out(self._flow.log_prob(points) + log_det, xp)

    def sample(self, n_samples: int, xp: ModuleType | None = None) -> Any:
        """Draw samples.

        Parameters
        ----------
        n_samples : int
        xp : module, optional
            The array namespace of the result. Default: NumPy's.

        Returns
        -------
        x : array, shape (n_samples, D)

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return self.sample_and_log_prob(n_samples, xp)[0]

    def sample_and_log_prob(self, n_samples: int, xp: ModuleType | None = None) -> tuple[Any, Any]:
        """Draw samples together with their log-densities.

        Parameters
        ----------
        n_samples : int
        xp : module, optional
            The array namespace of the results. Default: NumPy's.

        Returns
        -------
        x : array, shape (n_samples, D)
        log_prob : array, shape (n_samples,)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        points, log_prob = self._flow.sample_and_log_prob(n_samples, self._rng)
        x, log_det = self.inverse_rescale(np.asarray(points, np.float64))
        return self._out(x, xp), self._out(log_prob - log_det, xp)

    def forward(self, x: Any, xp: ModuleType | None = None) -> tuple[Any, Any]:
        """Map samples to normal latent points: the direction that aspire calls forward.

        Parameters
        ----------
        x : array_like, shape (n, D)
        xp : module, optional
            The array namespace of the results. Default: NumPy's.

        Returns
        -------
        z : array, shape (n, D)
        log_det : array, shape (n,)
            log|det dz/dx|, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        points, log_det = self.rescale(self._array("x", x))
        z, of_flow = self._flow.to_latent(points)
        return self._out(z, xp), self._out(of_flow + log_det, xp)

    def inverse(self, z: Any, xp: ModuleType | None = None) -> tuple[Any, Any]:
        """Map latent points to samples.

        Parameters
        ----------
        z : array_like, shape (n, D)
        xp : module, optional
            The array namespace of the results. Default: NumPy's.

        Returns
        -------
        x : array, shape (n, D)
            NaN in rows that are not finite.
        log_det : array, shape (n,)
            log|det dx/dz|, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        points, of_flow = self._flow.to_data(self._array("z", z))
        x, log_det = self.inverse_rescale(np.asarray(points, np.float64))
        return self._out(x, xp), self._out(of_flow + log_det, xp)

    def save(self, h5_file: Any, path: str = "flow") -> None:
        """Write the fitted flow into an open HDF5 file.

        Parameters
        ----------
        h5_file : h5py.File or h5py.Group
        path : str, default "flow"
            Of the group to create.

        Raises
        ------
        NotFittedError
            If the flow is not fitted. Nothing is written then.
        """
        content = io.BytesIO()
        self.model.save(content)
        group = h5_file.create_group(path)
        group.attrs["dims"] = self.dims
        group.create_dataset("model", data=np.frombuffer(content.getvalue(), np.uint8))
        self.data_transform.save(group, "data_transform")

    @classmethod
    def load(cls, h5_file: Any, path: str = "flow") -> Self:
        """Read a flow from an open HDF5 file.

        Parameters
        ----------
        h5_file : h5py.File or h5py.Group
        path : str, default "flow"
            Of the group that `save` created.

        Returns
        -------
        AspireFlow
        """
        from nvpflow._io.load import load

        group = h5_file[path]
        flow = cls(int(group.attrs["dims"]), data_transform=BaseTransform.load(group, "data_transform", strict=False))
        flow._flow.model = cast(FlowDensity, load(io.BytesIO(group["model"][()].tobytes())))  # which `save` wrote
        return flow

    def _array(self, name: str, points: Any) -> np.ndarray[Any, Any]:
        """The points (n, D) as an ndarray, from any namespace in CPU memory."""
        array = as_array(name, points)
        if array.ndim != 2 or array.shape[1] != self.dims:
            raise ValueError(f"{name} must have shape (n, {self.dims}), got {array.shape}")
        return array

    @staticmethod
    def _out(array: Any, xp: ModuleType | None) -> Any:
        return np.asarray(array) if xp is None else xp.asarray(np.asarray(array))
