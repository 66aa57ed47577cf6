"""
Four models of the same data
============================

The log-density that four models learn from 5000 points on two circles. The title gives the mean log-density of
5000 fresh points: higher is better.
"""

from matplotlib.figure import Figure
from sklearn.datasets import make_circles

import nvpflow
from nvpflow import plot

X, _ = make_circles(5000, noise=0.05, factor=0.5, random_state=0)
fresh, _ = make_circles(5000, noise=0.05, factor=0.5, random_state=1)

models = {
    "additive, normal base": nvpflow.FlowDensity(coupling="additive", base="normal", random_state=0),
    "affine, normal base": nvpflow.RealNVP(random_state=0),
    "splines, normal base": nvpflow.FlowDensity(base="normal", random_state=0),
    "splines, mixture base": nvpflow.FlowDensity(random_state=0),
}

figure = Figure(figsize=(9, 8.5), layout="constrained")
for ax, (name, model) in zip(figure.subplots(2, 2).flat, models.items()):
    model.fit(X)
    plot.density(model, limits=((-1.5, 1.5), (-1.5, 1.5)), axes=ax)
    ax.set_title(f"{name}: {model.score(fresh):.2f} nats")
