"""Training data with missing cells, completed for the training of a flow.

The missing cells of a row are drawn from their conditional distribution given the others, by a mixture fitted to the present
cells of all rows: Rubin (1987), "Multiple imputation for nonresponse in surveys". Means instead of draws would make the
density too narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.lattice import Lattices
from nvpflow._typing import Floats
from nvpflow.missing._em import fit_incomplete
from nvpflow.missing._fill import fill_with_others
from nvpflow.missing._patterns import Mask
from nvpflow.supports._fitted import Supports, supports_for

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity
    from nvpflow.supports import Declared

__all__ = ["complete"]


def complete(
    settings: Settings, data: Data, declared: Declared | None, seed: int, before: FlowDensity | None = None
) -> tuple[Supports | None, list[Data]]:
    """Complete data with missing cells, once for each member of an ensemble.

    Parameters
    ----------
    settings : Settings
    data : Data
        NaN where a cell is missing; no row or column misses all cells.
    declared : Declared or None
    seed : int
    before : FlowDensity, optional
        A fitted model to continue, whose supports are kept.

    Returns
    -------
    supports : Supports or None
        Of the columns.
    completed : list of Data
        In the units of the data, valid as samples.
    """
    missing, rng = np.isnan(data.x), np.random.default_rng(seed)
    filled = data._replace(x=_with_values_of_others(data, missing, rng))
    supports, spread = supports_for(declared, filled, settings.dtype, int(rng.integers(2**32)), before)
    x = (spread if supports is None else supports.to_reals(spread)).x.astype(np.float64)
    # The context belongs to the mixture, so that draws are given the context, too.
    n_context = 0 if data.context is None else data.context.shape[1]
    columns = x if data.context is None else np.hstack([data.context.astype(np.float64), x])
    units = ColumnUnits(columns, data.weight)
    z = (columns - units.mean) / units.deviation
    known = z.copy()
    known[:, n_context:][missing] = np.nan
    mixture = fit_incomplete(known, z, data.weight, int(rng.integers(2**32)))
    lattices = Lattices.of(data, np.ones(data.x.shape[1], bool) if supports is None else supports.may_have_margins)
    completed = []
    for _ in range(settings.n_models):
        drawn = (mixture.complete(known, rng) * units.deviation + units.mean)[:, n_context:]
        own = drawn if supports is None else supports.from_reals(drawn)
        own = own if lattices is None else lattices.nearest(own)
        completed.append(data._replace(x=np.where(missing, own, data.x)))
    return supports, completed


def _with_values_of_others(data: Data, missing: Mask, rng: np.random.Generator) -> Floats:
    """Fill each missing cell with a value of its column, by the weights of the rows: the columns keep their distributions."""
    x = data.x.copy()
    for column, absent in zip(x.T, missing.T):
        if absent.any():
            fill_with_others(column, absent, data.weight, rng)
    return x
