"""Densities that can be sampled and whose logarithm is known exactly, in float64, to judge models of densities by.

A row of DESIGN says of a density which kind it is of, in which half, and with how many samples it is run. Nobody tunes
on the half "report". Each kind is in both halves; the defaults of nvpflow were tuned on densities that are in "choose".
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from quality.densities.bent import BananaChains, FiveBananas, Funnel, HiddenMoons
from quality.densities.columns import (
    AR1_MARGINS,
    GAMMA_MARGINS,
    GaussianCopula,
    Independent,
    StudentT,
    autoregressive,
    equal_correlation,
)
from quality.densities.density import Density
from quality.densities.line import (
    ASYMMETRIC_CLAW,
    CLAW,
    DISCRETE_COMB,
    KURTOTIC,
    OUTLIER,
    SEPARATED_BIMODAL,
    SKEWED_BIMODAL,
    SMOOTH_COMB,
    STRONGLY_SKEWED,
)
from quality.densities.mixtures import (
    BimodalFactors,
    CorrelatedGaussians,
    EightGaussians,
    FactorModel,
    GridOfGaussians,
    Normal,
    TwoScales,
    correlated,
)
from quality.densities.surfaces import SwissRoll, Torus
from quality.densities.toys import Checkerboard, Circles, FigureEight, Moons, Pinwheel, Ring, Spirals, Staircase


class Row(NamedTuple):
    """What is declared of a density."""

    kind: str
    half: str
    sizes: tuple[int, ...]
    density: Density


SMALL, USUAL = (50, 200, 1000), (200, 1000, 10_000)
UP, ALL = (*USUAL, 100_000), (50, *USUAL, 100_000)

DESIGN = {
    # One dimension
    "kurtotic": Row("line", "choose", USUAL, KURTOTIC),
    "skewed-bimodal": Row("line", "choose", USUAL, SKEWED_BIMODAL),
    "claw": Row("line", "choose", ALL, CLAW),
    "discrete-comb": Row("line", "choose", USUAL, DISCRETE_COMB),
    "strongly-skewed": Row("line", "report", ALL, STRONGLY_SKEWED),
    "outlier": Row("line", "report", USUAL, OUTLIER),
    "separated-bimodal": Row("line", "report", USUAL, SEPARATED_BIMODAL),
    "asymmetric-claw": Row("line", "report", USUAL, ASYMMETRIC_CLAW),
    "smooth-comb": Row("line", "report", USUAL, SMOOTH_COMB),
    # Curves with noise, in the plane
    "moons-0.05": Row("curve", "choose", USUAL, Moons(0.05)),
    "moons-0.1": Row("curve", "choose", ALL, Moons(0.1)),
    "circles": Row("curve", "choose", USUAL, Circles()),
    "pinwheel": Row("curve", "choose", USUAL, Pinwheel()),
    "2spirals": Row("curve", "choose", USUAL, Spirals()),
    "ring": Row("curve", "report", UP, Ring()),
    "figure-eight": Row("curve", "report", UP, FigureEight()),
    # Surfaces with noise, in space
    "swiss-roll": Row("surface", "choose", UP, SwissRoll()),
    "torus": Row("surface", "report", UP, Torus()),
    # Bounded
    "checkerboard": Row("bounded", "choose", USUAL, Checkerboard()),
    "exponential-5d": Row("bounded", "choose", USUAL, Independent([stats.expon()] * 5)),
    "staircase": Row("bounded", "report", USUAL, Staircase()),
    "uniform-5d": Row("bounded", "report", USUAL, Independent([stats.uniform()] * 5)),
    # Clusters
    "8gaussians": Row("clusters", "choose", USUAL, EightGaussians()),
    "gaussians-10d": Row("clusters", "choose", USUAL, CorrelatedGaussians()),
    "25gaussians": Row("clusters", "report", USUAL, GridOfGaussians()),
    "gaussians-20d": Row("clusters", "report", UP, CorrelatedGaussians(20, 8)),
    # Clusters of different scales
    "scales-0.02-1": Row("scales", "choose", USUAL, TwoScales(0.02, 1)),
    "scales-0.001-1000": Row("scales", "report", USUAL, TwoScales(1e-3, 1e3)),
    # Many dimensions, linear dependence
    "normal-50d": Row("linear", "choose", (*SMALL, 10_000), Normal(np.eye(50))),
    "factors-30d": Row("linear", "choose", (*SMALL, 10_000), FactorModel()),
    "correlated-normal-50d": Row("linear", "report", (*SMALL, 10_000), Normal(correlated(50))),
    "bimodal-factors-30d": Row("linear", "report", (*SMALL, 10_000), BimodalFactors()),
    # Margins that are not normal
    "gamma-copula-6d": Row("margins", "choose", USUAL, GaussianCopula(equal_correlation(6, 0.6), GAMMA_MARGINS)),
    "ar1-copula-20d": Row("margins", "report", UP, GaussianCopula(autoregressive(20, 0.7), AR1_MARGINS)),
    # Heavy tails
    "student-t-5d": Row("tails", "choose", USUAL, StudentT(equal_correlation(5, 0.5), 3)),
    "log-normal-5d": Row("tails", "report", USUAL, GaussianCopula(equal_correlation(5, 0.5), [stats.lognorm(1)] * 5)),
    # Bent, in ten dimensions
    "funnel-10d": Row("bent", "choose", USUAL, Funnel()),
    "five-bananas-10d": Row("bent", "choose", UP, FiveBananas()),
    "banana-chains-10d": Row("bent", "report", UP, BananaChains()),
    "hidden-moons-10d": Row("bent", "report", USUAL, HiddenMoons()),
}
DENSITIES = {name: row.density for name, row in DESIGN.items()}
