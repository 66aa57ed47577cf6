"""Warnings that point to a line of the user's program."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

__all__ = ["AccuracyWarning", "KeptWarnings", "kept_warnings", "warn_user"]

KeptWarnings: TypeAlias = list[tuple[str, type[Warning]]]
_kept: ContextVar[KeptWarnings | None] = ContextVar("_kept", default=None)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this package."""
    kept = _kept.get()
    if kept is not None:
        kept.append((message, category))
        return
    level, frame = 1, sys._getframe(0)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def kept_warnings() -> Iterator[KeptWarnings]:
    """Keep the warnings of `warn_user` in a list, in this thread, where `warnings.catch_warnings` acts on all threads.

    A helper thread has no line of the user's program to point to: the thread that waits for it warns later.
    """
    kept: KeptWarnings = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


class AccuracyWarning(UserWarning):
    """A result of a fitted density that cannot be trusted: too few effective draws, or quadrature that did not converge."""
