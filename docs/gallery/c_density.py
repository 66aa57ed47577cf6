"""
Learned density beside the exact one
====================================

The exact density of the two moons is known, so the error of a model can be seen. Logarithms show the tails and the
gaps between the modes, where densities are small.
"""

from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot
from nvpflow.datasets import moons_log_density

X, _ = make_moons(5000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(random_state=0).fit(X)

figure = plot.density(model, exact=moons_log_density)
