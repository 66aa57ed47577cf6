"""Do classifiers tell held-out rows from samples? Lopez-Paz and Oquab (2017), "Revisiting classifier two-sample tests"."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.diagnostics.report import TwoSampleTest

__all__ = ["MOST_ROWS", "two_sample_tests"]

MOST_ROWS = 2000  # of either kind
N_FOLDS, N_PERMUTATIONS = 5, 199
MOST_PRODUCTS = 1000  # of columns, as features of the ridge regression
FAR = 5.0  # standard deviations, to which the columns of the ridge regression are clipped


def two_sample_tests(rows: Floats, samples: Floats, rng: np.random.Generator) -> tuple[TwoSampleTest, ...]:
    """Test rows (n, F) against as many samples; those in the same place may share columns, such as the context."""
    n = len(rows)
    both = _whitened(np.concatenate([rows, samples]))
    # A row and the sample in its place are exchangeable if the model is right, so labels are swapped in pairs. The AUCs of
    # folds are correlated: their errors by Mann and Whitney (1947), as if independent, were too small by a factor of 1.4.
    is_first = np.hstack([np.ones((n, 1), bool), rng.random((n, N_PERMUTATIONS)) < 0.5])
    labels = np.concatenate([is_first, ~is_first]).astype(np.float64)
    fold = np.tile(rng.permutation(n) % N_FOLDS, 2)  # pairs stay together
    return tuple(
        _test(name, both, labels, fold, score) for name, score in (("ridge regression", _ridge), ("neighbours", _neighbours))
    )


def _test(
    name: str, x: Floats, labels: Floats, fold: Ints, score: Callable[[Floats, Floats, Floats], Floats]
) -> TwoSampleTest:
    """The mean AUC over folds, beside those for swapped labels: the first column of labels (2n, 1 + B) has the true ones."""
    of_folds = []
    for k in range(N_FOLDS):
        test = fold == k
        scores = score(x[~test], labels[~test], x[test])
        of_folds.append([_auc(*columns) for columns in zip(scores.T, labels[test].T)])
    auc, *swapped = np.mean(of_folds, axis=0).tolist()
    p_value = (1 + sum(other >= auc for other in swapped)) / (1 + len(swapped))
    return TwoSampleTest(name, len(x) // 2, auc, float(np.std(swapped)), p_value)


def _auc(scores: Floats, label: Floats) -> float:
    """The probability that a point with label 1 has a higher score than one with label 0; ties count half."""
    ones, zeros = scores[label == 1], np.sort(scores[label == 0])
    below, upto = (np.searchsorted(zeros, ones, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(zeros)))


def _whitened(x: Floats) -> Floats:
    """Uncorrelated columns of unit deviation; directions without any spread are left out."""
    x = x - x.mean(axis=0)
    scale = x.std(axis=0)
    x = x[:, scale > 0] / scale[scale > 0]
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    kept = values > 1e-10 * values.max(initial=0)
    white: Floats = x @ (vectors[:, kept] / np.sqrt(values[kept]))
    return white


def _ridge(x: Floats, labels: Floats, points: Floats) -> Floats:
    """Ridge regression of the labels (n, B) on columns, squares and products."""
    features = _features(x)
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1
    z = (features - mean) / scale
    gram = z.T @ z + z.shape[1] * np.eye(z.shape[1])
    found: Floats = (_features(points) - mean) / scale @ np.linalg.solve(gram, z.T @ (labels - labels.mean(axis=0)))
    return found


def _features(x: Floats) -> Floats:
    x = np.clip(x, -FAR, FAR)
    i, j = np.triu_indices(x.shape[1])
    return np.hstack([x, x**2 if len(i) > MOST_PRODUCTS else x[:, i] * x[:, j]])


def _neighbours(x: Floats, labels: Floats, points: Floats) -> Floats:
    """The number of labels 1 among the nearest points."""
    k = min(len(x) - 1, max(5, round(math.sqrt(len(x)) / 2)))
    squares = (x**2).sum(axis=1) - 2 * points @ x.T
    found: Floats = sum(labels[nearest] for nearest in np.argpartition(squares, k, axis=1)[:, :k].T)
    return found
