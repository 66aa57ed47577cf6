"""
Classification
==============

`FlowClassifier` fits a density to each class. The colour is the probability of the second moon.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_moons

import nvpflow

X, y = make_moons(400, noise=0.25, random_state=0)
classifier = nvpflow.FlowClassifier(random_state=0).fit(X, y)

horizontal, vertical = np.linspace(-2, 3, 150), np.linspace(-1.5, 2, 120)
grid = np.stack(np.meshgrid(horizontal, vertical), axis=-1)
p = classifier.predict_proba(grid.reshape(-1, 2))[:, 1].reshape(grid.shape[:2])

figure, ax = plt.subplots(layout="constrained")
image = ax.pcolormesh(horizontal, vertical, p, cmap="RdBu_r", vmin=0, vmax=1, shading="gouraud")
ax.contour(horizontal, vertical, p, [0.1, 0.5, 0.9], colors="black", linewidths=0.8)
ax.scatter(*X.T, c=np.where(y == 1, "darkred", "darkblue"), s=8, edgecolors="white", linewidths=0.3)
ax.set_title(f"log-loss on fresh points: {classifier.log_loss(*make_moons(1000, noise=0.25, random_state=1)):.3f} nats")
figure.colorbar(image, label="probability")
