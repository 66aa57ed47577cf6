"""Log-densities of the rows of a source, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvpflow._typing import Floats
from nvpflow.scale._checks import check_finite
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.outliers import FlowOutlierDetector
    from nvpflow.scale._source import RowSource

__all__ = ["score_batches"]


def score_batches(
    model: FlowDensity | FlowOutlierDetector, source: RowSource, verbose: int = 0, method: str = "score_samples"
) -> Iterator[Floats]:
    """Log-densities of the rows of a source, in their order, one batch after another.

    Parameters
    ----------
    model : FlowDensity or FlowOutlierDetector
        Fitted, without a context.
    source : RowSource
    verbose : int
        As the parameter of `FlowDensity`.
    method : str
        Another method that gives a number for each row, such as "predict" of a detector.

    Yields
    ------
    log_density : ndarray, shape (m,)
        In nats, as of `FlowDensity.score_samples`.

    Raises
    ------
    NotFittedError, OSError, TypeError, ValueError
    """
    model._check_fitted()
    dtype = model._flow_dtype()
    with watched_rows("score", source.n_rows, verbose) as show:
        for numbers, rows in source.numbered():
            if getattr(model, "missing", "error") == "error":
                check_finite(source, dtype, numbers, rows)
            yield getattr(model, method)(source.with_names(rows))
            show(len(rows))
    if not source.n_rows:
        raise ValueError("X must have at least one row, got none")
