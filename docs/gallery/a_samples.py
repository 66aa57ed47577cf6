"""
Data beside samples
===================

Fit a density to points in the plane and draw new points from it. If the model is good, the two panels look alike.
"""

from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot

X, _ = make_moons(1000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(random_state=0).fit(X)

figure = plot.samples(X, model.sample(1000))
