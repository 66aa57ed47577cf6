"""Folds for cross-fitting: each row is held out once, and every class stays in training."""

from __future__ import annotations

import numpy as np

from nvpflow._training.copies import copies_of
from nvpflow._training.dataset import Data
from nvpflow._typing import Ints

__all__ = ["stratified_folds"]

NEVER = -1  # the fold of rows that stay in training


def stratified_folds(data: Data, codes: Ints, n_folds: int, seed: int) -> Ints:
    """The fold (n,) in which each row is held out.

    Copies of a row in a class are in one fold: a row that a model has seen would not be held out. Equal rows of rounded
    columns are different cases, and without all of them a density would know nothing of their values. A class with one
    distinct row has none to spare, and its rows are `NEVER` held out.

    Parameters
    ----------
    data : Data
        Without a context.
    codes : ndarray of int, shape (n,)
        Of the classes.
    n_folds : int
    seed : int
    """
    x, rng, next_fold, copies = data.x, np.random.default_rng(seed), 0, copies_of(data)
    folds = np.full(len(x), NEVER)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        if len(rows) < 2 or (x[rows] == x[rows[0]]).all():
            continue
        groups = np.arange(len(rows)) if copies is None else np.unique(copies[rows], return_inverse=True)[1]
        n_groups = int(groups.max()) + 1
        fold_of_group = np.empty(n_groups, dtype=np.intp)
        fold_of_group[rng.permutation(n_groups)] = (next_fold + np.arange(n_groups)) % n_folds
        folds[rows] = fold_of_group[groups]
        next_fold += n_groups  # so that small classes do not fill the same folds
    return folds
