"""The joint probability of categories: exact, smoothed, with any of them left open.

Three models are averaged: the shares of the combinations that were seen, a tree in which each column depends on at most one
other, and latent classes. Their weights maximise the likelihood of rows that are left out of all three.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.supports._combinations import Combinations
from nvpflow.supports._latent_classes import LatentClasses, draw_columns
from nvpflow.supports._tree import Tree, fit_tree

__all__ = ["JointTable"]

# Pseudo-counts of each value of a column, for its margin.
PSEUDO_COUNTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
CLASSES = (2, 3, 4, 6, 8, 12, 16, 24)
# Nats per row that more classes have to gain, and how many numbers of classes may fail to before the search ends.
LEAST_GAIN, PATIENCE, FOLDS = 1e-3, 1, 4
STRENGTHS = (1.0, 4.0, 16.0, 64.0)  # pseudo-rows of a class, which has the margins as its prior
STEPS, PRIOR = 200, 0.5  # of the weights' EM, and the pseudo-rows of each model
GROWN = 1.5  # the models are fitted again once there are so many times the rows that they have seen


class JointTable:
    """p(c) of codes c of K columns.

    A value of a column that no row has gets the probability g / (n + g V), with V values, n rows and a pseudo-count g: each
    value of a row that the models draw is replaced by one of the unseen ones with their joint probability, whatever the other
    values are.

    Parameters
    ----------
    known : Combinations
        The rows. Codes count all values, seen or not.
    pseudo_counts : sequence of float, length K
        Of each value of a column, in its margin.
    weights : ndarray of float64, shape (3,)
        Of the combinations, the tree and the latent classes; their sum is 1.
    parents, strengths : sequences, length K
        Of the `Tree`.
    classes : LatentClasses or None
        Of the seen values alone.
    n_fitted : float
        The weight of the rows that all but the counts were fitted to.
    """

    def __init__(
        self,
        known: Combinations,
        pseudo_counts: list[float],
        weights: Floats,
        parents: list[int],
        strengths: list[float],
        classes: LatentClasses | None,
        n_fitted: float,
    ) -> None:
        self.known, self.pseudo_counts, self.weights, self.classes = known, pseudo_counts, weights, classes
        self.parents, self.strengths, self.n_fitted = parents, strengths, n_fitted
        self._coding = _SeenValues(known, pseudo_counts)
        self._seen = self._coding.narrow(known)
        margins = [_margin(self._seen, j, g) for j, g in enumerate(pseudo_counts)]
        self._tree = Tree(self._seen, margins, parents, strengths)

    @classmethod
    def fit(cls, known: Combinations) -> Self:
        """Fit the models and their weights to rows."""
        n_columns = len(known.sizes)
        pseudo_counts = [_best_pseudo_count(known, j) for j in range(n_columns)]
        seen = _SeenValues(known, pseudo_counts).narrow(known)
        margins = [_margin(seen, j, g) for j, g in enumerate(pseudo_counts)]
        priors = [_left_out_margin(seen, j, g) for j, g in enumerate(pseudo_counts)]
        tree, of_tree = fit_tree(seen, margins, priors)
        classes, weights = None, np.array([0.0, 1.0, 0.0])
        if n_columns > 1:
            with np.errstate(divide="ignore"):
                of_counts = np.log(seen.counts - seen.own) - np.log(np.maximum(seen.total - seen.own, np.finfo(float).tiny))
            stacked = np.stack([np.where(np.isnan(of_counts), -np.inf, of_counts), of_tree], axis=1)
            weights, classes = _with_classes(seen, margins, stacked)
        return cls(known, pseudo_counts, weights, tree.parents, tree.strengths, classes, known.total)

    def updated(self, known: Combinations) -> Self:
        """This table with more rows."""
        together = self.known.and_those(known)
        unseen = any((self.known.margin(j) == 0)[known.codes[:, j]].any() for j in range(len(known.sizes)))
        if unseen or together.total >= GROWN * self.n_fitted:
            return self.fit(together)
        models = self.pseudo_counts, self.weights, self.parents, self.strengths, self.classes, self.n_fitted
        return type(self)(together, *models)

    def log_prob(self, codes: Ints) -> Floats:
        """Log-probability (n,) of rows of codes (n, K), in nats; -1 stands for any value."""
        unique, inverse = np.unique(codes, axis=0, return_inverse=True)
        seen, log_p = self._coding.seen(unique), self._coding.log_factor(unique)
        parts = [self._log_share(seen), self._tree.log_prob(seen)]
        parts += [] if self.classes is None else [self.classes.log_prob(seen)]
        with np.errstate(divide="ignore"):
            log_p += np.logaddexp.reduce([np.log(weight) + part for weight, part in zip(self.weights, parts)], axis=0)
        found: Floats = log_p[inverse.ravel()]
        return found

    def _log_share(self, seen: Ints) -> Floats:
        """The logarithm of the share of the rows that equal each row of codes, where those are not -1."""
        counts, whole = np.zeros(len(seen)), (seen >= 0).all(axis=1)
        place = self._seen.find(seen[whole])
        counts[whole] = np.where(place >= 0, self._seen.counts[place], 0)
        for row in np.flatnonzero(~whole):
            counts[row] = self._matching(seen[row]).sum()
        with np.errstate(divide="ignore"):
            log_share: Floats = np.log(counts / self._seen.total)
        return log_share

    def _matching(self, row: Ints) -> Floats:
        """The counts (M,) of the combinations that agree with a row of codes, where those are not -1; 0 for others."""
        given = row >= 0
        agree = (self._seen.codes[:, given] == row[given]).all(axis=1)
        return np.where(agree, self._seen.counts, 0.0)

    def sample(self, n: int, rng: np.random.Generator) -> Ints:
        """Draw codes (n, K)."""
        return self.complete(np.full((n, len(self.known.sizes)), -1), rng)

    def complete(self, codes: Ints, rng: np.random.Generator) -> Ints:
        """Draw the codes (n, K) that are -1 from their distribution given the others. More rows change none before them."""
        n, n_columns = codes.shape
        places = rng.random((n, 2 * n_columns + 2))
        of_values, of_model, of_unseen = np.split(places, (n_columns + 1, n_columns + 2), axis=1)
        seen = self._coding.seen(codes)
        unique, inverse = np.unique(seen, axis=0, return_inverse=True)
        filled = seen.copy()
        for number, row in enumerate(unique):
            rows = np.flatnonzero(inverse.ravel() == number)
            model = draw_columns(np.tile(self._shares_given(row), (len(rows), 1)), of_model[rows, 0])
            of_counts, of_tree, of_classes = (rows[model == number] for number in range(3))
            filled[of_counts] = self._draw_known(row, of_values[of_counts, 0])
            filled[of_tree] = self._tree.draw(seen[of_tree], of_values[of_tree])
            if self.classes is not None:
                filled[of_classes] = self.classes.draw(seen[of_classes], of_values[of_classes])
        return np.where(codes < 0, self._coding.with_unseen(self._coding.widen(filled), of_unseen), codes)

    def _draw_known(self, row: Ints, places: Floats) -> Ints:
        """Combinations that agree with a row of codes, by their counts."""
        sums = np.cumsum(self._matching(row))
        drawn = np.searchsorted(sums, places * sums[-1], side="right")
        codes: Ints = self._seen.codes[np.minimum(drawn, len(sums) - 1)]
        return codes

    def _shares_given(self, row: Ints) -> Floats:
        """The probability of each model given the codes of a row that are not -1."""
        one = row[np.newaxis]
        log_p = [self._log_share(one)[0], self._tree.log_prob(one)[0]]
        log_p += [-np.inf if self.classes is None else self.classes.log_prob(one)[0]]
        with np.errstate(divide="ignore"):
            log_p = np.log(self.weights) + log_p
        shares: Floats = np.exp(log_p - log_p.max())
        shares /= shares.sum()
        return shares


class _SeenValues:
    """Codes of the values that rows have, among those of all values."""

    def __init__(self, known: Combinations, pseudo_counts: list[float]) -> None:
        self.known = known
        counts = [known.margin(j) for j in range(len(known.sizes))]
        self.values = [np.flatnonzero(count > 0) for count in counts]
        self.others = [np.flatnonzero(count == 0) for count in counts]
        # The probability that a value is replaced by an unseen one.
        self.replaced = [
            g * len(others) / (known.total + g * size) for others, size, g in zip(self.others, known.sizes, pseudo_counts)
        ]

    @cached_property
    def _places(self) -> list[Ints]:
        """The code among seen values by the code among all values; -1 for unseen values, and in the last place."""
        places = [np.full(size + 1, -1) for size in self.known.sizes]
        for place, values in zip(places, self.values):
            place[values] = np.arange(len(values))
        return places

    def narrow(self, known: Combinations) -> Combinations:
        return known._replace(codes=self.seen(known.codes), sizes=tuple(len(values) for values in self.values))

    def seen(self, codes: Ints) -> Ints:
        """Codes among seen values; -1 for unseen values and where codes are -1."""
        return np.stack([place[column] for place, column in zip(self._places, codes.T)], axis=1)

    def widen(self, seen: Ints) -> Ints:
        """Undo `seen`."""
        return np.stack([values[column] for values, column in zip(self.values, seen.T)], axis=1)

    def log_factor(self, codes: Ints) -> Floats:
        """The logarithm of the probability that unseen values replace others as they do in these codes."""
        log_p = np.zeros(len(codes))
        for column, place, replaced, others in zip(codes.T, self._places, self.replaced, self.others):
            if len(others):
                unseen = (place[column] < 0) & (column >= 0)
                log_p[unseen] += np.log(replaced / len(others))
                log_p[(column >= 0) & ~unseen] += np.log1p(-replaced)
        return log_p

    def with_unseen(self, codes: Ints, places: Floats) -> Ints:
        """Replace values by unseen ones, from a place in [0, 1) for each of them (n, K)."""
        codes = codes.copy()
        for j, (replaced, others) in enumerate(zip(self.replaced, self.others)):
            if len(others):
                rows = places[:, j] < replaced
                codes[rows, j] = others[(places[rows, j] / replaced * len(others)).astype(np.intp)]
        return codes


def _margin(seen: Combinations, column: int, pseudo_count: float) -> Floats:
    counts = seen.margin(column) + pseudo_count
    margin: Floats = counts / counts.sum()
    return margin


def _left_out_margin(seen: Combinations, column: int, pseudo_count: float) -> Floats:
    """The probability of a column's value in each combination, with one of its rows left out."""
    counts = np.maximum(seen.margin(column)[seen.codes[:, column]] - seen.own, 0)
    p: Floats = (counts + pseudo_count) / (seen.total - seen.own + pseudo_count * seen.sizes[column])
    return p


