"""
Is the fit good?
================

A check on held-out rows: the ranks of their values among samples of the model, with bands that hold those of a right model,
the coverage of intervals, and log-likelihoods beside those of simple models. The held-out rows of this example are spread a
little wider than the training rows in one column.
"""

import numpy as np

import nvpflow
from nvpflow import plot

z = np.random.default_rng(0).normal(size=(2000, 4))
X = z @ [[1, 0.9, 0.8, 0], [0, 0.3, 0.2, 0], [0, 0, 0.3, 0], [0, 0, 0, 1]]
model = nvpflow.FlowDensity(random_state=0).fit(X[:1000])

report = model.check(X[1000:] * [1, 1, 1, 1.2], X_train=X[:1000])
print(report)

figure = plot.diagnostics(report)
