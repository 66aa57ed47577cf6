"""
Are the latent points normal?
=============================

If the model is right, latent points of fresh data follow the base density. Each dimension gets a histogram and a QQ plot.
With a probability of 95 %, all quantiles of one dimension lie in the grey band of a model that is right.
"""

from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot

X, _ = make_moons(5000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(random_state=0).fit(X)
fresh, _ = make_moons(500, noise=0.1, random_state=1)

figure = plot.latent(model, fresh)
