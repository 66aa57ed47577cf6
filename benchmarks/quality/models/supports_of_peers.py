"""Models of columns with bounds, angles, whole numbers and categories by the features that their packages have for these."""

import warnings

import numpy as np

from quality.models import Unsuitable
from quality.models.categories import refuse_categories
from quality.models.columns import Fitted, noise_averaged, with_noise
from quality.supports import ANGLE, UNIT, is_category, is_whole

# As for the other flows; see torch_training.py.
MAX_STEPS, BATCH, PATIENCE = 5000, 256, 1000


def kernel_density(x, support, seed):
    """Kernels for real, ordered and unordered columns, of statsmodels, which knows no bounds; bandwidths by cross-validation.

    Its reference rule gives ordered columns bandwidths that are no probabilities.
    """
    from statsmodels.nonparametric.kernel_density import EstimatorSettings, KDEMultivariate

    kinds = "".join("o" if is_whole(kind) else "u" if is_category(kind) else "c" for kind in support)
    np.random.seed(seed)  # noqa: NPY002  statsmodels draws its parts of the data from it
    parts = EstimatorSettings(efficient=True, n_sub=250, n_res=4, return_only_bw=True)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        estimate = KDEMultivariate(x, kinds, bw="cv_ml", defaults=parts if len(x) > 500 else None)

    def log_prob(points):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(estimate.pdf(points))

    return log_prob


def vine_copula(x, support, seed):
    """A vine copula of pyvinecopulib, whose kernel margins know bounds and whole numbers, but no angles."""
    from pyvinecopulib import Vinedist

    refuse_categories(support)
    kinds = ["d" if is_whole(kind) else "c" for kind in support]
    model = Vinedist.from_data(x, var_types=kinds, supports=[_bounds(kind) for kind in support])
    return model.logpdf


def _bounds(kind):
    if kind is None:
        return None
    if is_whole(kind):
        return 0, None if isinstance(kind, str) else kind[1]
    return (0, 2 * np.pi) if kind == ANGLE else kind


def denmarf_flow(x, support, seed):
    """A masked autoregressive flow of denmarf, which has bounds for all columns or for none; its settings but 300 epochs."""
    import torch
    from denmarf import DensityEstimate

    if any(kind != UNIT for kind in support):
        raise Unsuitable("denmarf has two bounds for each column, or none")
    torch.set_num_threads(1)
    low, high = np.zeros(x.shape[1]), np.ones(x.shape[1])
    model = DensityEstimate(seed=seed, use_cuda=False)
    model.fit(x, bounded=True, lower_bounds=low, upper_bounds=high, num_epochs=300, verbose=False)
    return Fitted(model.score_samples, lambda n, rng: model.sample(n).astype(float))


def pzflow_flow(x, support, seed):
    """pzflow's own flow of rolling splines, circular if all columns are angles, over the bounds that columns have.

    Positive columns are taken through its softplus, whole numbers have uniform noise, averaged out of their mass.
    """
    import pandas as pd
    from pzflow import Flow
    from pzflow.bijectors import Chain, InvSoftplus, RollingSplineCoupling, ShiftBounds
    from pzflow.distributions import CentBeta13, Uniform

    refuse_categories(support)
    rng, dim = np.random.default_rng(seed), x.shape[1]
    whole = [d for d, kind in enumerate(support) if is_whole(kind)]
    positive = [d for d, kind in enumerate(support) if kind == (0, None)]
    noisy = with_noise(x, whole, rng)
    unbounded = noisy.copy()
    unbounded[:, positive] = np.log(np.expm1(noisy[:, positive]))
    limits = [_limits(column, kind) for column, kind in zip(unbounded.T, support)]
    chain = [InvSoftplus(d) for d in positive] + [ShiftBounds(*np.array(limits).T, 5.0)]
    is_circular = all(kind == ANGLE for kind in support)
    chain.append(RollingSplineCoupling(dim, periodic=is_circular))
    latent = Uniform(dim) if all(kind in (UNIT, ANGLE) for kind in support) else CentBeta13(dim)
    names = [f"x{d}" for d in range(dim)]
    flow = Flow(names, bijector=Chain(*chain), latent=latent, seed=seed)
    frame = pd.DataFrame(noisy[rng.permutation(len(x))], columns=names)
    n_validation = len(x) // 10
    batches = -(-(len(x) - n_validation) // BATCH)
    flow.train(
        frame[n_validation:], frame[:n_validation], epochs=MAX_STEPS // batches, patience=PATIENCE // batches,
        batch_size=BATCH, seed=seed,
    )  # fmt: skip

    def of_points(points):
        return np.asarray(flow.log_prob(pd.DataFrame(points, columns=names)), np.float64)

    def sample(n, rng):
        drawn = flow.sample(n, seed=seed)[names].to_numpy(np.float64).copy()
        drawn[:, whole] = np.floor(drawn[:, whole])
        return drawn

    return Fitted(lambda points: noise_averaged(of_points, points, whole), sample)


def _limits(column, kind):
    """Where the splines end: at the bounds, or, as pzflow does it, at 5/4 of the range of the samples."""
    if kind == UNIT:
        return kind
    if kind == ANGLE:
        return 0, 2 * np.pi
    middle, half = (column.max() + column.min()) / 2, (column.max() - column.min()) / 2
    return middle - 1.25 * half, middle + 1.25 * half
