"""The models that are judged, each optional where a package is missing.

A model is a function of samples, shape (n, D), for conditional tasks also of their contexts, (n, C), or of the supports of the
columns, and of a random state.
It fits them and returns the log-density of the fit: a function from points, (m, D), and their contexts to nats, (m,).
"""

import hashlib
import importlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import nvpflow


class Unsuitable(ValueError):
    """Raised by a model that is not made for such columns: there is no figure of it then."""


class Model(NamedTuple):
    """Where the function of a model is, which packages compute it, and the most samples that it is run with."""

    module: str
    function: str
    packages: tuple[str, ...]
    largest: int = 100_000

    @property
    def is_installed(self):
        return all(find_spec(package) for package in self.packages)

    @property
    def is_ours(self):
        return self.packages == ("nvpflow",)

    def load(self):
        """The function, whose packages are imported."""
        return getattr(importlib.import_module(f"quality.models.{self.module}"), self.function)

    def fit(self, *samples, seed):
        return self.load()(*samples, seed)

    def software(self):
        """What computes the figures: names and versions, for nvpflow with a digest of its code."""
        if not self.is_ours:
            return ", ".join(f"{package} {version(_DISTRIBUTIONS.get(package, package))}" for package in self.packages)
        package, digest = Path(nvpflow.__file__).parent, hashlib.sha256()
        for path in sorted([*package.rglob("*.py"), Path(nvpflow._core.__file__)]):
            digest.update(path.read_bytes())
        return f"nvpflow {nvpflow.__version__} ({digest.hexdigest()[:8]})"


_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_OURS, _SKLEARN, _ZUKO, _NFLOWS = ("nvpflow",), ("sklearn",), ("zuko", "torch"), ("nflows", "torch")

MODELS = {
    "nvpflow FlowDensity": Model("ours", "flow_density", _OURS),
    "nvpflow article": Model("ours", "article", _OURS),
    "LedoitWolf": Model("classical", "ledoit_wolf", _SKLEARN),
    "GaussianMixture": Model("classical", "gaussian_mixture", _SKLEARN),
    "BayesianGaussianMixture": Model("classical", "bayesian_gaussian_mixture", _SKLEARN, 10_000),
    "KernelDensity": Model("classical", "kernel_density", _SKLEARN, 10_000),
    "vine copula": Model("vines", "vine_copula", ("pyvinecopulib",), 10_000),
    "adversarial forest": Model("forests", "adversarial_forest", ("arfpy",), 1000),
    "zuko NSF": Model("zuko_flows", "nsf", _ZUKO),
    "zuko MAF": Model("zuko_flows", "maf", _ZUKO),
    "zuko RealNVP": Model("zuko_flows", "real_nvp", _ZUKO),
    "nflows spline": Model("nflows_flows", "spline", _NFLOWS),
    "nflows affine": Model("nflows_flows", "affine", _NFLOWS),
    "PyTorch article": Model("torch_article", "article", ("torch",)),
}
CONDITIONAL_MODELS = {
    "nvpflow FlowDensity": Model("ours", "conditional_flow_density", _OURS),
    "LinearRegression": Model("conditional", "normal_linear_regression", _SKLEARN),
    "GaussianMixture": Model("conditional", "conditioned_mixture", _SKLEARN),
    "zuko NSF": Model("zuko_flows", "conditional_nsf", _ZUKO),
}
SUPPORT_MODELS = {
    "nvpflow FlowDensity": Model("supports", "flow_density", _OURS),
    "nvpflow without support": Model("supports", "flow_density_without", _OURS),
    "GaussianMixture": Model("supports", "gaussian_mixture", _SKLEARN),
    "KernelDensity": Model("supports", "kernel_density", _SKLEARN, 10_000),
    "zuko NSF": Model("supports", "zuko_nsf", _ZUKO),
    "KDEMultivariate": Model("supports_of_peers", "kernel_density", ("statsmodels",), 1000),
    "vine copula": Model("supports_of_peers", "vine_copula", ("pyvinecopulib",), 10_000),
    "denmarf": Model("supports_of_peers", "denmarf_flow", ("denmarf", "torch"), 1000),
    "pzflow": Model("supports_of_peers", "pzflow_flow", ("pzflow",)),
}
# What nvpflow should never be far behind: normal distributions and kernels.
SIMPLE = ("LedoitWolf", "GaussianMixture", "KernelDensity", "LinearRegression")
OURS = "nvpflow FlowDensity"
