"""A tree of categories: every column depends on at most one other column.

Source: Chow and Liu (1968), "Approximating discrete probability distributions with dependence trees". Dependences are
judged by leaving out rows instead of by their empirical information, which grows with the number of values.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.supports._combinations import Combinations
from nvpflow.supports._latent_classes import draw_columns

__all__ = ["Tree", "fit_tree"]

# Pseudo-counts of a row of a table, which has the margin as its prior.
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
MOST_CELLS = 1_000_000  # of a table of two columns
ROWS = 2000  # to sum over missing values at once


class Tree:
    """p(c) = prod_j p(c_j | c_parent(j)), with tables (N(parent, j) + b p(j)) / (N(parent) + b).

    Parameters
    ----------
    known : Combinations
        The rows that are counted.
    margins : list of ndarray of float64, shapes (V_j,)
        Probabilities of the values of each column.
    parents : sequence of int, length K
        The column that each one depends on; -1 for none.
    strengths : sequence of float, length K
        The pseudo-counts b.
    """

    def __init__(self, known: Combinations, margins: list[Floats], parents: list[int], strengths: list[float]) -> None:
        self.margins, self.parents, self.strengths = margins, parents, strengths
        self.order = _in_order(parents)
        self._pairs = {j: _Pairs(known, parent, j) for j, parent in enumerate(parents) if parent >= 0}

    def log_prob(self, codes: Ints) -> Floats:
        """Log-probability (n,) of rows of codes (n, K); -1 stands for any value."""
        found = np.empty(len(codes))
        missing = (codes < 0).any(axis=1)
        found[~missing] = self._of_whole(codes[~missing])
        rows = np.flatnonzero(missing)
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            found[part] = self._messages(codes[part])[1]
        return found

    def _of_whole(self, codes: Ints) -> Floats:
        log_p = np.zeros(len(codes))
        for j, parent in enumerate(self.parents):
            p = self.margins[j][codes[:, j]]
            if parent >= 0:
                p = self._pairs[j].conditional(codes[:, parent], codes[:, j], p, self.strengths[j])
            log_p += np.log(p)
        return log_p

    def _table(self, j: int) -> Floats:
        """p(c_j | c_parent), shape (V_parent, V_j)."""
        return self._pairs[j].table(self.margins[j], self.strengths[j])

    def _messages(self, codes: Ints) -> tuple[list[Floats], Floats]:
        """What the columns below say of the values of each column, (n, V_j), up to factors, and log p (n,)."""
        said = [
            np.where(column[:, np.newaxis] < 0, 1.0, column[:, np.newaxis] == np.arange(len(margin)))
            for column, margin in zip(codes.T, self.margins)
        ]
        log_p = np.zeros(len(codes))
        for j in reversed(self.order):
            parent = self.parents[j]
            if parent < 0:
                log_p += np.log(said[j] @ self.margins[j])
                continue
            message = said[j] @ self._table(j).T
            largest = message.max(axis=1)
            log_p += np.log(largest)
            said[parent] = said[parent] * (message / largest[:, np.newaxis])
        return said, log_p

    def draw(self, codes: Ints, places: Floats) -> Ints:
        """Fill in the codes (n, K) that are -1, given the others, from K or more places in [0, 1) for each row."""
        filled = codes.copy()
        for start in range(0, len(codes), ROWS):
            part = slice(start, start + ROWS)
            said = self._messages(codes[part])[0]
            for j in self.order:
                parent = self.parents[j]
                p = self.margins[j] if parent < 0 else self._table(j)[filled[part, parent]]
                drawn = draw_columns(p * said[j], places[part, j])
                filled[part, j] = np.where(codes[part, j] < 0, drawn, codes[part, j])
        return filled


class _Pairs:
    """Counts of the values of two columns together."""

    def __init__(self, known: Combinations, parent: int, child: int) -> None:
        self.n_parent, self.n_child = known.sizes[parent], known.sizes[child]
        keys = known.codes[:, parent] * self.n_child + known.codes[:, child]
        self.keys, inverse = np.unique(keys, return_inverse=True)
        self.counts = np.bincount(inverse, known.counts, len(self.keys))
        self.of_parent = known.margin(parent)

    def of(self, parent: Ints, child: Ints) -> Floats:
        keys = parent * self.n_child + child
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.counts[place], 0.0)

    def conditional(self, parent: Ints, child: Ints, prior: Floats, strength: float, own: Floats | float = 0.0) -> Floats:
        """The probability of the child's value, with the weight `own` of each row left out."""
        together = np.maximum(self.of(parent, child) - own, 0)
        of_parent = np.maximum(self.of_parent[parent] - own, 0)
        p: Floats = (together + strength * prior) / (of_parent + strength)
        return p

    def table(self, margin: Floats, strength: float) -> Floats:
        counts = np.zeros(self.n_parent * self.n_child)
        counts[self.keys] = self.counts
        table: Floats = (counts.reshape(self.n_parent, -1) + strength * margin) / (self.of_parent[:, np.newaxis] + strength)
        return table


