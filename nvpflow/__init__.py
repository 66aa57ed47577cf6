"""Normalizing flows with a C compute core, for people who use NumPy.

>>> import numpy as np, nvpflow
>>> X = np.random.default_rng(0).normal(size=(200, 2))
>>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
>>> model.score_samples(X).shape
(200,)
"""

import importlib
from typing import TYPE_CHECKING, Any

try:
    from nvpflow import _core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "nvpflow._core":
        raise
    raise ModuleNotFoundError(
        f"the extension nvpflow._core is not built in {__path__[0]}: this is a source directory. "
        "Start Python elsewhere, or build it here with `pip install -e .`",
        name=error.name,
    ) from None
from nvpflow._io.load import load
from nvpflow._io.save import save
from nvpflow._warnings import AccuracyWarning
from nvpflow.circular_base import CircularBase
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.density import FlowDensity, NotFittedError
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import ConvergenceWarning, Flow
from nvpflow.layers import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bounded,
    CircularSplineCoupling,
    CouplingLayer,
    Linear,
    LULinear,
    Permutation,
    SplineCoupling,
)
from nvpflow.mixture_base import MixtureBase
from nvpflow.normal_base import NormalBase
from nvpflow.optim import Adam, TrainingState
from nvpflow.outliers import FlowOutlierDetector
from nvpflow.real_nvp import RealNVP
from nvpflow.student_t_base import StudentTBase
from nvpflow.supports import Angle, Category, Integer

if TYPE_CHECKING:
    from nvpflow.classifier import FlowClassifier
    from nvpflow.regressor import FlowRegressor

__version__ = "0.1.0"

__all__ = [
    "AccuracyWarning",
    "ActNorm",
    "Adam",
    "AdditiveCoupling",
    "AffineCoupling",
    "Angle",
    "Bounded",
    "Category",
    "CircularBase",
    "CircularSplineCoupling",
    "ConditionalMixtureBase",
    "ConvergenceWarning",
    "CouplingLayer",
    "Flow",
    "FlowClassifier",
    "FlowDensity",
    "FlowEnsemble",
    "FlowOutlierDetector",
    "FlowRegressor",
    "Integer",
    "LULinear",
    "Linear",
    "MixtureBase",
    "NormalBase",
    "NotFittedError",
    "Permutation",
    "RealNVP",
    "SplineCoupling",
    "StudentTBase",
    "TrainingState",
    "load",
    "save",
]


LATER = {"FlowClassifier": "classifier", "FlowRegressor": "regressor"}


def __getattr__(name: str) -> Any:
    """Import the modules that `import nvpflow` leaves out, to be quick, when they are first used."""
    if name in LATER:
        return getattr(importlib.import_module(f"nvpflow.{LATER[name]}"), name)
    if name in ("cli", "datasets", "monte_carlo", "plot", "progress", "scale"):
        return importlib.import_module(f"nvpflow.{name}")
    raise AttributeError(f"module 'nvpflow' has no attribute {name!r}")
