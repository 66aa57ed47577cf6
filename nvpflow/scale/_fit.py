"""The fit of a density to a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow.scale._group import Alone, Group

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.scale._source import RowSource

__all__ = ["fit_from"]


def fit_from(model: FlowDensity, source: RowSource, group: Group | None = None) -> FlowDensity:
    """Fit to all rows of all members."""
    group = group or Alone()
    rows = group.gather_rows(np.concatenate(list(source.batches())))
    return model.fit(rows)
