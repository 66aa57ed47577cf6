"""The area under the ROC curve of PyOD's detectors and of ours, on sets of known outliers.

Detectors are fitted to all rows without labels, as in PyOD's own benchmarks; the area is that of the same rows.
"""

import warnings

import numpy as np
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.iforest import IForest
from pyod.models.kde import KDE
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from report import Clock, options, table
from sklearn.datasets import load_breast_cancer, load_wine, make_moons
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from nvpflow.integrations.pyod import FlowDetector


def moons(rng):
    """1000 points of two moons, and 50 spread evenly over the square around them."""
    inside = make_moons(1000, noise=0.1, random_state=int(rng.integers(2**31)))[0]
    outside = rng.uniform(inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5, size=(50, 2))
    return np.r_[inside, outside], np.r_[np.zeros(1000), np.ones(50)]


def one_class(load, inside, share):
    """All rows of some classes, and rows of the others as outliers."""

    def draw(rng):
        X, y = load(return_X_y=True)
        normal, other = X[np.isin(y, inside)], X[~np.isin(y, inside)]
        other = other[rng.permutation(len(other))[: round(share * len(normal))]]
        X = np.r_[normal, other]
        return X[:, X.std(axis=0) > 0], np.r_[np.zeros(len(normal)), np.ones(len(other))]

    return draw


SETS = {
    "moons": moons,
    "breast cancer": one_class(load_breast_cancer, [1], 0.1),
    "wine": one_class(load_wine, [0, 1], 0.08),
}
DETECTORS = {
    "FlowDetector": lambda seed: FlowDetector(random_state=seed),
    "GMM, 5 components": lambda seed: GMM(n_components=5, random_state=seed),
    "KDE, bandwidth 0.3": lambda seed: KDE(bandwidth=0.3),
    "KNN": lambda seed: KNN(),
    "LOF": lambda seed: LOF(),
    "IForest": lambda seed: IForest(random_state=seed),
    "ECOD": lambda seed: ECOD(),
    "COPOD": lambda seed: COPOD(),
}


def measure(make, draw, seeds):
    areas, seconds = [], []
    for seed in range(seeds):
        X, y = draw(np.random.default_rng(seed))
        detector, clock = make(seed), Clock()
        with clock:
            detector.fit(StandardScaler().fit_transform(X))
        areas.append(roc_auc_score(y, detector.decision_scores_))
        seconds.append(clock.seconds)
    return areas, seconds


def main():
    chosen = options(__doc__)
    warnings.simplefilter("ignore")
    rows = {}
    for name, make in DETECTORS.items():
        results = {of: measure(make, draw, chosen.seeds) for of, draw in SETS.items()}
        rows[name] = {of: areas for of, (areas, _) in results.items()}
        rows[name]["seconds, all"] = np.sum([seconds for _, seconds in results.values()], axis=0)
    table(f"PyOD: areas under the ROC curve, {chosen.seeds} seeds", rows)


if __name__ == "__main__":
    main()
