"""Densities of scale.py, and the files that hold rows of them."""

from pathlib import Path

import numpy as np

COLUMNS, ROWS_PER_FILE, ROWS_PER_DRAW, ROWS_PER_GROUP = 10, 1_000_000, 250_000, 125_000


def bananas(n, rng):
    """Rows (n, 10): chained pairs of a normal column and one that is bent around its square."""
    z = rng.standard_normal((n, COLUMNS))
    x = z.copy()
    for i in range(0, COLUMNS - 1, 2):
        x[:, i + 1] = 0.5 * z[:, i + 1] + 0.7 * (z[:, i] ** 2 - 1) + (0.3 * x[:, i - 1] if i else 0)
    return x


def checkerboard(n, rng):
    """Rows (n, 2), even on the dark ones of 4 x 4 squares of side 2: a log-density of -3.4657 nats there."""
    column, half = rng.integers(4, size=n), rng.integers(2, size=n)
    corners = np.stack([column, 2 * half + column % 2], axis=1)
    return 2 * (corners + rng.random((n, 2))) - 4


def clusters(n, rng):
    """Rows (n, 10) of thirty normal distributions."""
    shape = np.random.default_rng(99)
    k = 30
    means = 2 * shape.standard_normal((k, COLUMNS))
    factors = 0.3 * np.tril(shape.standard_normal((k, COLUMNS, COLUMNS))) + 0.5 * np.eye(COLUMNS)
    which = rng.choice(k, n, p=shape.dirichlet(np.ones(k)))
    x = means[which]
    for i in range(k):
        x[which == i] += rng.standard_normal((np.count_nonzero(which == i), COLUMNS)) @ factors[i].T
    return x


def tails(n, rng):
    """Rows (n, 5) of Student's t with three degrees of freedom; the columns are correlated."""
    shape = np.random.default_rng(98)
    factor = 0.4 * np.tril(shape.standard_normal((5, 5))) + 0.6 * np.eye(5)
    return rng.standard_normal((n, 5)) @ factor.T / np.sqrt(rng.chisquare(3, (n, 1)) / 3)


DENSITIES = {"bananas": bananas, "checkerboard": checkerboard, "clusters": clusters, "tails": tails}


def names_of(x):
    return [f"x{i}" for i in range(x.shape[1])]


def as_table(x):
    """Rows as a table of pyarrow."""
    import pyarrow

    return pyarrow.table(list(np.ascontiguousarray(x.T)), names=names_of(x))


def write_parquet(folder, draws):
    """Write rows (m, D) that come one draw after the other to files of a million rows."""
    from pyarrow import parquet

    writer, n = None, 0
    for x in draws:
        table = as_table(x)
        if n % ROWS_PER_FILE == 0:
            if writer is not None:
                writer.close()
            path = Path(folder, f"{n // ROWS_PER_FILE:05}.parquet")
            writer = parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        n += len(x)
    writer.close()


def draws_of(density, n, seed, dtype):
    """n rows of a density in parts, which do not take memory together."""
    for start in range(0, n, ROWS_PER_DRAW):
        rng = np.random.default_rng([seed, start])
        yield DENSITIES[density](min(ROWS_PER_DRAW, n - start), rng).astype(dtype)
