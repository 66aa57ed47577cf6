"""
Training curves
===============

The negative log-likelihood of training and held-out samples after each epoch. The model keeps the parameters that did best on
the held-out samples. No model can have a lower expected value on fresh points than the entropy.
"""

from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot
from nvpflow.datasets import moons_entropy

X, _ = make_moons(1000, noise=0.1, random_state=0)
model = nvpflow.FlowDensity(base="normal", random_state=0).fit(X)

figure = plot.training(model, entropy=moons_entropy(0.1))
