"""The error about a cell of a table."""

from __future__ import annotations

__all__ = ["CellError"]


class CellError(ValueError):
    """A cell is not what was expected. Its message names the row, counted from 0: `at` counts otherwise.

    Parameters
    ----------
    before : str
        The message up to the row.
    row : int
    after : str
        The rest of the message.
    """

    def __init__(self, before: str, row: int, after: str = "") -> None:
        super().__init__(before, row, after)
        self.before, self.row, self.after = before, int(row), after

    def __str__(self) -> str:
        return f"{self.before}row {self.row}{self.after}"

    def at(self, row: int) -> CellError:
        """The error with another number for the row: in a table of which the present one is a part, or counted from 1."""
        return CellError(self.before, row, self.after)
