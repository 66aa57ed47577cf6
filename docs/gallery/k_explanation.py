"""
Why a row is an outlier
=======================

How unusual each cell of a row is, given the others, and what would be usual there. Each value alone is usual here, but the
third one does not go with the first two.
"""

import numpy as np

import nvpflow
from nvpflow import plot

z = np.random.default_rng(0).normal(size=(1000, 4))
X = z @ [[1, 0.9, 0.8, 0], [0, 0.3, 0.2, 0], [0, 0, 0.3, 0], [0, 0, 0, 1]]
detector = nvpflow.FlowOutlierDetector(random_state=0).fit(X)

figure = plot.explanation(detector, [[1.2, 1.1, -1.0, 0.3]])
