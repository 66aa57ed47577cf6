"""What samplers need of a flow: fitted again and again, with latent points of N(0, I), and log-determinants both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Seed
from nvpflow._validation.arrays import as_array
from nvpflow.density import FlowDensity

__all__ = ["NormalFlow"]


class NormalFlow:
    """A `FlowDensity` with normal latent points.

    Parameters
    ----------
    data_dim : int
    parameters : dict
        Of `FlowDensity`. "latent" and "n_models" cannot be among them.

    Attributes
    ----------
    model : FlowDensity
    data_dim : int
    """

    def __init__(self, data_dim: int, parameters: dict[str, Any]) -> None:
        fixed = {"latent": "normal", "n_models": 1}
        refused = sorted(fixed.keys() & parameters)
        if refused:
            raise ValueError(
                f"parameters must not have {', '.join(refused)}: samplers need one flow with normal latent points"
            )
        self.model, self.data_dim = FlowDensity(**parameters, latent="normal"), data_dim

    def fit(self, x: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Fit to samples (n, D) with weights (n,)."""
        self.check("x", x)
        self.model.fit(x, sample_weight=weights)

    def losses(self) -> dict[str, list[float]]:
        """The lists "loss" and "val_loss" of the fit: mean negative log-densities, in nats."""
        history = self.model.history_
        return {"loss": list(history["train_nll"]), "val_loss": list(history.get("validation_nll", ()))}

    def to_latent(self, x: ArrayLike) -> tuple[Floats, Floats]:
        """Latent points (n, D) of data, and log|det dz/dx| (n,)."""
        found: tuple[Floats, Floats] = self.model.transform(self.check("x", x), return_log_det=True)
        return found

    def to_data(self, z: ArrayLike) -> tuple[Floats, Floats]:
        """Data (n, D) of latent points, and log|det dx/dz| (n,). NaN and -inf in rows that are not finite."""
        points = self.check("z", z)
        x, log_det = np.full(points.shape, np.nan), np.full(len(points), -np.inf)
        good = np.isfinite(points).all(axis=1)
        if good.any():
            x[good], log_det[good] = self.model.inverse_transform(points[good], return_log_det=True)
        return x, log_det

    def log_prob(self, x: ArrayLike) -> Floats:
        """Log-densities (n,) of data, in nats."""
        return self.model.score_samples(self.check("x", x))

    def sample_and_log_prob(self, n_samples: int, random_state: Seed) -> tuple[Floats, Floats]:
        """Samples (n, D) and their log-densities (n,)."""
        return self.model.sample_and_log_prob(n_samples, random_state)

    def check(self, name: str, points: ArrayLike) -> Floats:
        """Points as an array (n, D) of real numbers."""
        array: Floats = as_array(name, points)
        if array.ndim != 2 or array.shape[1] != self.data_dim:
            raise ValueError(f"{name} must have shape (n, {self.data_dim}), got {array.shape}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
        return array
