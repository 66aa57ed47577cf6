"""The start of flows over a `StudentTBase`: location, scale and degrees of freedom of each column."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._training.statistics import effective_size, moments, quantiles
from nvpflow._typing import Floats
from nvpflow.student_t_base import StudentTBase

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.standardize import Units

__all__ = ["STUDENT_T", "fit_student_t", "heavy_tailed_units", "student_t_noise", "student_t_of"]

STUDENT_T = "student_t"  # the value of `base`
CANDIDATES = (0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0, 200.0)  # degrees of freedom; training refines them
STEPS, MOST_ROWS, N_BETWEEN = 50, 10_000, 9
# Of the 0.9-quantile of distances from the median: the scale of a column in which most values are equal would fall to 0.
LEAST_SCALE = 0.02
DF_OF_SCATTER, SHRINKAGE = 3.0, 1e-3


def fit_student_t(x: Floats, weight: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Location, scale and degrees of freedom (D,) of each column of x (n, D), by maximum likelihood.

    The first two come from expectation-maximisation at each of some degrees of freedom: Lange, Little and Taylor (1989),
    "Robust statistical modeling using the t distribution". Many rows are represented by every k-th one.
    """
    some = slice(None, None, max(1, len(x) // MOST_ROWS))
    x = x[some].astype(np.float64)
    share = np.full(len(x), 1 / len(x)) if weight is None else weight[some] / weight[some].sum(dtype=np.float64)
    columns = [_fit_column(column, share) for column in x.T]
    location, scale, df = np.array(columns).T
    return location, scale, df


class _Fits(NamedTuple):
    """Location, scale and mean log-density (K,) of a column with each of some degrees of freedom."""

    df: Floats
    location: Floats
    scale: Floats
    log_prob: Floats


def _fit_column(x: Floats, share: Floats) -> tuple[float, float, float]:
    median = float(quantiles(x[:, np.newaxis], (0.5,), share)[0, 0])
    low, high = quantiles(np.abs(x - median)[:, np.newaxis], (0.5, 0.9), share)[:, 0]
    unit = float(low or high or moments(x[:, np.newaxis], share)[1][0])
    u, least = (x - median) / unit, max(LEAST_SCALE * float(high) / unit, 1e-6)
    fits = _maximize(u, share, np.array(CANDIDATES), least)
    best = int(np.argmax(fits.log_prob))
    around = CANDIDATES[max(best - 1, 0)], CANDIDATES[min(best + 1, len(CANDIDATES) - 1)]
    fits = _maximize(u, share, np.geomspace(*around, N_BETWEEN), least)
    best = int(np.argmax(fits.log_prob))
    return median + unit * float(fits.location[best]), unit * float(fits.scale[best]), float(fits.df[best])


def _maximize(u: Floats, share: Floats, df: Floats, least: float) -> _Fits:
    column, weight = u[:, np.newaxis], share[:, np.newaxis]
    location, scale = np.zeros(len(df)), np.ones(len(df))
    for _ in range(STEPS):
        pull = (df + 1) / (df + ((column - location) / scale) ** 2) * weight
        location = (pull * column).sum(axis=0) / pull.sum(axis=0)
        # Divided by the sum of the weights: Kent, Tyler and Vardi (1994), whose steps are longer, with the same limit.
        scale = np.maximum(np.sqrt((pull * (column - location) ** 2).sum(axis=0) / pull.sum(axis=0)), least)
    return _Fits(df, location, scale, share @ _log_density((column - location) / scale, df) - np.log(scale))


def _log_density(z: Floats, df: Floats) -> Floats:
    """Log-densities of z (n, K), each column with degrees of freedom of its own."""
    log_density: Floats = _constants(tuple(df)) - (df + 1) / 2 * np.log1p(z**2 / df)
    return log_density


@cache
def _constants(df: tuple[float, ...]) -> Floats:
    """log p(0) with each of some degrees of freedom."""
    origin = np.zeros((1, 1))
    return np.array([StudentTBase(1, number, dtype="float64").log_prob(origin)[0] for number in df])


def student_t_of(z: Floats, weight: Floats | None) -> StudentTBase:
    """The base of standardised samples z (n, D)."""
    return StudentTBase(z.shape[1], fit_student_t(z, weight)[2], dtype=z.dtype)


def heavy_tailed_units(units: Units, data: Data, rotate: bool = True) -> Units:
    """Change units, which are standard deviations, to the locations and scales of t distributions.

    `rotate`: also undo correlations, if the likelihood of the columns as independent ones gains by more than the parameters do
    by chance: Akaike (1974), "A new look at the statistical model identification".
    """
    if units.in_place:
        return units
    location, scale, df = fit_student_t(units.standardize(data.x, data.context), data.weight)
    units.rescale(location, scale)
    dim = len(df)
    if not rotate or dim == 1:
        return units
    z = units.standardize(data.x, data.context).astype(np.float64)
    share = np.full(len(z), 1 / len(z)) if data.weight is None else data.weight / data.weight.sum(dtype=np.float64)
    factor = np.linalg.cholesky(_scatter(z, share))
    rotated = np.linalg.solve(factor, z.T).T
    location, scale, own_df = fit_student_t(rotated, data.weight)
    factor = factor * scale
    gain = share @ (_log_density((rotated - location) / scale, own_df) - _log_density(z, df)).sum(axis=1)
    if gain - np.log(np.diag(factor)).sum() > dim * (dim - 1) / 2 / effective_size(data):
        units.rotate(factor @ (location / scale), factor)
    return units


def _scatter(z: Floats, share: Floats) -> Floats:
    """The scatter matrix (D, D) of samples about 0, as that of a t distribution: it exists where variances do not."""
    dim = z.shape[1]
    scatter: Floats = np.eye(dim)
    for _ in range(STEPS):
        distance = np.einsum("ni,ni->n", z @ np.linalg.inv(scatter), z)
        pull = (DF_OF_SCATTER + dim) / (DF_OF_SCATTER + distance) * share
        scatter = (1 - SHRINKAGE) * (z.T * pull) @ z / pull.sum() + SHRINKAGE * np.eye(dim)
    return scatter


def student_t_noise(noise: float, data: Data, n: float) -> Floats:
    """`bandwidth` in scales of t distributions, since the standard deviation may be far larger than most of the samples."""
    deviation: Floats = noise * n**-0.45 * fit_student_t(data.x, data.weight)[1]
    return deviation
