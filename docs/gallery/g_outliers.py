"""
Outliers
========

Points with a low density are outliers, even if each of their coordinates alone is usual, as between the moons.
"""

import numpy as np
from sklearn.datasets import make_moons

import nvpflow
from nvpflow import plot

X, _ = make_moons(1000, noise=0.1, random_state=0)
detector = nvpflow.FlowOutlierDetector(contamination=0.01, random_state=0).fit(X)

rng = np.random.default_rng(1)
usual, _ = make_moons(60, noise=0.1, random_state=2)
new = np.concatenate([usual, rng.uniform([-1.5, -1], [2.5, 1.5], size=(30, 2))])
outlier = detector.predict(new) == -1

figure = plot.density(detector, limits=((-2, 3), (-1.3, 1.8)))
ax = figure.axes[0]
ax.plot(*new[~outlier].T, "o", color="white", mec="black", label="inliers")
ax.plot(*new[outlier].T, "X", color="red", mec="white", ms=9, label="outliers")
ax.legend(loc="lower right")
ax.set_title(f"threshold: {detector.offset_:.2f} nats")
