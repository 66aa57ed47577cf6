"""
Regression
==========

`FlowRegressor` fits the density of y given X: its mean and its quantiles follow two branches and a noise that grows.
"""

import numpy as np
from matplotlib import pyplot as plt

import nvpflow

rng = np.random.default_rng(0)
x = rng.uniform(0, 4, size=800)
branch = np.where(x > 2, rng.choice([-1, 1], 800) * (x - 2), 0)
y = np.sin(2 * x) + branch + 0.1 * (1 + x) * rng.normal(size=800)
regressor = nvpflow.FlowRegressor(random_state=0).fit(x[:, None], y)

line = np.linspace(0, 4, 200)[:, None]
q = regressor.predict_quantiles(line, [0.05, 0.25, 0.75, 0.95])

figure, ax = plt.subplots(layout="constrained")
ax.fill_between(line[:, 0], q[:, 0], q[:, 3], color="tab:blue", alpha=0.2, label="90 %")
ax.fill_between(line[:, 0], q[:, 1], q[:, 2], color="tab:blue", alpha=0.3, label="50 %")
ax.plot(line, regressor.predict(line), color="tab:blue", label="mean")
ax.plot(x, y, ".", color="black", ms=3, alpha=0.5)
ax.legend(loc="lower left")