def _in_order(parents: list[int]) -> list[int]:
    """The columns, each after its parent. Raise a ValueError if there is a cycle."""
    order: list[int] = []
    while len(order) < len(parents):
        ready = [j for j, parent in enumerate(parents) if j not in order and (parent < 0 or parent in order)]
        if not ready:
            raise ValueError(f"the columns of a tree must not depend on each other in a circle, got parents {parents}")
        order += ready
    return order


def fit_tree(known: Combinations, margins: list[Floats], priors: list[Floats]) -> tuple[Tree, Floats]:
    """Find the tree that best predicts rows that are left out.

    Parameters
    ----------
    known : Combinations
    margins : list of ndarray, shapes (V_j,)
        Probabilities of the values of each column.
    priors : list of ndarray, shapes (M,)
        Probability of the value in each combination, with one of its rows left out.

    Returns
    -------
    tree : Tree
    left_out : ndarray, shape (M,)
        Log-probability of each combination without one of its rows.
    """
    n_columns = len(margins)
    gains: dict[tuple[int, int], tuple[float, float, Floats]] = {}
    for parent in range(n_columns):
        for child in range(n_columns):
            if parent != child and known.sizes[parent] * known.sizes[child] <= MOST_CELLS:
                gains[parent, child] = _best_gain(known, parent, child, priors[child])
    grown = [_grow(root, n_columns, gains) for root in range(n_columns)]
    parents = max(grown, key=lambda tree: sum(gains[parent, j][0] for j, parent in enumerate(tree) if parent >= 0))
    left_out = np.sum([np.log(prior) for prior in priors], axis=0)
    left_out = left_out + sum(gains[parent, j][2] for j, parent in enumerate(parents) if parent >= 0)
    strengths = [gains[parent, j][1] if parent >= 0 else 0.0 for j, parent in enumerate(parents)]
    return Tree(known, margins, parents, strengths), left_out


def _best_gain(known: Combinations, parent: int, child: int, prior: Floats) -> tuple[float, float, Floats]:
    """The gain in log-likelihood of the child's values by the parent's, the best strength, and the gain for each row."""
    pairs, columns = _Pairs(known, parent, child), (known.codes[:, parent], known.codes[:, child])
    scored = []
    for strength in STRENGTHS:
        gain = np.log(pairs.conditional(*columns, prior, strength, known.own)) - np.log(prior)
        scored.append((float(known.counts @ gain), strength, gain))
    return max(scored, key=lambda found: found[0])


def _grow(root: int, n_columns: int, gains: dict[tuple[int, int], tuple[float, float, Floats]]) -> list[int]:
    """The parents of a tree that grows from a root: the largest gain first; a column without a gain has no parent."""
    parents, inside = [-1] * n_columns, [root]
    while len(inside) < n_columns:
        open_pairs = [pair for pair in gains if pair[0] in inside and pair[1] not in inside and gains[pair][0] > 0]
        if open_pairs:
            parent, child = max(open_pairs, key=lambda pair: gains[pair][0])
            parents[child] = parent
        else:
            child = next(j for j in range(n_columns) if j not in inside)
        inside.append(child)
    return parents
