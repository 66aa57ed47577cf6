"""Fits to more rows than fit into memory, and by several processes together.

`FlowDensity.fit` takes files and queries by itself; these are the parts that it uses, for sources and groups of one's own.
"""

from nvpflow.scale._fit import fit_from
from nvpflow.scale._group import Alone, Group
from nvpflow.scale._score import score_batches
from nvpflow.scale._source import RowSource, Stream
from nvpflow.scale._sources import as_source

__all__ = ["Alone", "Group", "RowSource", "Stream", "as_source", "fit_from", "score_batches"]
