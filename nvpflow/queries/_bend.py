"""The margin of one column: a monotone map, the same for all rows, behind which a member of an ensemble is a mixture."""

from __future__ import annotations

import numpy as np

from nvpflow._training.margins import Margins
from nvpflow._typing import Floats
from nvpflow.missing._columns import Columns

__all__ = ["Bend", "unbent"]


class Bend:
    """The map of a column of `Margins`, in float64.

    Parameters
    ----------
    margins : Margins
    column : int

    Attributes
    ----------
    has_steps : bool
        Whether the column has a lattice, to whose values the numbers of each cell are drawn together.
    """

    def __init__(self, margins: Margins, column: int) -> None:
        own = [column]
        self.margins = Margins([(c[own], h[own], raw[own]) for c, h, raw in margins.stages], np.dtype(np.float64))
        self._layers = self.margins.layers(0.0)
        lattices = self.margins.lattices
        self.has_steps = lattices is not None and bool(lattices.columns[0])

    def inverse(self, u: Floats) -> tuple[Floats, Floats]:
        """Map numbers u of any shape to v. Also return dv/du. Infinite numbers and NaN stay, with a slope of 0."""
        known = np.isfinite(u)
        v, log_slopes = self.margins.inverse(np.where(known, u, 0.0).reshape(-1, 1))
        return np.where(known, v.reshape(u.shape), u), np.where(known, np.exp(log_slopes).reshape(u.shape), 0.0)

    def forward(self, v: Floats) -> Floats:
        """Undo `inverse`."""
        u = v.reshape(-1, 1)
        for layer in self._layers:
            u = layer.forward(u)[0]
        found: Floats = u.reshape(v.shape)
        return found


def unbent(columns: Columns) -> tuple[Columns, Margins | None]:
    """Without the margins, which come last, only maps that are affine in the columns are left."""
    margins = Margins.from_layers(columns.layers, 0.0, np.dtype(np.float64))
    return (columns, None) if margins is None else (Columns(columns.layers[: -margins.n_layers]), margins)
