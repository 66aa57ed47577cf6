"""
Regions of highest density
==========================

The smallest regions that hold 50, 80, 95 and 99 % of the probability. The legend compares each share with the share of the
data in the region: the two are close if the model is right.
"""

from sklearn.datasets import make_circles

import nvpflow
from nvpflow import plot

X, _ = make_circles(2000, noise=0.08, factor=0.4, random_state=0)
model = nvpflow.FlowDensity(random_state=0).fit(X)
fresh, _ = make_circles(1000, noise=0.08, factor=0.4, random_state=1)

figure = plot.contours(model, fresh)
