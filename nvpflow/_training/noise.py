"""The noise that training adds to samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.statistics import location_and_scale
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data

__all__ = ["bandwidth"]

MOST_NOISE = 1.0  # in standard deviations of a mixture's components


def bandwidth(noise: float, data: Data, n: float, mixture: MixtureBase | None = None) -> Floats:
    """Standard deviations (D,) of the noise for n known samples. `noise` is the estimator's parameter.

    The power of n was measured on two moons. Silverman's power for two dimensions, -1/6, suits a kernel density estimate,
    which keeps its noise. A flow needs noise only to prevent spikes, and less with more samples. Noise wider than a mixture's
    components, in the harmonic mean of their variances, would blur what the mixture resolves.
    """
    deviation: Floats = noise * n**-0.45 * location_and_scale(data.x, data.weight)[1]
    if mixture is None:
        return deviation
    first = mixture._n_columns - mixture.data_dim  # those before are the context's
    inverse = np.linalg.inv(mixture.precision_factors[:, first:, first:])
    covariances = inverse @ inverse.transpose(0, 2, 1)  # of the samples, given the context
    variances: Floats = np.diagonal(covariances, axis1=1, axis2=2)
    widest: Floats = np.minimum(deviation, MOST_NOISE / np.sqrt(mixture.weights @ (1 / variances)))
    return widest
