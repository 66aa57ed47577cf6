"""The models that quality.py judges.

Each is a function of samples, shape (n, D), and a random state, which fits them and returns the log-density of the fit:
a function from points, shape (m, D), to nats, shape (m,).
"""

import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

import nvpflow

try:
    import torch_models

    MISSING = None
except ModuleNotFoundError as error:
    torch_models, MISSING = None, error.name

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def standardized(fit):
    """`fit` on columns of mean 0 and deviation 1, its density taken back to the units of the data."""

    def fit_standardized(x, seed):
        mean, deviation = x.mean(axis=0), x.std(axis=0)
        log_prob = fit((x - mean) / deviation, seed)
        return lambda points: log_prob((points - mean) / deviation) - np.log(deviation).sum()

    return fit_standardized


def flow_density(x, seed):
    return nvpflow.FlowDensity(random_state=seed).fit(x).score_samples


def article(x, seed):
    """8 layers, one hidden layer of 64, unbounded scale, 1000 full-batch steps of Adam."""
    dim = x.shape[1]
    masks = [[(d + layer + 1) % 2 for d in range(dim)] for layer in range(8)]
    layers = [
        nvpflow.AffineCoupling(dim, 64, mask, scale="exp", random_state=np.random.SeedSequence([seed, layer]))
        for layer, mask in enumerate(masks)
    ]
    flow = nvpflow.Flow(layers)
    flow.fit(x, max_iter=1000, learning_rate=1e-3)
    return flow.log_prob


def gaussian_mixture(x, seed):
    """The number of components with the least BIC; the search ends when three more numbers have not bettered it."""
    best, best_bic, since = None, np.inf, 0
    for n_components in COMPONENTS:
        if since == 3 or n_components > len(x):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianMixture(n_components, random_state=seed).fit(x)
        bic = model.bic(x)
        best, best_bic, since = (model, bic, 0) if bic < best_bic else (best, best_bic, since + 1)
    return best.score_samples


def kernel_density(x, seed):
    """The bandwidth with the best cross-validated likelihood, from a tenth of Scott's to more than his."""
    scott = len(x) ** (-1 / (x.shape[1] + 4))
    bandwidths = scott * np.logspace(-1, 0.2, 10)
    # A relative tolerance of 1e-4 costs as many nats at the most, and makes the trees ten times as fast.
    search = GridSearchCV(KernelDensity(rtol=1e-4), {"bandwidth": bandwidths}, cv=5)
    return search.fit(np.random.default_rng(seed).permutation(x)).best_estimator_.score_samples


OURS = {"nvpflow FlowDensity": flow_density, "nvpflow article": standardized(article)}
MODELS = OURS | {
    "GaussianMixture": standardized(gaussian_mixture),
    "KernelDensity": standardized(kernel_density),
}
if torch_models:
    MODELS |= {
        "zuko NSF": standardized(torch_models.zuko_nsf),
        "zuko RealNVP": standardized(torch_models.zuko_real_nvp),
        "nflows spline": standardized(torch_models.nflows_spline),
        "nflows affine": standardized(torch_models.nflows_affine),
        "PyTorch article": standardized(torch_models.article),
    }


def software(model):
    """What computed a figure of the model: names and versions, for nvpflow with a digest of its code."""
    if model in OURS:
        package = Path(nvpflow.__file__).parent
        digest = hashlib.sha256()
        for path in sorted([*package.rglob("*.py"), Path(nvpflow._core.__file__)]):
            digest.update(path.read_bytes())
        return f"nvpflow {nvpflow.__version__} ({digest.hexdigest()[:8]})"
    packages = {"zuko": ["zuko", "torch"], "nflows": ["nflows", "torch"], "PyTorch": ["torch"]}
    return ", ".join(f"{name} {version(name)}" for name in packages.get(model.split()[0], ["scikit-learn"]))
