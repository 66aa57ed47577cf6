"""Names and version of the file format, shared by `save` and `load`."""

from __future__ import annotations

import os
from typing import cast

from nvpflow._typing import AnyPath

__all__ = ["FORMAT_VERSION", "HISTORY", "NAMES", "SEARCH", "UNITS", "decode_path"]

FORMAT_VERSION = 1
HISTORY = ("train_nll", "validation_nll")  # one entry per epoch, NaN where it was not validated
SEARCH = ("score", "validation_score", "weight")  # one entry per candidate; their names are in the header
# Origins of the samples and the context, range and units of the context: names of arrays and of an estimator's attributes.
UNITS = {
    "origin": "origin_",
    "context_origin": "context_origin_",
    "context_range": "context_range_",
    "context_units": "_context_units",
}
NAMES = ("feature_names_in", "context_feature_names_in")


def decode_path(path: object) -> str:
    try:
        return os.fsdecode(cast(AnyPath, path))
    except TypeError:
        raise TypeError(f"path must be a str, bytes, path-like or binary file object, got {type(path).__name__}") from None
