"""Density estimators of scikit-learn, with the settings that its users' guide recommends."""

import warnings

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from quality.densities.density import LOG_2PI
from quality.models.units import standardized
from quality.models.watching import show

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@standardized
def ledoit_wolf(x, seed):
    """A normal distribution with the shrunk covariance of Ledoit and Wolf (2004)."""
    estimate = LedoitWolf().fit(x)
    log_det = np.linalg.slogdet(estimate.covariance_)[1]
    # `mahalanobis` gives squared distances.
    return lambda points: -0.5 * (estimate.mahalanobis(points) + log_det + x.shape[1] * LOG_2PI)


def mixture_by_bic(x, seed):
    """The number of components with the least BIC; the search ends when three more numbers have not improved on it."""
    best, best_bic, since = None, np.inf, 0
    for n_components in COMPONENTS:
        if since == 3 or n_components > len(x):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianMixture(n_components, random_state=seed).fit(x)
        bic = model.bic(x)
        best, best_bic, since = (model, bic, 0) if bic < best_bic else (best, best_bic, since + 1)
        if best is model:
            show(model.score_samples)
    return best


@standardized
def gaussian_mixture(x, seed):
    return mixture_by_bic(x, seed).score_samples


@standardized
def bayesian_gaussian_mixture(x, seed):
    """A Dirichlet process prior decides how many of up to 32 components it uses, so there is no search by BIC.

    Its `score_samples` is not normalised, as it takes expectations of logarithms. The density is that of the mixture with
    the posterior means of weights, means and precisions.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = BayesianGaussianMixture(n_components=max(1, min(32, len(x) // 10)), max_iter=500, random_state=seed).fit(x)
    mixture = GaussianMixture(model.n_components)
    mixture.weights_, mixture.means_ = model.weights_ / model.weights_.sum(), model.means_
    mixture.precisions_cholesky_ = model.precisions_cholesky_
    return mixture.score_samples


def kernels_by_likelihood(x, seed):
    """The bandwidth with the best cross-validated likelihood, from a tenth of Scott's to more than his."""
    scott = len(x) ** (-1 / (x.shape[1] + 4))
    bandwidths = scott * np.logspace(-1, 0.2, 10)
    # A relative tolerance of 1e-4 costs as many nats at the most, and makes the trees ten times as fast.
    search = GridSearchCV(KernelDensity(rtol=1e-4), {"bandwidth": bandwidths}, cv=5)
    return search.fit(np.random.default_rng(seed).permutation(x)).best_estimator_


@standardized
def kernel_density(x, seed):
    return kernels_by_likelihood(x, seed).score_samples
