"""Models of columns with bounds, angles, whole numbers and categories: nvpflow, and models of reals on transformed columns.

They know the support of each column; see quality/supports.py. Imports are where they are needed, as packages are optional.
"""

import numpy as np

import nvpflow
from quality.models import Unsuitable
from quality.models.categories import per_category, refuse_categories
from quality.models.columns import Fitted, RealColumns
from quality.supports import ANGLE, is_category, is_whole


def flow_density(x, support, seed):
    return _fitted(nvpflow.FlowDensity(support=[_kind(kind) for kind in support], random_state=seed).fit(x))


def flow_density_without(x, support, seed):
    """The same without a support. Whole numbers and categories would have no density."""
    if any(map(is_whole, support)):
        raise Unsuitable("columns of whole numbers have no density")
    if any(map(is_category, support)):
        raise Unsuitable("columns of categories have no density")
    return _fitted(nvpflow.FlowDensity(random_state=seed).fit(x))


def _fitted(model):
    return Fitted(model.score_samples, lambda n, rng: np.asarray(model.sample(n, random_state=rng)))


def _kind(kind):
    if is_category(kind):
        return nvpflow.Category([float(value) for value in range(kind[1])])
    return kind if not is_whole(kind) else nvpflow.Integer(0, None if isinstance(kind, str) else kind[1])


@per_category
def gaussian_mixture(x, support, seed):
    """A mixture by BIC of transformed columns."""
    from quality.models.classical import mixture_by_bic

    columns = RealColumns(x, support, seed)
    mixture = mixture_by_bic(columns.reals, seed)
    return columns.fitted(mixture.score_samples, lambda n, rng: mixture.sample(n)[0])


@per_category
def kernel_density(x, support, seed):
    """Kernels of transformed columns, with the bandwidth that has the best cross-validated likelihood."""
    from quality.models.classical import kernels_by_likelihood

    columns = RealColumns(x, support, seed)
    kernels = kernels_by_likelihood(columns.reals, seed)
    return columns.fitted(kernels.score_samples, lambda n, rng: kernels.sample(n, random_state=seed))


def zuko_nsf(x, support, seed):
    """A spline flow of transformed columns, or a circular one (NCSF) if all are angles: zuko has none for some of them."""
    import torch
    import zuko

    from quality.models.torch_training import scorer, trained
    from quality.models.zuko_flows import spline_flow

    refuse_categories(support)
    dim = x.shape[1]
    if all(kind == ANGLE for kind in support):
        flow = trained(lambda: spline_flow(dim, zuko.flows.NCSF), x - np.pi, seed)
        log_prob = scorer(flow)
        return Fitted(lambda points: log_prob(points - np.pi), lambda n, rng: _draw(flow, n, torch) + np.pi)
    columns = RealColumns(x, support, seed)
    flow = trained(lambda: spline_flow(dim), columns.reals, seed)
    return columns.fitted(scorer(flow), lambda n, rng: _draw(flow, n, torch))


def _draw(flow, n, torch):
    with torch.no_grad():
        return flow().sample((n,)).double().numpy()
