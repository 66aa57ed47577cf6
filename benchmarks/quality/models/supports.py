"""Models of columns with bounds and of whole numbers, which know the support of each column; see quality/supports.py."""

import warnings

import numpy as np
from scipy.special import ndtri

import nvpflow
from quality.densities.density import LOG_2PI
from quality.supports import is_category, is_whole


def flow_density(x, support, seed):
    return nvpflow.FlowDensity(support=[_kind(kind) for kind in support], random_state=seed).fit(x).score_samples


def flow_density_without(x, support, seed):
    """The same without a support. Whole numbers and categories would have no density."""
    _refuse_others(support)
    return nvpflow.FlowDensity(random_state=seed).fit(x).score_samples


def _kind(kind):
    if is_category(kind):
        return nvpflow.Category([float(value) for value in range(kind[1])])
    return kind if not is_whole(kind) else nvpflow.Integer(0, None if isinstance(kind, str) else kind[1])


def _refuse_others(support):
    if any(map(is_whole, support)):
        raise ValueError("columns of whole numbers have no density")
    if any(map(is_category, support)):
        raise ValueError("columns of categories have no density")


def gaussian_mixture(x, support, seed):
    """A mixture by BIC of transformed columns: logarithms of positive numbers, normal scores of those in the unit interval."""
    from quality.models.classical import gaussian_mixture as of_reals  # only where scikit-learn is installed

    _refuse_others(support)
    log_prob = of_reals(_transformed(x, support)[0], seed)

    def of_own_units(points):
        reals, log_slopes = _transformed(points, support)
        return log_prob(reals) + log_slopes

    return of_own_units


def _transformed(x, support):
    """The columns as real numbers, and the logarithm of the derivative, summed over the columns."""
    columns, log_slopes = [], 0
    for column, kind in zip(x.T, support):
        if kind == (0, 1):
            z = ndtri(column)
            columns.append(z)
            log_slopes = log_slopes + 0.5 * z**2 + 0.5 * LOG_2PI
        elif kind == (0, None):
            columns.append(np.log(column))
            log_slopes = log_slopes - np.log(column)
        else:
            columns.append(column)
    return np.stack(columns, axis=1), log_slopes


def kernel_density(x, support, seed):
    """Kernels for real, for ordered and for unordered columns, without knowledge of bounds; bandwidths by the normal reference rule."""
    from statsmodels.nonparametric.kernel_density import KDEMultivariate

    kinds = "".join("o" if is_whole(kind) else "u" if is_category(kind) else "c" for kind in support)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        estimate = KDEMultivariate(x, kinds, bw="normal_reference")
    return lambda points: np.log(estimate.pdf(points))
