"""Log-densities of the rows of a source, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvpflow._typing import Floats
from nvpflow.scale._checks import check_finite
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.scale._source import RowSource

__all__ = ["score_batches"]


def score_batches(model: FlowDensity, source: RowSource, verbose: int = 0) -> Iterator[Floats]:
    """Log-densities of the rows of a source, in their order, one batch after another.

    Parameters
    ----------
    model : FlowDensity
        Fitted, without a context.
    source : RowSource
    verbose : int
        As the parameter of `FlowDensity`.

    Yields
    ------
    log_density : ndarray, shape (m,)
        In nats, as of `FlowDensity.score_samples`.

    Raises
    ------
    NotFittedError, OSError, TypeError, ValueError
    """
    with watched_rows("score", source.n_rows, verbose) as show:
        for numbers, rows in source.numbered():
            if model.missing == "error":
                check_finite(source, model._flow_dtype(), numbers, rows)
            yield model.score_samples(source.with_names(rows))
            show(len(rows))
    if not source.n_rows:
        raise ValueError("X must have at least one row, got none")
