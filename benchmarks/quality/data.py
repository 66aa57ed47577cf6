"""All data that models are judged on, by name: exact densities, real tables, conditional tasks, columns with a support."""

from typing import NamedTuple

import numpy as np

from quality import conditional, densities, supports, tables

N_HELD_OUT = 10_000
HALVES = ("choose", "report")
SORTS = ("density", "table", "conditional", "support")


class Data(NamedTuple):
    """Which sort of data it is, of which kind, in which half, and the numbers of samples that it is run with."""

    sort: str
    kind: str
    half: str
    sizes: tuple[int, ...]


DATA = {
    **{name: Data("density", row.kind, row.half, row.sizes) for name, row in densities.DESIGN.items()},
    **{name: Data("table", row.kind, row.half, (tables.n_training(name),)) for name, row in tables.TABLES.items()},
    **{name: Data("conditional", row.kind, row.half, row.sizes) for name, row in conditional.DESIGN.items()},
    **{name: Data("support", row.kind, row.half, row.sizes) for name, row in supports.DESIGN.items()},
}


def is_installed(name):
    """Whether the package is there that has the table; densities need none."""
    table = _table_of(name)
    return table is None or tables.TABLES[table].is_installed


def cells(names, sizes=None):
    """(data, n) of all declared numbers of samples, or of those among `sizes`; a table has the one that its split leaves."""
    return [(name, n) for name in names for n in DATA[name].sizes if sizes is None or n in sizes or _table_of(name)]


def _table_of(name):
    """The name of the real table that the data are of, or None."""
    if name in conditional.DESIGN:
        return getattr(conditional.DESIGN[name].task, "table", None)
    return name if name in tables.TABLES else None


def draw(name, n, state):
    """Training samples, held-out samples, and the exact log-density of these, 0 if there is none.

    Samples are tuples, (x,) or (x, c) with a context. Those to train on are (x, support) where columns have one. The random state stands for both, and for the split of a table.
    """
    rng = np.random.default_rng(state)
    if name in tables.TABLES:
        train, held_out = tables.split(name, rng)
        return (train,), (held_out,), 0.0
    if name in densities.DENSITIES:
        density = densities.DENSITIES[name]
        train, held_out = (density.sample(n, rng),), (density.sample(N_HELD_OUT, rng),)
        return train, held_out, density.log_prob(*held_out)
    if name in supports.DESIGN:
        row = supports.DESIGN[name]
        train, held_out = row.density.sample(n, rng), row.density.sample(N_HELD_OUT, rng)
        return (train, row.support), (held_out,), row.density.log_prob(held_out)
    task = conditional.DESIGN[name].task
    if isinstance(task, conditional.TableColumns):
        return *task.split(rng), 0.0
    train, held_out = task.sample(n, rng), task.sample(N_HELD_OUT, rng)
    return train, held_out, task.log_prob(*held_out)
