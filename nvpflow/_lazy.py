"""Whether data belong to Dask: the estimators ask, and must not import it."""

from __future__ import annotations

import sys

__all__ = ["is_lazy"]

KINDS = (("dask.array", "Array"), ("dask.dataframe", "DataFrame"))


def is_lazy(X: object) -> bool:
    """Whether X is an array or a data frame of Dask. Where Dask has not been imported, nothing is."""
    modules = ((sys.modules.get(module), kind) for module, kind in KINDS)
    return any(module is not None and isinstance(X, getattr(module, kind, ())) for module, kind in modules)
