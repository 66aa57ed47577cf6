"""The arguments of `sample`: how many samples, and the context of each."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import ArrayLike
from nvpflow._validation.arguments import check_bool, check_int
from nvpflow._validation.arrays import as_array

__all__ = ["arrange_draws"]


def arrange_draws(
    n_samples: object, context_dim: int, context: ArrayLike | None, per_context: object
) -> tuple[tuple[int, ...], ArrayLike | None]:
    """The shape of what is drawn, (n_samples,) or (m, n_samples) for m contexts, and the context with a row for each draw.

    The number of rows is left to the flow to check.
    """
    n_samples = check_int("n_samples", n_samples, 0)
    context = None if context is None else as_array("context", context)
    if not check_bool("per_context", per_context):
        if context is not None and context.shape in ((context_dim,), (1, context_dim)):
            context = np.broadcast_to(context, (n_samples, context_dim))
        return (n_samples,), context
    if not context_dim:
        raise ValueError("per_context must be False, got True: the flow has no context")
    if context is None or context.ndim != 2:
        got = "None" if context is None else f"shape {context.shape}"
        raise ValueError(f"context must have shape (m, {context_dim}) with per_context=True, got {got}")
    return (len(context), n_samples), np.repeat(context, n_samples, axis=0)
