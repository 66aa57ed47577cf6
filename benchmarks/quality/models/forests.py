"""Adversarial random forests (Watson, Blesch, Kapar and Wright, 2023), of arfpy, with its own settings.

arfpy fits a density and samples it, but does not evaluate it: this is equation 4 of the article, a mean over trees of
truncated normal distributions in each leaf.
"""

import numpy as np
import pandas as pd
from arfpy import arf
from scipy.special import logsumexp
from scipy.stats import truncnorm

if not hasattr(np, "in1d"):  # arfpy 0.1.1 calls it; NumPy 2.4 has removed it
    np.in1d = np.isin  # noqa: NPY201


def adversarial_forest(x, seed):
    frame = pd.DataFrame(x, columns=[f"x{d}" for d in range(x.shape[1])])
    np.random.seed(seed)  # noqa: NPY002  arfpy draws from it
    forest = arf.arf(frame, verbose=False, random_state=seed)
    leaves = forest.forde()["cnt"]
    coverage = forest.bnds.drop_duplicates(["tree", "nodeid"]).set_index(["tree", "nodeid"])["cvg"]

    def log_prob(points):
        reached = forest.clf.apply(pd.DataFrame(points, columns=frame.columns))
        logs = [
            _log_tree(points, reached[:, tree], leaves[leaves["tree"] == tree], coverage[tree])
            for tree in range(forest.num_trees)
        ]
        return logsumexp(logs, axis=0) - np.log(forest.num_trees)

    return log_prob


def _log_tree(points, reached, leaves, coverage):
    """Log-density of one tree at points that reach these leaves; -inf in a leaf that has none, or no spread."""
    result = np.full(len(points), -np.inf)
    for leaf, parameters in leaves.groupby("nodeid"):
        here = reached == leaf
        if leaf not in coverage.index or not here.any():
            continue
        mean, deviation, low, high = (
            parameters.set_index("variable")[name].reindex([f"x{d}" for d in range(points.shape[1])]).to_numpy()
            for name in ("mean", "sd", "min", "max")
        )
        if (deviation > 0).all():
            bounds = (low - mean) / deviation, (high - mean) / deviation
            inside = np.clip(points[here], low, high)  # thresholds are rounded to float32
            result[here] = truncnorm.logpdf(inside, *bounds, mean, deviation).sum(axis=1) + np.log(coverage[leaf])
    return result
