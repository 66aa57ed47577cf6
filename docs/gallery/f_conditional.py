"""
A density that depends on a context
===================================

Fit p(x | c), where c is the hour of the day. Mean and spread of x change with the hour, and in the evening x has
two clusters. Each panel shows the density at one hour.
"""

import numpy as np
from matplotlib.figure import Figure

import nvpflow
from nvpflow import plot

rng = np.random.default_rng(0)
hour = rng.uniform(0, 24, size=(4000, 1))
sign = rng.choice([-1, 1], size=hour.shape)
x = np.sin(2 * np.pi * hour / 24) + sign * hour / 12 + 0.3 * rng.normal(size=hour.shape)

model = nvpflow.FlowDensity(random_state=0).fit(x, context=hour)

figure = Figure(figsize=(9, 3), layout="constrained")
for ax, at in zip(figure.subplots(1, 3), (2, 10, 20)):
    near = np.abs(hour[:, 0] - at) < 0.5
    plot.density(model, data=x[near], limits=(-4, 4), context=[at], axes=ax)
    ax.set(title=f"{at}:00", xlabel="x", ylim=(0, 1.8))
    ax.legend(fontsize="small", frameon=False)
