"""What the estimators do with tables that are read in batches. `nvpflow.scale` reads them, and is imported when one comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Callback
from nvpflow.supports._frame import Frame

__all__ = ["Streamed", "is_source", "refuse_with_source"]


def is_source(X: object) -> bool:
    """Whether X is read in batches."""
    if type(X) is np.ndarray:
        return False
    from nvpflow.scale import _sources

    return _sources.is_source(X)


def refuse_with_source(**arguments: object) -> None:
    """Raise a ValueError for the first argument that is not None, where X is read in batches."""
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{name} needs a table in memory, and X is read in batches: leave it out, or pass an array or a frame"
            )


class Streamed:
    """The methods of estimators on tables that are read in batches."""

    def _fit_source(self, X: Any, callback: Callback | None, **of_rows: object) -> Any:
        """Fit a density. Return rows that were drawn at random, or all if they are few, with the names of their columns."""
        from nvpflow.scale import as_source
        from nvpflow.scale._fit import fit_and_draw

        refuse_with_source(**of_rows)
        model: Any = self
        source = as_source(X)
        rows = fit_and_draw(model, source, callback=callback)
        types = Frame.of_query(X) or Frame.of_types(source.dtypes)
        if types is not None:
            model._frame = types
        return source.with_names(rows)

    def _results_of_source(self, X: Any, method: str = "score_samples") -> npt.NDArray[Any]:
        """The results (n,) of a method, batch by batch."""
        from nvpflow.scale import as_source, score_batches

        model: Any = self
        return np.concatenate(list(score_batches(model, as_source(X), method=method)))

    def _score_of_source(self, X: Any) -> float:
        from nvpflow.scale import as_source, score_batches

        model: Any = self
        total, n = 0.0, 0
        for scores in score_batches(model, as_source(X)):
            total, n = total + float(scores.sum(dtype=np.float64)), n + len(scores)
        return total / n
