"""
A Gaussian becomes two moons
============================

Follow the same points through every layer of a flow. Each point keeps the colour of the place where it starts.
`nvpflow.plot.animation` shows the same as a film.
"""

from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot

X, _ = make_moons(1000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(n_layers=8, base="normal", n_init=2, random_state=0).fit(X)

figure = plot.evolution(model)
