"""Conditional densities that scikit-learn's models give: a normal linear regression, and a mixture of (c, x)."""

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture

from quality.densities.density import LOG_2PI
from quality.models.classical import mixture_by_bic
from quality.models.units import standardized


@standardized
def normal_linear_regression(x, c, seed):
    """x is normal about a linear function of c; the covariance of the residuals has their degrees of freedom."""
    regression = LinearRegression().fit(c, x)
    residuals = x - regression.predict(c)
    factor = np.linalg.cholesky(residuals.T @ residuals / (len(x) - c.shape[1] - 1))

    def log_prob(points, contexts):
        z = np.linalg.solve(factor, (points - regression.predict(contexts)).T)
        return -0.5 * (z**2).sum(axis=0) - np.log(np.diag(factor)).sum() - 0.5 * len(z) * LOG_2PI

    return log_prob


@standardized
def conditioned_mixture(x, c, seed):
    """log p(c, x) - log p(c) of a mixture by BIC, whose margins are mixtures."""
    joint = mixture_by_bic(np.hstack([c, x]), seed)
    margin = GaussianMixture(joint.n_components)
    dim = c.shape[1]
    margin.weights_, margin.means_ = joint.weights_, joint.means_[:, :dim]
    factors = np.linalg.cholesky(joint.covariances_[:, :dim, :dim])
    margin.precisions_cholesky_ = np.linalg.inv(factors).transpose(0, 2, 1)
    return lambda points, contexts: joint.score_samples(np.hstack([contexts, points])) - margin.score_samples(contexts)
