"""What the density of y given X says, in the words of a regressor: its X is the y here, and its context the X."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from nvpflow._validation.cells import CellError
from nvpflow._warnings import kept_warnings, warn_user

__all__ = ["in_own_words"]

OWN = {"X": "y", "context": "X"}
Found = TypeVar("Found")


def in_own_words(ask: Callable[[], Found]) -> Found:
    """What a function returns, whose errors and warnings are renamed."""
    with kept_warnings() as kept:
        try:
            found = ask()
        except CellError as error:
            error.before, error.after = _renamed(error.before), _renamed(error.after)
            raise
        except (TypeError, ValueError) as error:
            if len(error.args) == 1:
                error.args = (_renamed(str(error)),)
            raise
    for message, category in kept:
        warn_user(_renamed(message), category)
    return found


def _renamed(message: str) -> str:
    return re.sub(r"\b(X|context)\b", lambda word: OWN[word[0]], message)
