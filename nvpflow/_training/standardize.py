"""The units in which an estimator trains.

They are the standard deviations of the samples, column by column or whitened. With a context they are those of the residuals
of a linear regression on the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from nvpflow._training.degenerate import CONSTANT
from nvpflow._training.margins import Margins
from nvpflow._training.origin import name_columns, origin_of, warn_of_coarse
from nvpflow._training.statistics import blocks, effective_size, holds_values, location_and_scale, moments
from nvpflow._typing import Bools, FloatDType, Floats
from nvpflow.layers import ActNorm, AdditiveCoupling, Layer, LULinear

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data

__all__ = ["Units"]

# Columns are tied where an eigenvalue of their correlations is below NARROW_TIE: those whose component of the eigenvector is
# above the root of the eigenvalue, which is the deviation from the tie, and above LEAST_OF_TIE.
NARROW_TIE, LEAST_OF_TIE = 0.02, 1e-3


class Units:
    """x = mean + deviation * (factor @ z + shift of the regression), for samples x and standardised samples z.

    Attributes
    ----------
    in_place : bool
        Whether z = x. The next four attributes have no meaning then.
    mean, deviation : ndarray, shape (D,)
    factor : ndarray, shape (D, D), or None
        Lower triangular. None: the identity.
    regression : AdditiveCoupling or None
        Adds a function of the standardised context. None: adds nothing.
    origin : ndarray of float64, shape (D,), or 0.0
        The layers map z to x - origin.
    margins : Margins or None
        x is what they make of mean + deviation * ...
    """

    margins: Margins | None = None

    def __init__(
        self,
        mean: Floats | None = None,
        deviation: Floats | None = None,
        factor: Floats | None = None,
        regression: AdditiveCoupling | None = None,
        origin: Floats | float = 0.0,
        *,
        dtype: FloatDType,
    ) -> None:
        self.in_place, self.factor = mean is None, factor
        self.mean: Floats = np.empty(0) if mean is None else mean
        self.deviation: Floats = np.empty(0) if deviation is None else deviation
        self.regression, self.origin, self.dtype = regression, origin, dtype

    @classmethod
    def of(
        cls,
        data: Data,
        standardize: bool,
        whiten: bool,
        dtype: FloatDType,
        n_apart: int = 0,
        margins: Margins | None = None,
        keeps_peaks: bool = False,
    ) -> Self:
        """Find the units of data with a standardised context, for flows of this dtype.

        `whiten`: include the Cholesky factor of the correlations. `n_apart`: the last columns of the context that the
        regression does not read. `margins`: of the columns, which come first. `keeps_peaks`: the regression leaves columns in
        which many samples share a value, since it would spread such a peak.
        """
        x, (mean, deviation, _) = data.x, location_and_scale(data.x, data.weight)
        constant = x.min(axis=0) == x.max(axis=0)
        if constant.any():  # such as those of the rows that are not held out
            raise ValueError(CONSTANT.format(name_columns(constant)))
        if not standardize:
            warn_of_coarse("X", mean, np.where(deviation > 0, deviation, np.inf), dtype)
            return cls(dtype=dtype)
        whitens = whiten and x.shape[1] > 1
        if not whitens:  # otherwise the start without whitening has warned already
            warn_of_coarse("X", mean, deviation, dtype)
        origin = origin_of(mean, deviation, dtype)
        if margins is not None:
            data = data._replace(x=margins.inverse(margins.spread(data.x))[0])
            mean, deviation, _ = location_and_scale(data.x, data.weight)
        units = cls(mean, deviation, origin=origin, dtype=dtype)
        if data.context is not None:
            units._regress(data, data.context, data.context.shape[1] - n_apart, keeps_peaks)
        if whitens:
            units._whiten(data)
        units.margins = margins
        return units

    @property
    def deviations(self) -> Floats | None:
        """Those by which the columns were divided, (D,). None if they are mapped in another way."""
        is_straight = not self.in_place and self.factor is None and self.regression is None and self.margins is None
        return self.deviation if is_straight else None

    @property
    def whole_deviation(self) -> Floats:
        """What columns that margins do not bend are divided by in all, (D,), but for a factor."""
        return self.deviation if self.margins is None else self.deviation * self.margins.scales

    def _regress(self, data: Data, context: Floats, n_read: int, keeps_peaks: bool) -> None:
        """Subtract a linear regression on the first columns of the context from the samples."""
        z = (data.x - self.mean) / self.deviation
        slopes = np.zeros((context.shape[1], z.shape[1]))
        if n_read:
            slopes[:n_read] = _ridge(z, context[:, :n_read], data)
        if keeps_peaks:
            peaked = np.array([holds_values(column) for column in z.T[:, :, np.newaxis]])
            slopes = _without_those_of(peaked, slopes, z, data.weight)
        left = moments(z - context @ slopes, data.weight)[1]
        left = np.maximum(left, 1e3 * np.finfo(self.dtype).eps)  # for columns that the context determines
        self.deviation = self.deviation * left
        self.regression = _linear_shift(slopes / left, self.dtype)

    def rescale(self, location: Floats, scale: Floats) -> None:
        """Take (z - location) / scale for z, in units without a factor."""
        self.mean, self.deviation = self.mean + self.deviation * location, self.deviation * scale
        if self.regression is not None:
            last = self.regression.net[-1]
            last.weight[:] = last.weight / scale[:, np.newaxis]

    def rotate(self, location: Floats, factor: Floats) -> None:
        """Take factor^-1 (z - location) for z, in units without a factor."""
        self.mean, self.factor = self.mean + self.deviation * location, factor

    def _whiten(self, data: Data) -> None:
        z = self.standardize(data.x, data.context).astype(np.float64)
        n, dim = z.shape
        weight = np.ones(n) if data.weight is None else data.weight
        correlation = (z * weight[:, None]).T @ z / weight.sum()
        # Shrink to the identity, and more with fewer samples, which exaggerate correlations.
        shrinkage = 0.1 * dim / (n + dim)
        correlation = (1 - shrinkage) * correlation + shrinkage * np.eye(dim)
        self.factor = np.linalg.cholesky(correlation)

    def standardize(self, x: Floats, context: Floats | None = None) -> Floats:
        """Map samples x (n, D) to z (n, D), given the standardised context, as training sees them; see `Margins.spread`."""
        if self.in_place:
            return x.astype(self.dtype, copy=False)
        x = x if self.margins is None else self.margins.spread(x)
        z = np.empty(x.shape, self.dtype)
        for rows in blocks(len(x)):
            z[rows] = self._standardize(x[rows], None if context is None else context[rows])
        return z

    def _standardize(self, x: Floats, context: Floats | None) -> Floats:
        """As `standardize`, of few rows, in float64."""
        x = x if self.margins is None else self.margins.inverse(x)[0]
        z = (x - self.mean) / self.deviation
        if self.regression is not None:
            z = self.regression.inverse(z, context)[0]
        return z if self.factor is None else np.linalg.solve(self.factor, z.T).T

    def log_slopes(self, x: Floats) -> Floats:
        """What to add to `log_det` at samples x (n, D), in nats, (n,): zeros without margins."""
        return np.zeros(len(x)) if self.margins is None else -self.margins.log_slopes(x)

    @property
    def log_det(self) -> float:
        """log|det dx/dz|, in nats, without `log_slopes`."""
        if self.in_place:
            return 0.0
        of_factor = 0.0 if self.factor is None else np.log(np.diag(self.factor)).sum()
        return float(np.log(self.deviation).sum() + of_factor)

    @property
    def n_parameters(self) -> int:
        """The number of parameters of the units."""
        if self.in_place:
            return 0
        dim, n_columns = len(self.mean), self.regression.context_dim if self.regression else 0
        return dim * (2 + n_columns) + (0 if self.factor is None else dim * (dim - 1) // 2)

    def layers(self) -> list[Layer]:
        """The layers that map z to x - origin."""
        if self.in_place:
            return []
        scale = ActNorm(len(self.mean), dtype=self.dtype)
        scale.log_scale[:], scale.bias[:] = np.log(self.deviation), self.mean - (0.0 if self.margins else self.origin)
        layers: list[Layer] = [scale] if self.regression is None else [self.regression.copy(), scale]
        context_dim = self.regression.context_dim if self.regression else 0
        layers += [] if self.margins is None else self.margins.layers(self.origin, context_dim)
        if self.factor is None:
            return layers
        rotation = LULinear(len(self.mean), dtype=self.dtype)
        diagonal = np.diag(self.factor)
        rotation.lu[:] = np.tril(self.factor / diagonal, -1) + np.diag(np.log(diagonal))
        return [rotation, *layers]

    @classmethod
    def from_layers(
        cls, layers: Sequence[Layer], standardize: bool, conditional: bool, dtype: FloatDType, origin: Floats | float = 0.0
    ) -> Self | None:
        """Undo `layers`. None if the layers are not those of units."""
        if bool(standardize) != bool(layers):
            return None
        if not layers:
            return cls(dtype=dtype)
        margins = Margins.from_layers(layers, origin, dtype)
        within = origin if margins is None else 0.0
        *others, scale = layers if margins is None else layers[: -margins.n_layers]
        last = others[-1] if others else None
        regression = last.copy() if isinstance(last, AdditiveCoupling) else None
        others = others[:-1] if regression else others
        rotations = [layer for layer in others if isinstance(layer, LULinear)]
        if not isinstance(scale, ActNorm) or not len(rotations) == len(others) < 2 or (regression is not None) != conditional:
            return None
        factor = None
        for layer in rotations:
            lu = layer.lu.astype(np.float64)
            factor = (np.tril(lu, -1) + np.eye(len(lu))) * np.exp(np.diag(lu))
        deviation = np.exp(scale.log_scale.astype(np.float64))
        units = cls(scale.bias.astype(np.float64) + within, deviation, factor, regression, origin, dtype=dtype)
        units.margins = margins
        return units


def _without_those_of(columns: Bools, slopes: Floats, z: Floats, weight: Floats | None) -> Floats:
    """Slopes (C, D) with zeros for some columns (D,) of samples z (n, D). Linear ties between columns stay as they are.

    The slopes of the columns that are tied to them change as little as that takes. Otherwise samples would leave the plane in
    which they lie: of a table with age = education + experience + 6 in all rows but one, 7 % of a fit's samples were still
    there, and held-out rows lost 5 nats.
    """
    if not columns.any() or columns.all():
        return np.where(columns, 0.0, slopes)
    deviation = np.maximum(moments(z, weight)[1], np.finfo(float).tiny)
    values, ties = np.linalg.eigh(np.cov((z / deviation).T, bias=True, aweights=weight))
    ties = np.where(np.abs(ties) > np.sqrt(np.maximum(values, LEAST_OF_TIE**2)), ties, 0.0)[:, values < NARROW_TIE]
    ties /= deviation[:, np.newaxis]
    kept = np.where(columns, 0.0, slopes)
    kept[:, ~columns] += slopes[:, columns] @ ties[columns] @ np.linalg.pinv(ties[~columns], LEAST_OF_TIE)
    return kept


def _ridge(z: Floats, context: Floats, data: Data) -> Floats:
    """Slopes (C, D) of a ridge regression of z on the context. The penalty, which may be infinite, minimises the generalised
    cross-validation error: Golub, Heath and Wahba (1979), "Generalized cross-validation as a method for choosing a good ridge
    parameter"."""
    context, n = context.astype(np.float64), effective_size(data)
    weight = np.full(len(z), n / len(z)) if data.weight is None else data.weight * (n / data.weight.sum())
    variances, directions = np.linalg.eigh((context * weight[:, None]).T @ context)
    variances = np.maximum(variances, n * np.finfo(np.float64).eps)
    products = directions.T @ ((context * weight[:, None]).T @ z)
    total = weight @ z**2

    def score(penalty: float) -> float:
        shares = variances / (variances + penalty)
        explained = (2 * shares - shares**2) / variances @ products**2
        left = np.maximum(total - explained, np.finfo(np.float64).eps * total)
        freedom = 1 - (1 + shares.sum()) / n
        # With too few degrees of freedom left, the fit is nearly exact, and the score means nothing.
        value: float = np.log(left / freedom**2).sum() if freedom >= 0.5 or penalty == np.inf else np.inf
        return value

    penalties = [*n * 10.0 ** np.arange(-6, 3), np.inf]
    best = min(penalties, key=score)
    slopes: Floats = directions @ (products / (variances[:, None] + best))
    return slopes


def _linear_shift(slopes: Floats, dtype: FloatDType) -> AdditiveCoupling:
    """The layer x = z + context @ slopes. Its hidden units are max(c, 0) and max(-c, 0) for each column c of the context."""
    n_columns, dim = slopes.shape
    layer = AdditiveCoupling(dim, 2 * n_columns, [0] * dim, context_dim=n_columns, dtype=dtype, random_state=0)
    first, last = layer.net
    first.weight[:], first.bias[:] = np.vstack([np.eye(n_columns), -np.eye(n_columns)]), 0
    last.weight[:], last.bias[:] = np.hstack([slopes.T, -slopes.T]), 0
    return layer
