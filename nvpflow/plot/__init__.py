"""Figures of flows: samples, densities, what every layer does, latent space and training curves.

Every function draws on the given matplotlib axes, or makes a new figure outside of pyplot. A notebook shows the figure if
it is the last value of a cell, ``figure.savefig(path)`` writes it, and it needs no closing. Figures need matplotlib
(``pip install nvpflow[plot]``), which is imported for the first one.

    samples     data beside samples, 1-D or 2-D
    corner      data over samples, any dimension: histograms and all pairs of columns
    density     the density as a curve, 1-D, or the log-density as an image, 2-D
    contours    the regions that hold 50 %, 80 %, ... of the probability, 1-D or 2-D
    evolution   points on their way from the base through the layers, 1-D or 2-D
    animation   the same as a film
    latent      do the latent points follow the base density? any dimension
    training    training curves
    explanation why a row is an outlier
    diagnostics the report of `FlowDensity.check`

A model is a `Flow`, a `FlowEnsemble`, a fitted `FlowDensity` or a fitted `FlowOutlierDetector`. evolution, animation and
latent need one flow.
"""

from nvpflow.plot._density import contours, density
from nvpflow.plot._diagnostics import diagnostics
from nvpflow.plot._explanation import explanation
from nvpflow.plot._latent import latent
from nvpflow.plot._layers import animation, evolution
from nvpflow.plot._samples import corner, samples
from nvpflow.plot._training import training

__all__ = [
    "animation",
    "contours",
    "corner",
    "density",
    "diagnostics",
    "evolution",
    "explanation",
    "latent",
    "samples",
    "training",
]
