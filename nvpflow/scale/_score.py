"""Log-densities of the rows of a source, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nvpflow._typing import Floats

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.scale._source import RowSource

__all__ = ["score_batches"]


def score_batches(model: FlowDensity, source: RowSource) -> Iterator[Floats]:
    """Log-densities (m,) of one batch after another, in nats."""
    for rows in source.batches():
        yield model.score_samples(rows)
