"""Latent classes: a mixture of products of the columns' own tables.

Sources: Lazarsfeld and Henry (1968), "Latent structure analysis"; Dempster, Laird and Rubin (1977), "Maximum likelihood from
incomplete data via the EM algorithm".
"""

from __future__ import annotations

from typing import Self

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.supports._combinations import Combinations

__all__ = ["LatentClasses", "draw_columns", "log_sum"]

MOST_STEPS, LEAST_GAIN = 60, 1e-4  # of EM, and in nats per row
MOST_COMBINATIONS = 5000  # that EM reads
NEAR = 3.0  # nats of a first responsibility for each column that agrees with a class's first row


class LatentClasses:
    """p(c) = sum_l shares[l] prod_j tables[j][l, c_j].

    Parameters
    ----------
    shares : ndarray of float64, shape (L,)
    tables : list of ndarray of float64, shapes (L, V_j)
        Probabilities of the values of each column in each class.
    """

    def __init__(self, shares: Floats, tables: list[Floats]) -> None:
        self.shares, self.tables = shares, tables
        with np.errstate(divide="ignore"):
            self._log_shares, self._log_tables = np.log(shares), [np.log(table) for table in tables]

    @classmethod
    def fit(cls, known: Combinations, margins: list[Floats], n_classes: int, strength: float, seed: int = 0) -> Self:
        """Fit by expectation-maximisation.

        Parameters
        ----------
        known : Combinations
        margins : list of ndarray, shapes (V_j,)
            Probabilities of the values of each column.
        n_classes : int
        strength : float
            Pseudo-rows of each class, which has the margins as its prior.
        seed : int
            For the first responsibilities.
        """
        rng = np.random.default_rng(seed)
        some = known
        if len(known.codes) > MOST_COMBINATIONS:
            index = rng.choice(len(known.codes), MOST_COMBINATIONS, p=known.counts / known.total)
            some = Combinations.of(known.codes[index], None, known.sizes)
        found = _maximised(some, margins, _first_shares(some, n_classes, rng), strength)
        return cls._of(known, margins, found._posterior(known.codes), strength)

    @classmethod
    def _of(cls, known: Combinations, margins: list[Floats], shares: Floats, strength: float) -> Self:
        """The classes where each combination belongs to class l by its share (M, L)."""
        weight = shares * known.counts[:, np.newaxis]
        sizes, n_classes = weight.sum(axis=0), shares.shape[1]
        tables = [
            (_sums(codes, weight, len(margin)).T + strength * margin) / (sizes[:, np.newaxis] + strength)
            for codes, margin in zip(known.codes.T, margins)
        ]
        return cls((sizes + 1) / (sizes.sum() + n_classes), tables)

    def _log_joint(self, codes: Ints) -> Floats:
        """log p(l, c), shape (n, L), summed over the columns whose code is -1."""
        total = np.tile(self._log_shares, (len(codes), 1))
        for column, table in zip(codes.T, self._log_tables):
            total += np.where(column[:, np.newaxis] >= 0, table.T[column], 0.0)
        return total

    def _posterior(self, codes: Ints) -> Floats:
        log_joint = self._log_joint(codes)
        posterior: Floats = np.exp(log_joint - log_sum(log_joint)[:, np.newaxis])
        return posterior

    def log_prob(self, codes: Ints) -> Floats:
        """Log-probability (n,) of rows of codes (n, K); -1 stands for any value."""
        return log_sum(self._log_joint(codes))

    def draw(self, codes: Ints, places: Floats) -> Ints:
        """Fill in the codes (n, K) that are -1, given the others, from K + 1 places in [0, 1) for each row."""
        label = draw_columns(self._posterior(codes), places[:, -1])
        drawn = [draw_columns(table[label], place) for table, place in zip(self.tables, places.T)]
        return np.where(codes < 0, np.stack(drawn, axis=1), codes)


def _maximised(known: Combinations, margins: list[Floats], shares: Floats, strength: float) -> LatentClasses:
    before = -np.inf
    for _ in range(MOST_STEPS):
        classes = LatentClasses._of(known, margins, shares, strength)
        log_joint = classes._log_joint(known.codes)
        log_p = log_sum(log_joint)
        mean = float(np.average(log_p, weights=known.counts))
        if mean < before + LEAST_GAIN:
            break
        before, shares = mean, np.exp(log_joint - log_p[:, np.newaxis])
    return classes


def _first_shares(known: Combinations, n_classes: int, rng: np.random.Generator) -> Floats:
    """First responsibilities: high for the classes whose row, drawn far from those before, has many equal codes."""
    agree = np.zeros((len(known.codes), n_classes))
    distance = np.ones(len(known.codes))
    for k in range(n_classes):
        p = known.counts * distance
        total = p.sum()
        row = rng.choice(len(p), p=p / total if total > 0 else None)
        agree[:, k] = (known.codes == known.codes[row]).sum(axis=1)
        distance = np.minimum(distance, 1 - agree[:, k] / known.codes.shape[1])
    shares: Floats = np.exp(NEAR * (agree - agree.max(axis=1, keepdims=True))) * (1 + 0.1 * rng.random(agree.shape))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _sums(codes: Ints, weight: Floats, size: int) -> Floats:
    """The sums (V, L) of weights (M, L) over the rows with each code."""
    n_classes = weight.shape[1]
    places = (codes[:, np.newaxis] * n_classes + np.arange(n_classes)).ravel()
    return np.bincount(places, weight.ravel(), size * n_classes).astype(np.float64).reshape(size, n_classes)


def log_sum(log_p: Floats) -> Floats:
    """log sum_l exp(log_p[:, l]), without overflow."""
    largest = log_p.max(axis=1)
    shift = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):
        total: Floats = shift + np.log(np.exp(log_p - shift[:, np.newaxis]).sum(axis=1))
    return total


def draw_columns(p: Floats, places: Floats) -> Ints:
    """For each row of probabilities (n, V) the column where its sums pass a place in [0, 1)."""
    sums = np.cumsum(p, axis=1)
    drawn: Ints = (sums < (places * sums[:, -1])[:, np.newaxis]).sum(axis=1)
    drawn[:] = np.minimum(drawn, p.shape[1] - 1)
    return drawn
