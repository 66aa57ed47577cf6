"""Fixed permutations."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import ArrayLike, DTypeLike, Ints, Seed
from nvpflow._validation.arguments import check_dtype, check_int, check_permutation, seed_sequence
from nvpflow.layers._layer import Layer, StateView

__all__ = ["Permutation"]


class Permutation(Layer):
    """A fixed permutation of the columns.

    It maps::

        x_i = z_p(i),     log|det dx/dz| = 0

    Parameters
    ----------
    data_dim : int
        D, the number of dimensions.
    permutation : array_like of int, shape (D,), optional
        p, which holds each of 0, ..., D - 1 once: ``x = z[:, permutation]``. Default: a random permutation.
    dtype : {"float32", "float64"}, default "float32"
    random_state : int, Generator, RandomState or None
        Draws the permutation if none is given.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or a value out of range.

    Examples
    --------
    >>> import nvpflow
    >>> nvpflow.Permutation(3, [2, 0, 1]).forward([[10.0, 20.0, 30.0]])[0]
    array([[30., 10., 20.]], dtype=float32)
    """

    _kind = "permutation"
    _arguments = ("permutation",)

    def __init__(
        self,
        data_dim: int,
        permutation: ArrayLike | None = None,
        *,
        dtype: DTypeLike = "float32",
        random_state: Seed = None,
    ) -> None:
        self._check_unused()
        data_dim = check_int("data_dim", data_dim, 1)
        if permutation is None:
            permutation = np.random.default_rng(seed_sequence(random_state)).permutation(data_dim)
        self._permutation = check_permutation(permutation, data_dim)
        self._create(data_dim, check_dtype(dtype))

    @property
    def permutation(self) -> Ints:
        """ndarray of int, shape (D,): p."""
        return np.array(self._permutation)

    def _state_views(self) -> dict[str, StateView]:
        return {}
