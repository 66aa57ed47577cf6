"""What passes over all rows of a table have changed, in the header of a file."""

from __future__ import annotations

import math
from typing import Any

from nvpflow._validation.arguments import check_choice, check_int, check_real, shown

__all__ = ["plain_refinement", "restore_refinement"]

COUNTS = ("n_rows", "n_sample", "n_held_out", "n_passes", "n_steps")
NATS = ("gain", "error")


def plain_refinement(found: dict[str, Any]) -> dict[str, Any]:
    """The attribute `refinement_` in types that JSON has: None for NaN, where no rows were held out."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


def restore_refinement(content: object) -> dict[str, Any]:
    """The attribute `refinement_` from the header of a file, checked."""
    names = {"kind", *COUNTS, *NATS}
    if not isinstance(content, dict) or content.keys() != names:
        raise ValueError(f"refinement must have the entries {', '.join(sorted(names))}, got {shown(content)}")
    counts = {name: check_int(name, content[name], 0) for name in COUNTS}
    nats = {name: math.nan if content[name] is None else check_real(name, content[name]) for name in NATS}
    return {"kind": check_choice("kind", content["kind"], ("none", "mixture", "layers")), **counts, **nats}
