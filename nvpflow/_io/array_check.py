"""The check of dtype and shape that both container formats make before they read an array."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["check_array"]


def check_array(name: str, found: Sequence[object], expected: Sequence[object]) -> None:
    if found != expected:
        raise ValueError(f"{name} must have dtype {expected[0]} and shape {expected[1]}, got {found[0]} and {found[1]}")
