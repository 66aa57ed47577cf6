"""The units in which an estimator trains: those of the samples' standard deviations, column by column or whitened."""

import numpy as np

from nvpflow._data import moments, warn_of_coarse_columns
from nvpflow.layers import ActNorm, LULinear

__all__ = ["Units"]


class Units:
    """x = mean + deviation * (factor @ z) for samples x and standardised ones z; factor is lower triangular.

    Attributes
    ----------
    mean, deviation : ndarray, shape (D,), or None
        None: the samples' own units.
    factor : ndarray, shape (D, D), or None
        None: the identity.
    """

    def __init__(self, mean=None, deviation=None, factor=None, dtype=np.dtype(np.float32)):
        self.mean, self.deviation, self.factor, self.dtype = mean, deviation, factor, dtype

    @classmethod
    def of(cls, data, standardize, whiten):
        """Those of the data; `whiten`: by the Cholesky factor of their correlations, too."""
        x, (mean, deviation) = data.x, moments(data.x, data.weight)
        if not standardize:
            return cls(dtype=x.dtype)
        constant = np.flatnonzero(x.min(axis=0) == x.max(axis=0))
        if len(constant):
            raise ValueError(
                f"X must have no constant column, got one in column(s) {', '.join(map(str, constant[:10]))}: "
                "a constant has no density"
            )
        if not whiten or x.shape[1] == 1:
            warn_of_coarse_columns("X", x, mean, deviation, stacklevel=6)
            return cls(mean, deviation, None, x.dtype)
        z = (x - mean) / deviation
        n, dim = z.shape
        weight = np.ones(n) if data.weight is None else data.weight
        correlation = (z * weight[:, None]).T @ z / weight.sum()
        # A little of the identity, the more the fewer samples there are: few samples exaggerate correlations.
        shrinkage = 0.1 * dim / (n + dim)
        correlation = (1 - shrinkage) * correlation + shrinkage * np.eye(dim)
        return cls(mean, deviation, np.linalg.cholesky(correlation), x.dtype)

    def standardize(self, x):
        """z of x, both (n, D)."""
        if self.mean is None:
            return x
        z = (x - self.mean) / self.deviation
        return (z if self.factor is None else np.linalg.solve(self.factor, z.T).T).astype(self.dtype)

    @property
    def log_det(self):
        """log|det dx/dz|, in nats."""
        if self.mean is None:
            return 0.0
        of_factor = 0.0 if self.factor is None else np.log(np.diag(self.factor)).sum()
        return float(np.log(self.deviation).sum() + of_factor)

    def layers(self):
        """The layers that take z to x."""
        if self.mean is None:
            return []
        scale = ActNorm(len(self.mean), dtype=self.dtype)
        scale.log_scale[:], scale.bias[:] = np.log(self.deviation), self.mean
        if self.factor is None:
            return [scale]
        rotation = LULinear(len(self.mean), dtype=self.dtype)
        diagonal = np.diag(self.factor)
        rotation.lu[:] = np.tril(self.factor / diagonal, -1) + np.diag(np.log(diagonal))
        return [rotation, scale]

    @classmethod
    def from_layers(cls, layers, standardize, dtype):
        """The units that such layers stand for; None if they are not such layers."""
        if bool(standardize) != bool(layers):
            return None
        if not layers:
            return cls(dtype=dtype)
        *rotation, scale = layers
        if not isinstance(scale, ActNorm) or len(rotation) > 1 or not all(isinstance(r, LULinear) for r in rotation):
            return None
        factor = None
        for layer in rotation:
            lu = layer.lu.astype(np.float64)
            factor = (np.tril(lu, -1) + np.eye(len(lu))) * np.exp(np.diag(lu))
        return cls(scale.bias.astype(np.float64), np.exp(scale.log_scale.astype(np.float64)), factor, dtype)
