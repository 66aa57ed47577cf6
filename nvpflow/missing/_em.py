"""Expectation-maximisation for a mixture of normal distributions, fitted to rows with missing cells.

Ghahramani and Jordan (1994), "Supervised learning from incomplete data via an EM approach": the missing cells are part of what
the expectations are taken of. The likelihood is that of the present cells, without any loss.
"""

from __future__ import annotations

import numpy as np

from nvpflow._training.covariances import PRIOR_SAMPLES, CovariancePrior
from nvpflow._training.dataset import Data
from nvpflow._training.kmeans import Clusters
from nvpflow._training.mixture_search import COMPONENTS, PATIENCE
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Floats, Ints
from nvpflow.missing._patterns import Mask, patterns
from nvpflow.missing._split_mixture import SplitMixture

__all__ = ["IncompleteMixture", "fit_incomplete"]

MOST_ROWS = 20_000  # are read
# The search reads fewer rows where many patterns make it slow: so many components times patterns times rows of a covariance.
STEPS, SEARCHES = 15, 3
MOST_PATTERNS = 300  # in the search
GROUP_NUMBERS = 2_000_000  # in memory at a time
LEAST_SHARE = 1e-10
MANY_ROWS = 30  # of a pattern: fewer are treated together with other patterns


class IncompleteMixture:
    """K components and one step of expectation-maximisation.

    Parameters
    ----------
    x : ndarray of float64, shape (n, D)
        Of about unit deviation, NaN where a cell is missing; no row misses all cells.
    weight : ndarray, shape (n,), or None
    prior : CovariancePrior
    """

    def __init__(self, x: Floats, weight: Floats | None, prior: CovariancePrior) -> None:
        self.dim, self.n, self.prior = x.shape[1], effective_size(Data(x, None, weight)), prior
        share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
        groups = list(patterns(np.isnan(x)))
        self.groups = [(~p, x[np.ix_(rows, ~p)], share[rows]) for p, rows in groups if len(rows) >= MANY_ROWS]
        self.batches = self._batches([group for group in groups if len(group[1]) < MANY_ROWS], x, share)
        self.weights: Floats = np.empty(0)
        self.means: Floats = np.empty((0, self.dim))
        self.covariances: Floats = np.empty((0, self.dim, self.dim))

    @property
    def k(self) -> int:
        return len(self.weights)

    def _batches(self, groups: list[tuple[Mask, Ints]], x: Floats, share: Floats) -> list[tuple[Mask, Ints, Floats, Floats]]:
        """Batches of patterns of few rows each: the patterns (P, D) of present cells, the number of the pattern of each row,
        and the rows."""
        step = max(1, GROUP_NUMBERS // (16 * self.dim**2))
        batches: list[tuple[Mask, Ints, Floats, Floats]] = []
        for start in range(0, len(groups), step):
            part = groups[start : start + step]
            rows = np.concatenate([rows for _, rows in part])
            number = np.repeat(np.arange(len(part)), [len(rows) for _, rows in part])
            batches.append((~np.array([pattern for pattern, _ in part]), number, x[rows], share[rows]))
        return batches

    def start(self, clusters: Clusters, k: int) -> None:
        """Initialise the mixture from K clusters of completed rows."""
        x, (labels, parts) = clusters.x, clusters.assign(k)
        shares = np.maximum(parts.sum(axis=0, dtype=np.float64), 1 / len(x))
        self.weights, self.means = shares / shares.sum(), parts.T @ x / shares[:, None]
        offsets = x - self.means[labels]
        squares = np.stack([(offsets * part).T @ offsets for part in parts.T[:, :, None]])
        self.covariances = self.prior.covariances(squares, shares, PRIOR_SAMPLES)

    def fit(self, max_iter: int) -> float:
        """Take steps until one raises the likelihood by less than a factor of e. Return the Bayesian information criterion."""
        before = np.inf
        for _ in range(max_iter):
            nll = self._step()
            if before - nll < 1 / self.n:
                break
            before = nll
        n_parameters = self.k * (1 + self.dim + self.dim * (self.dim + 1) // 2) - 1
        criterion: float = 2 * self.n * nll + n_parameters * np.log(self.n)
        return criterion

    def _step(self) -> float:
        """Take one step of expectation and maximisation. Return the mean NLL of the present cells before it."""
        nll, shares = 0.0, np.zeros(self.k)
        shift, squares = np.zeros((self.k, self.dim)), np.zeros((self.k, self.dim, self.dim))
        for present, x, share in self.groups:
            step = max(1, GROUP_NUMBERS // (self.k * self.dim))
            halves = self._halves(present)
            for start in range(0, len(x), step):
                part = slice(start, start + step)
                nll += self._add(halves, present, x[part], share[part], shares, shift, squares)
        for batch in self.batches:
            nll += self._add_batch(*batch, shares, shift, squares)
        shares = np.maximum(shares, LEAST_SHARE)
        shift /= shares[:, None]
        squares -= shares[:, None, None] * shift[:, :, None] * shift[:, None, :]
        self.weights, self.means = shares / shares.sum(), self.means + shift
        self.covariances = self.prior.covariances(squares, shares, PRIOR_SAMPLES)
        return nll

    def _halves(self, present: Mask) -> tuple[Floats, Floats, Floats]:
        """Inverse Cholesky factors of the present columns, slopes of all columns on these, and what covariances remain."""
        root = np.linalg.inv(np.linalg.cholesky(self.covariances[:, present][:, :, present]))
        slopes = self.covariances[:, :, present] @ root.transpose(0, 2, 1) @ root
        left = np.zeros_like(self.covariances)
        absent = np.outer(~present, ~present)
        left[:, absent] = (self.covariances - slopes @ self.covariances[:, present])[:, absent]
        return root, slopes, left

    def _add(
        self,
        halves: tuple[Floats, Floats, Floats],
        present: Mask,
        x: Floats,
        share: Floats,
        shares: Floats,
        shift: Floats,
        squares: Floats,
    ) -> float:
        """Add the expectations of some rows to the sums. Return their part of the mean NLL."""
        root, slopes, left = halves
        offsets = x - self.means[:, np.newaxis, present]
        white = offsets @ root.transpose(0, 2, 1)
        scale = np.log(self.weights) + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        terms = scale[:, None] - 0.5 * ((white**2).sum(axis=2) + x.shape[1] * np.log(2 * np.pi))
        largest = terms.max(axis=0)
        parts = np.exp(terms - largest)
        total = parts.sum(axis=0)
        parts *= share / total
        whole = offsets @ slopes.transpose(0, 2, 1)
        weighted = whole * parts[:, :, np.newaxis]
        own = parts.sum(axis=1)
        shares += own
        shift += weighted.sum(axis=1)
        squares += weighted.transpose(0, 2, 1) @ whole + own[:, None, None] * left
        return -float(share @ (largest + np.log(total)))

    def _add_batch(
        self, present: Mask, number: Ints, x: Floats, share: Floats, shares: Floats, shift: Floats, squares: Floats
    ) -> float:
        """`_halves` and `_add` for many patterns at once: missing columns are independent ones of unit variance."""
        covariances, both = self.covariances, present[:, :, np.newaxis] & present[:, np.newaxis]
        own = np.eye(self.dim) * ~present[:, np.newaxis]
        root = np.linalg.inv(np.linalg.cholesky(covariances * both[:, np.newaxis] + own[:, np.newaxis]))
        slopes = covariances @ ((root.swapaxes(2, 3) @ root) * both[:, np.newaxis])
        neither = ~(present[:, :, np.newaxis] | present[:, np.newaxis])
        left = (covariances - slopes @ covariances) * neither[:, np.newaxis]
        scale = np.log(self.weights) + np.log(np.diagonal(root, axis1=2, axis2=3)).sum(axis=2)
        scale -= 0.5 * np.log(2 * np.pi) * present.sum(axis=1)[:, np.newaxis]
        nll = 0.0
        step = max(1, GROUP_NUMBERS // (self.k * self.dim**2))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            of = number[part]
            offsets = np.where(present[of][:, np.newaxis], x[part][:, np.newaxis] - self.means, 0.0)[..., np.newaxis]
            terms = scale[of] - 0.5 * ((root[of] @ offsets)[..., 0] ** 2).sum(axis=2)
            largest = terms.max(axis=1, keepdims=True)
            parts = np.exp(terms - largest)
            total = parts.sum(axis=1)
            parts *= (share[part] / total)[:, np.newaxis]
            whole = (slopes[of] @ offsets)[..., 0].swapaxes(0, 1)
            weighted = whole * parts.T[:, :, np.newaxis]
            of_patterns = np.zeros((len(present), self.k))
            np.add.at(of_patterns, of, parts)
            shares += parts.sum(axis=0)
            shift += weighted.sum(axis=1)
            squares += weighted.transpose(0, 2, 1) @ whole + np.einsum("pk,pkij->kij", of_patterns, left)
            nll -= float(share[part] @ (largest[:, 0] + np.log(total)))
        return nll

    def complete(self, x: Floats, rng: np.random.Generator) -> Floats:
        """Draw the missing cells of rows x (n, D) from the conditional of each row, in a copy."""
        factors = np.linalg.inv(np.linalg.cholesky(self.covariances))
        logits = np.log(self.weights)
        uniforms, full = rng.random(x.shape), x.copy()
        for missing, rows in patterns(np.isnan(x)):
            if missing.any():
                split = SplitMixture(logits, self.means, factors, missing)
                drawn = split.draw(x[np.ix_(rows, ~missing)], uniforms[np.ix_(rows, missing)][:, np.newaxis])
                full[np.ix_(rows, missing)] = drawn[:, 0]
        return full


def fit_incomplete(x: Floats, filled: Floats, weight: Floats | None, seed: int) -> IncompleteMixture:
    """Fit a mixture. The number of components minimises the Bayesian information criterion of the present cells.

    Parameters
    ----------
    x : ndarray of float64, shape (n, D)
        Of about unit deviation, NaN where a cell is missing; no row misses all cells.
    filled : ndarray of float64, shape (n, D)
        The same with any plausible numbers in the missing cells, for the first prior of the covariances.
    weight : ndarray, shape (n,), or None
    seed : int
    """
    rng = np.random.default_rng(seed)
    some = _some_rows(x, rng)
    every = rng.permutation(len(x))[:MOST_ROWS]
    some_weight = None if weight is None else weight[some]
    searches = [_search(x[some], filled[some], some_weight, rng) for _ in range(SEARCHES)]
    best = min(searches, key=lambda search: search[0])[1]
    if len(some) < len(every):
        more = IncompleteMixture(x[every], None if weight is None else weight[every], best.prior)
        more.weights, more.means, more.covariances = best.weights, best.means, best.covariances
        more.fit(STEPS // 3)
        best = more
    return best


def _some_rows(x: Floats, rng: np.random.Generator) -> Ints:
    """Rows for the search: up to MOST_ROWS, and fewer if they have many patterns."""
    order = rng.permutation(len(x))[:MOST_ROWS]
    packed = np.packbits(np.isnan(x[order]), axis=1)
    _, first = np.unique(packed, axis=0, return_index=True)
    first.sort()
    return order[: max(first[MOST_PATTERNS], 2000)] if len(first) > MOST_PATTERNS else order


def _search(x: Floats, filled: Floats, weight: Floats | None, rng: np.random.Generator) -> tuple[float, IncompleteMixture]:
    n = effective_size(Data(x, None, weight))
    best, best_bic, since, full = None, np.inf, 0, filled
    for k in COMPONENTS:
        if best is not None and (since == PATIENCE or k * (x.shape[1] + 2) > n):
            break
        prior = CovariancePrior(full, weight, n)
        mixture = IncompleteMixture(x, weight, prior)
        mixture.start(Clusters(full, weight, rng), k)
        bic = mixture.fit(STEPS)
        if best is None or bic < best_bic:
            best, best_bic, since = mixture, bic, 0
            full = mixture.complete(x, rng)
        else:
            since += 1
    assert best is not None
    return best_bic, best