def _best_pseudo_count(seen: Combinations, column: int) -> float:
    return max(PSEUDO_COUNTS, key=lambda g: float(seen.counts @ np.log(_left_out_margin(seen, column, g))))


def _with_classes(seen: Combinations, margins: list[Floats], left_out: Floats) -> tuple[Floats, LatentClasses | None]:
    """The weights of the models, and latent classes if rows that are held out are likelier with them.

    `left_out` has the log-probabilities (M, 2) of each combination by the other models without one of its rows.
    """
    held_out = _held_out_parts(seen)
    others, counts = np.tile(left_out, (FOLDS, 1)), held_out.T.ravel()
    weights, best = _stack(others, counts)
    found, failed, (strength, *strengths) = (np.append(weights, 0.0), None), 0, STRENGTHS
    chosen: tuple[int, float] | None = None
    for n_classes in CLASSES:
        if failed == PATIENCE or n_classes > len(seen.codes):
            break
        weights, score = _stack(np.column_stack([others, _cross_fitted(seen, held_out, margins, n_classes, strength)]), counts)
        failed = 0 if score > best + LEAST_GAIN else failed + 1
        if not failed:
            chosen, best, best_weights = (n_classes, strength), score, weights
    if chosen is None:
        return found
    for strength in strengths:
        weights, score = _stack(np.column_stack([others, _cross_fitted(seen, held_out, margins, chosen[0], strength)]), counts)
        if score < best:
            break
        chosen, best, best_weights = (chosen[0], strength), score, weights
    return best_weights, LatentClasses.fit(seen, margins, *chosen)


def _held_out_parts(seen: Combinations) -> Floats:
    """The weight (M, FOLDS) of the rows of each combination that are held out in each of some disjoint folds."""
    rows = np.rint(seen.counts / seen.own).astype(np.int64)
    parts: Floats = np.random.default_rng(0).multinomial(rows, np.full(FOLDS, 1 / FOLDS)) * seen.own[:, np.newaxis]
    return parts


def _cross_fitted(seen: Combinations, held_out: Floats, margins: list[Floats], n_classes: int, strength: float) -> Floats:
    """Log-probabilities of all combinations by latent classes without the rows of one fold after the other."""
    found = []
    for part in held_out.T:
        counts = seen.counts - part
        known = seen._replace(codes=seen.codes[counts > 0], counts=counts[counts > 0], own=seen.own[counts > 0])
        found.append(LatentClasses.fit(known, margins, n_classes, strength).log_prob(seen.codes))
    return np.concatenate(found)


def _stack(log_p: Floats, counts: Floats) -> tuple[Floats, float]:
    """The weights that maximise the likelihood of held-out rows, and its mean logarithm: Smyth and Wolpert (1999)."""
    log_p, counts = log_p[counts > 0], counts[counts > 0]
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    n, n_models = counts.sum(), p.shape[1]
    weights = np.full(n_models, 1 / n_models)
    for _ in range(STEPS):
        shares = p * weights
        shares *= (counts / shares.sum(axis=1))[:, np.newaxis]
        weights = (shares.sum(axis=0) + PRIOR) / (n + PRIOR * n_models)
    return weights, float(counts @ (np.log(p @ weights) + log_p.max(axis=1)) / n)
