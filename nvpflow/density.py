"""FlowDensity: a density estimator with scikit-learn's conventions, without scikit-learn."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, cast, overload

import numpy as np

from nvpflow._fitted import INCOMPLETE, NotFittedError
from nvpflow._latent import LATENTS, LatentPoints, check_latent
from nvpflow._lazy import is_lazy
from nvpflow._sklearn.available import of_one_flow
from nvpflow._sklearn.feature_names import check_feature_names
from nvpflow._sklearn.metadata_routing import RequestMethod
from nvpflow._sklearn.parameters import Check, allowed
from nvpflow._streamed import Streamed, is_source, refuse_with_source
from nvpflow._training.build import reads
from nvpflow._training.copies import with_copies
from nvpflow._training.dataset import Data, check_data, count_given, refuse_context, warn_of_dependent_columns
from nvpflow._training.degenerate import refuse_constant_columns
from nvpflow._training.fit import train
from nvpflow._training.members import check_members, train_members
from nvpflow._training.origin import name_columns
from nvpflow._training.outdone import Outdone
from nvpflow._training.partial_fit import Stream
from nvpflow._training.prepare import Prepared, prepare, read_table, without_codes
from nvpflow._training.settings import Settings
from nvpflow._training.statistics import blocks
from nvpflow._typing import (
    Activation,
    AnyPath,
    ArrayLike,
    Base,
    BatchSize,
    BinaryWriter,
    Bools,
    Callback,
    ConstantColumns,
    CouplingKind,
    DTypeLike,
    Floats,
    History,
    Ints,
    Latent,
    Missing,
    Schedule,
    Search,
    Seed,
)
from nvpflow._validation.arguments import (
    check_batch_size,
    check_bool,
    check_callback,
    check_choice,
    check_hidden,
    check_int,
    check_n_jobs,
    check_random_state,
    check_real,
    check_scale_bound,
    check_tail_bound,
    check_verbose,
    check_warmup,
    draw_seeds,
)
from nvpflow._validation.weights import check_weights
from nvpflow.diagnostics._mixin import Diagnostics
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import Flow
from nvpflow.layers import ACTIVATIONS, MAX_BINS, SCALE_BOUND
from nvpflow.missing._completion import complete
from nvpflow.missing._output import filled_like
from nvpflow.missing._rows import warn_of_pairs_apart
from nvpflow.queries._mixin import Queries
from nvpflow.supports import Declared, Support, check_support
from nvpflow.supports._encoding import count_rows
from nvpflow.supports._fitted import Supports, check_unchanged, supports_for
from nvpflow.supports._kinds import REALS, Kind
from nvpflow.supports._repeated import warn_of_repeated_values
from nvpflow.supports._steps import warn_of_steps
from nvpflow.supports._turns import refuse_heavy_tails, warn_of_many_turns

__all__ = ["FlowDensity", "NotFittedError"]

NO_DENSITY = (
    "the mean log-density of the samples is not finite {}: coupling='spline', a scale_bound, standardize=True, "
    "dtype='float64', fewer layers, a smaller learning_rate, or samples of a smaller range or in other units may help"
)


# The fitted attributes of a model whose columns are all categories.
WITHOUT_FLOW: dict[str, Any] = {
    "flow_": None,
    "history_": {"train_nll": np.empty(0)},
    "n_iter_": 0,
    "best_iter_": 0,
    "origin_": np.empty(0),
}


class _Draws(NamedTuple):
    """What samples are drawn from."""

    arguments: dict[str, Any]  # of the flow's `sample`
    codes: Ints | None  # of the categories of each sample
    empty: Floats  # numbers (n, 0) where there are no others


class FlowDensity(Diagnostics, Queries, LatentPoints, Streamed):
    """Density estimation with a normalizing flow: spline couplings over a fitted mixture.

    By default `fit` starts with a mixture of normal distributions as the base density of the flow. Coupling layers start at
    the identity and learn what the mixture misses. Held-out samples then choose between this flow and an average of mixtures.
    With ``base="normal"``, a standard normal base, the layers do all the work. `RealNVP` has the defaults of the paper of that
    name.

    Samples are anything that holds real numbers in CPU memory: sequences, arrays, data frames of pandas and polars (column
    names are checked as in scikit-learn), tensors without gradient. Columns of a frame that are categorical, boolean or texts,
    and those that `support` declares, are categories: unordered values with probabilities. Missing values (NaN, None,
    masked elements) are an error, unless `missing` allows them. The class is a density estimator and a transformer for the
    pipelines, searches and cross-validation of scikit-learn.

    Log-densities are in nats, per unit of the data. A density is not a probability: where samples are closer than one unit,
    its logarithm is positive. It is -inf where a sample has no density.

    Columns may have a `support`: bounds, whole numbers, angles, or categories. Fitted with a `context`, C numbers for each
    sample, the model is a conditional density p(x | context). Every method after `fit` then needs a context.

    Parameters
    ----------
    n_layers : int or None, default None
        Number of coupling layers. Their masks alternate: 1, 0, 1, ... and 0, 1, 0, ... None: 12 over a normal
        base or with a context; over a mixture 8, or 4 for fewer than 1500 samples in at most four columns.
    hidden_dim : int or sequence of int, default 32
        Width of the networks' hidden layer, or widths of several hidden layers.
    activation : {"relu", "tanh", "silu"}, default "relu"
    coupling : {"spline", "affine", "additive"}, default "spline"
        How a layer transforms columns: "spline" by monotone rational-quadratic splines, as in neural spline flows
        (`SplineCoupling`); "affine" by a scale and a shift, as in Real NVP (`AffineCoupling`); "additive" by a shift, as in
        NICE (`AdditiveCoupling`).
    scale_bound : float or None, default 1.0
        For ``coupling="affine"``: the bound of the scale, see `AffineCoupling`. It keeps the density of points far from the
        training data finite. None: no bound, as published; many such layers on data in large units, without `standardize`,
        may leave samples without a density, which is an error.
    n_bins : int or None, default None
        For ``coupling="spline"``: bins of a spline. None: 6 over a mixture, 4 over a normal base or with a context.
    tail_bound : float or None, default None
        For ``coupling="spline"``: the splines cover this many standard deviations to either side and are the identity beyond.
        None: 3 over a mixture, 5 over a normal base or with a context.
    base : {"auto", "normal", "mixture", "student_t"}, default "auto"
        The base density. "normal": N(0, I). "student_t": a `StudentTBase`, for heavy tails, whose degrees of freedom are
        trained; samples are standardised by the locations and scales of t distributions instead of standard deviations, and by
        their scatter matrix where that has a higher likelihood; not for angles. Layers stay if they improve the held-out
        likelihood by one standard error. "mixture": a `MixtureBase` that expectation-maximisation fits to the standardised
        samples, with the number of components that minimises the BIC. If samples are held back, the flow then competes with an
        average of many mixtures, fitted to parts of the samples and weighted by the likelihood of what was held out. The flow
        is kept if its held-out likelihood is one standard error better; otherwise its layers become identities, and the
        average is the base.
        With a context, an average of mixtures of context and samples, given the context, competes as well, as a
        `ConditionalMixtureBase`. It becomes the base if it is a standard error better than the average of mixtures of the
        samples alone, unless the layers are a standard error better than it on the held-out samples. Then `history_` is not
        changed, and `best_iter_` is 0. "auto": "mixture" if samples are held back, and with a context if no value has a large
        share of a column; else "normal". Beside categories of X it is "mixture" in any case. Over a mixture, skewed
        and bounded columns without a `support` get margins, if no column is an angle: monotone maps that make each of them
        about normal, in front of all else. In tables of four columns and more, so do columns with several modes. Held-out
        samples must gain by margins by two standard errors, given the context if there is one. The flow then ends with their
        layers. Averages of mixtures, and mixtures below layers that are kept, hold a millionth of broad normal distributions,
        so that rows far out keep a moderate log-density; not behind a bound or with a context.
    standardize : bool, default True
        Train in units of standard deviations, and end the flow with layers that lead back to the units of the data: an
        `ActNorm` and, in every second start over a normal base, an `LULinear` that removes correlations. The context is
        standardised as well. A ridge regression on the context, whose penalty minimises the generalised cross-validation
        error, is subtracted from the samples by an `AdditiveCoupling`; beside categories of X, not from columns in which a
        value has 5 % of the rows, whose peaks it would spread. Densities, and the context of `flow_`, are in the units of the
        data in any case.
    support : dict, sequence or None, default None
        The supports of the columns: a dict by name or number of a column, or a sequence with an entry for each. Where a frame
        has numbers as names of its columns, numbers are these names. An entry is a
        pair ``(low, high)`` of bounds, with None for an open end; an `Integer`, for whole numbers; an `Angle`, for a periodic
        column; a `Category`, for unordered values; or a short form, "positive" for ``(0, None)``, "unit" for ``(0, 1)``,
        "integer" for ``Integer()``, "angle" for ``Angle()``, "category" for ``Category()`` and "real" for all real numbers.
        None, and a column that a dict does not name, is a category in a frame where its type is categorical, boolean or text,
        and otherwise a column of all real numbers. The flow ends with
        a `Bounded` layer, training sees transformed columns, and log-densities stay in the units of the data. For a column
        with one bound the layer has the shape, exponential or log-normal, that makes the column more normal (Box and Cox).
        Bounded columns are left nearly as they are where that is better for ties between them. No sample is outside, and the
        log-density is -inf there. A value on a bound has the density of the point at half of the smallest other distance of
        training values to a bound, which is half of a unit in a column of rounded values. With whole numbers and categories,
        log-densities are with respect to counting measure in their columns: see the notes.
    context_support : dict, sequence or None, default None
        The same for the columns of a context. A `Category` becomes indicators, numbers 0 and 1, and an `Angle` its cosine and
        sine; other columns are read as they are. Categorical, boolean and text columns of a frame are categories by
        themselves.
    missing : {"error", "marginalize"}, default "error"
        What to do where cells of X are missing: NaN, None, pandas' NA, polars' null or masked. "marginalize": `fit` draws them
        from their conditional distribution given the other cells of the row, by a mixture fitted to all cells that are there,
        which is right if the absence of a cell depends on nothing but the cells that are there; `score_samples` and what
        relies on it give the marginal log-density of the cells that are there. Rows without any value are left out in `fit`.
        `impute` fills missing cells in any case. A context must be complete.
    latent : {"base", "normal"}, default "base"
        The latent points of `transform` and `inverse_transform`. "base": those of `flow_`, which are distributed as its base
        density, often a mixture. "normal": points of N(0, I), whatever the base. `MixtureBase.to_normal` maps one to the other
        exactly, so fit, densities and samples are the same. Needs columns of real numbers, with bounds or without, and
        ``n_models=1``. It may be changed after the fit.
    constant_columns : {"error", "narrow"}, default "error"
        What to do with a column of real numbers that is constant in training, which has no density. "narrow": model a normal
        distribution around the constant, independent of the other columns, whose standard deviation is a thousandth of the
        constant, or 0.001 around 0; on the scale of the real line, if the column has bounds. Samples spread as narrowly, and
        log-densities have the height of this peak, which is arbitrary. Not for later pieces of `partial_fit`.
    n_init : int, default 1
        Number of random starts. After a tenth of the epochs, or the first cycle, only the one with the lowest validation NLL
        continues. There is one start if no samples are held back, and for a warm start.
    n_models : int, default 1
        More than 1: fit as many flows, and average their densities. Each member has a start and held-out samples of its own.
        Their held-out shares are disjoint if ``n_models * validation_fraction <= 1``, and otherwise as even as possible. With
        `validation_fraction` None the members differ by their starts alone. There is no latent space then: `transform`,
        `inverse_transform` and `partial_fit` need 1.
    max_iter : int or None, default None
        Epochs. None: over a mixture, if samples are held back and there is no context, training runs in cycles of 150, 300,
        600 ... updates, and ends when a cycle has gained less than half a standard error of held-out likelihood or 0.002 nats,
        or too little for the rest to reach an average of mixtures, or after at most 5000 updates. Otherwise as many epochs as
        make 4500 updates, at least 10, and with held-out samples a quarter of these for a warm start. In both cases fewer for
        flows with many parameters, and more, by the square root, beyond 10,000 training samples.
    time_limit : float or None, default None
        Seconds. Training ends after the first epoch that ends later than this, as if a callback stopped it: the best
        parameters are kept, and layers over a mixture are judged as after all epochs. The learning rate has not fallen to 0
        then, and the result depends on the machine. Members of an ensemble share the time, and have one epoch at least. What
        comes before and after the epochs, such as the fit of a mixture, counts but is not cut short. None: no limit.
    batch_size : int, "auto" or None, default "auto"
        Samples per update. "auto": about 64 of up to 2400 training samples, 128 of up to 4000, 192 of up to 5600, 256 of more.
        None: all of them.
    learning_rate : float or None, default None
        Of Adam. None: 1e-3 over a mixture, 5e-3 over a normal base or with a context. Where training runs in cycles, from 500
        training samples on, 1e-3 or 3e-3, whichever has the higher held-out likelihood after the first cycle. `partial_fit`
        keeps it constant, and uses 1e-3 over a mixture with a context as well, 1e-4 if the mixture reads it.
    schedule : {"cosine", "constant"}, default "cosine"
        "cosine": the learning rate falls to 0 at `max_iter`, or at the end of each cycle. "constant" has no cycles.
    warmup : int or float, default 0.05
        Updates in which the learning rate first grows linearly; 1 or more: without cycles. A float in [0, 1) is a share of all
        updates, or of those of the first cycle.
    average : float, default 0.995
        Decay of an exponential moving average of the parameters, which the model keeps. 0: no average.
    noise : float, default 0.65
        Normal noise of ``noise * n**-0.45`` standard deviations is added to a sample every time it is used. It is a bandwidth
        that shrinks as n grows, and keeps the flow from putting spikes on samples. 0: no noise.
    validation_fraction : float or None, default 0.2
        Share of the samples, in (0, 1), to hold back. The parameters with the best held-out likelihood are kept. A sample
        stays in training if a column would be constant without it. None: train on all samples and keep the last parameters.
    n_iter_no_change : int or None, default None
        Stop if the validation NLL (the training NLL, if no samples are held back) has not improved for so many epochs; it is
        then computed after every epoch, without cycles. None: train until `max_iter`, with about fifty validations, or ten in
        each cycle.
    tol : float, default 0
        In nats: the smallest improvement that counts for `n_iter_no_change`.
    warm_start : bool, default False
        `fit` starts from the present flow; of an ensemble, every member does, and further members are new. The parameters that
        shape a flow must be unchanged. Standardisation and mixture are taken from the new samples if these are then likelier
        by more than as many parameters gain by chance (Akaike's criterion); otherwise the flow keeps its function. `fit`
        starts anew if quick mixtures, or a single distribution, are clearly better in the end, or if categories need
        indicators that they did not.
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of all computation.
    n_jobs : int or None, default None
        Threads for `fit`, for `flow_` and for densities of some columns given others. None: 1; -1: all processors. Results
        are the same for any number. Members of an ensemble are trained side by side, unless there is a callback.
    verbose : int, default 0
        0: silent. 1 or more: `fit` shows its progress and both NLLs, with tqdm in a terminal or a notebook if that is
        installed, otherwise as about ten lines times `verbose` on stderr. See `nvpflow.progress.progress`.
    random_state : int, Generator, RandomState or None, default None
        An int >= 0 makes `fit` reproducible to the bit; `sample` then draws the same samples in every call. A Generator
        advances with each call.

    Attributes
    ----------
    flow_ : Flow or FlowEnsemble
        The fitted flow: the coupling layers and, if `standardize`, the layers that lead to the units of the data, over
        `flow_.base`. It reads X less `origin_`, and the context less `context_origin_`, and does not clip the context. With
        ``n_models > 1`` it is a `FlowEnsemble` of such flows. With categories it is the flow of the other columns, and the
        last columns of its context are numbers that stand for their values; None where all columns are categories.
    history_ : dict
        "train_nll": ndarray, one entry per epoch, in nats. If samples are held back, "validation_nll" has the NLL after the
        epochs in "validation_epoch", counted from 1. With categories it is the NLL of the other columns given them. Of an
        ensemble, the curves of its members follow one another, epochs are counted on, and "member" has the member of each
        epoch, from 0.
    n_iter_ : int
        Number of epochs, of all members; `partial_fit` adds one per call.
    best_iter_ : int, or ndarray of int, shape (n_models,)
        The epoch whose parameters were kept; 0 if none improved on the start, or on a `ConditionalMixtureBase`. Of an
        ensemble, that of each member, counted from its own first epoch.
    search_ : dict
        Only over a mixture, if samples were held back. The densities that competed: "candidate", ndarray of
        str; "score", the mean log-density of the samples that the candidate was held out from, in nats; "validation_score",
        the same of the validation samples alone; "weight", the share in the fitted density. Kernels are a normal distribution
        at each sample, with a bandwidth in standard deviations of the columns. After the mixtures come, if there are margins,
        averages of mixtures without and with them, fitted to at most 3000 samples and judged on those held out in
        turn. Then come other starts and learning rates that were tried, and the flow, which are judged on the validation
        samples alone; the name of the flow says why its training ended. Trained layers that a warm start continues have no
        rivals. Last come the mixtures that read the context, if they
        competed; their names end with "given the context". Mixtures are judged on at most 20,000 samples. Of an ensemble, the
        candidates of its members, "member 0: ..." and so on.
    refinement_ : dict
        Only after a fit in batches or by ranks of MPI: what passes over all rows have changed, see `nvpflow.scale.fit_from`.
    n_samples_seen_ : int
        Rows of positive weight given to `fit` and to `partial_fit` since.
    n_features_in_ : int
    feature_names_in_ : ndarray of str objects, shape (D,)
        Only after fitting to a frame whose column names are all strings.
    context_feature_names_in_ : ndarray of str objects, shape (C,)
        The same for the context.
    context_range_ : ndarray of float64, shape (2, C)
        Smallest and largest values of the context in training, extended by 10 % of their distance to either side. Networks
        extrapolate badly, so a context outside this range is clipped to it, with a warning. Outliers of a column whose
        standard deviation exceeds 8 times its spread between the 5th and the 95th percentile are clipped in training. Its
        columns are those that `flow_` reads, so with categories or angles in X or in the context there are more.
    origin_, context_origin_ : ndarray of float64, shapes (D,) and (C,)
        Subtracted in float64 before `flow_` reads samples and context. It is the mean of columns that vary by less than a
        thousand times the resolution of `dtype` there, the lower bound of columns with a `support`, or else the upper one, and
        0 for all others. Columns of categories have no entry.

    Notes
    -----
    The probability of whole numbers is the integral of a density over their unit cells, by a lattice rule with 31 evaluations
    for each row and one such column, 67 for two, 257 for three and 521 for more. There is no randomness. The root mean square
    error of log-probabilities was below 0.001 nats for up to five columns, 0.002 for eight, 0.01 for ten, 0.05 for fifteen,
    and 0.3 for thirty that were 0 in 95 of 100 rows: declare columns of few values as categories where many of them are whole
    numbers. In training, whole numbers are spread over their cells, such that the density of a column has no steps; `history_`
    has the NLL of the spread numbers. A gradient is not defined there.

    The density of an angle is the sum of the flow's density over five numbers that stand for it, so q columns of angles take
    5^q evaluations for each row, but for mixtures with four angles or more, where small terms are left out. `history_` bounds
    their NLL from above.

    With categories c and other columns x, the density is ``p(c) p(x | c)``. p(c) is exact, an average of three models with the
    weights that maximise the likelihood of rows that are left out: the shares of the combinations that occur, a tree in which
    each column depends on at most one other (Chow and Liu), and latent classes (Lazarsfeld and Henry). A declared value that
    no row has gets the probability g / (n + g V), with n rows, V values and a pseudo-count g from 0.003 to 30 that leaving out
    rows chooses. The flow of p(x | c) reads an indicator of each value. Values of fewer than 8 rows, and those beyond the 32
    most frequent ones of a column, share one; if many do, it also reads shrunken means of x for each of them (Efron and
    Morris). The members of an ensemble share p(c). `partial_fit` adds to the counts.

    The marginal density of a row with missing cells is exact if the flow is a mixture of normal distributions with columns
    transformed one by one, as after most fits to a few thousand samples. If it has trained layers, importance sampling
    estimates it: with draws from the conditional of a mixture fitted to samples of the flow, 488 for each row, and up to 8168
    while the standard error is above 0.01 nats. The draws of a row depend on its values alone.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP"; Dempster, Laird and Rubin (1977), "Maximum
    likelihood from incomplete data via the EM algorithm"; Golub, Heath and Wahba (1979), "Generalized cross-validation as a
    method for choosing a good ridge parameter"; Schwarz (1978), "Estimating the dimension of a model"; Smyth and Wolpert
    (1999), "Linearly combining density estimators via stacking"; Breiman (1996), "Bagging predictors"; Rothfuss
    et al. (2019), "Noise regularization for conditional density estimation"; Winkler, Worrall, Hoogeboom and Welling
    (2019), "Learning likelihoods with conditional normalizing flows"; Sung (2004), "Gaussian mixture regression and
    classification"; Box and Cox (1964), "An analysis of transformations", for columns with one bound;
    Martino, Elvira and Louzada (2017), "Effective sample size for importance sampling based on discrepancy measures", for
    weights; Chow and Liu (1968), "Approximating discrete probability distributions with dependence trees"; Lazarsfeld and
    Henry (1968), "Latent structure analysis"; Efron and Morris (1975), "Data analysis using Stein's estimator";
    Lakshminarayanan, Pritzel and Blundell (2017), "Simple and scalable predictive uncertainty estimation using deep
    ensembles"; Ghahramani and Jordan (1994), "Supervised learning from incomplete data via an EM approach", and Rubin (1987),
    "Multiple imputation for nonresponse in surveys", for missing values.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (500,)
    >>> model.sample(3).shape
    (3, 2)

    A conditional density, and samples of it where the context is 0.5:

    >>> context = np.random.default_rng(1).uniform(size=(500, 1))
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X + context, context=context)
    >>> model.score_samples(X + context, context=context).shape
    (500,)
    >>> model.sample(3, context=[0.5]).shape
    (3, 2)

    The average of three flows, and how far they disagree:

    >>> model = nvpflow.FlowDensity(n_models=3, max_iter=50, random_state=0).fit(X)
    >>> log_density, std = model.score_samples(X, return_std=True)

    Positive numbers and shares:

    >>> X = np.c_[np.exp(X[:, 0]), np.random.default_rng(2).beta(2, 3, size=500)]
    >>> model = nvpflow.FlowDensity(support=["positive", "unit"], max_iter=50, random_state=0).fit(X)
    >>> model.sample(1000).min() > 0, model.score_samples([[-1, 0.5], [1, 2]])
    (np.True_, array([-inf, -inf], dtype=float32))
    """

    # Each default is what did best in benchmarks/quality, at less than a fifth of the time of PyTorch's 1000 full-batch
    # steps on two moons; "gap" is that to the true density, over random states, in nats. Those of hidden_dim to activation,
    # and schedule to average were measured over a normal base.
    def __init__(
        self,
        n_layers: int | None = None,  # this, n_bins, tail_bound and learning_rate: see DEFAULTS in _training/defaults.py
        hidden_dim: int | Sequence[int] = 32,  # 24 was worse on spirals, 64 gained nothing
        *,
        activation: Activation = "relu",  # tanh and SiLU: up to twice the gap on moons
        coupling: CouplingKind = "spline",  # affine layers: seven times the gap on moons
        scale_bound: float | None = SCALE_BOUND,
        n_bins: int | None = None,
        tail_bound: float | None = None,
        base: Base = "auto",  # N(0, I): gaps up to 20 times as large, on every density but two spirals and pinwheel
        standardize: bool = True,
        support: Support = None,
        context_support: Support = None,
        missing: Missing = "error",
        latent: Latent = "base",
        constant_columns: ConstantColumns = "error",
        n_init: int = 1,  # over a mixture one is as good as any; over N(0, I) the second, whitened, suits correlated tables
        n_models: int = 1,
        max_iter: int | None = None,
        time_limit: float | None = None,
        batch_size: BatchSize = "auto",
        learning_rate: float | None = None,
        schedule: Schedule = "cosine",
        warmup: float = 0.05,
        average: float = 0.995,  # 0.999 lags behind the schedule, none is a little worse
        noise: float = 0.65,  # 1.3: 1.5 times the gap on 1000 moons of noise 0.05; 0.3: spikes
        validation_fraction: float | None = 0.2,  # 0.1 decides worse: a worst gap of 0.11 instead of 0.07 on 1000 moons
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        warm_start: bool = False,
        dtype: DTypeLike = "float32",
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
        self.n_layers = n_layers
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.coupling = coupling
        self.scale_bound = scale_bound
        self.n_bins = n_bins
        self.tail_bound = tail_bound
        self.base = base
        self.standardize = standardize
        self.support = support
        self.context_support = context_support
        self.missing = missing
        self.latent = latent
        self.constant_columns = constant_columns
        self.n_init = n_init
        self.n_models = n_models
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.average = average
        self.noise = noise
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    _parameter_checks: ClassVar[dict[str, Check]] = {
        "n_layers": allowed(check_int, 1, or_none=True),
        "hidden_dim": allowed(check_hidden),
        "activation": allowed(check_choice, ACTIVATIONS),
        "coupling": allowed(check_choice, ("spline", "affine", "additive")),
        "scale_bound": allowed(check_scale_bound, or_none=True, in_dtype=True),
        "n_bins": allowed(check_int, 2, MAX_BINS, or_none=True),
        "tail_bound": allowed(check_tail_bound, or_none=True, in_dtype=True),
        "base": allowed(check_choice, ("auto", "normal", "mixture", "student_t")),
        "standardize": allowed(check_bool),
        "support": allowed(check_support, or_none=True),
        "context_support": allowed(check_support, or_none=True),
        "missing": allowed(check_choice, ("error", "marginalize")),
        "latent": allowed(check_choice, LATENTS),
        "constant_columns": allowed(check_choice, ("error", "narrow")),
        "n_init": allowed(check_int, 1),
        "n_models": allowed(check_int, 1),
        "max_iter": allowed(check_int, 1, or_none=True),
        "time_limit": allowed(check_real, 0, low_open=True, or_none=True),
        "batch_size": allowed(check_batch_size),
        "learning_rate": allowed(check_real, 0, low_open=True, or_none=True, in_dtype=True),
        "schedule": allowed(check_choice, ("cosine", "constant")),
        "warmup": allowed(check_warmup),
        "average": allowed(check_real, 0, 1),
        "noise": allowed(check_real, 0, in_dtype=True),
        "validation_fraction": allowed(check_real, 0, 1, low_open=True, or_none=True),
        "n_iter_no_change": allowed(check_int, 1, or_none=True),
        "tol": allowed(check_real, 0, in_dtype=True),
        "warm_start": allowed(check_bool),
        "n_jobs": allowed(check_n_jobs),
        "verbose": allowed(check_verbose),
        "random_state": allowed(check_random_state),
    }

    set_fit_request = RequestMethod("context", "sample_weight", "callback")
    set_partial_fit_request = RequestMethod("context", "sample_weight")
    set_score_request = RequestMethod("context", "sample_weight")
    set_transform_request = RequestMethod("context")
    set_inverse_transform_request = RequestMethod("context")

    _estimator_type = "density_estimator"
    _file_kind = "FlowDensity"

    flow_: Flow | FlowEnsemble
    history_: History
    n_iter_: int
    best_iter_: int | Ints
    search_: Search
    n_samples_seen_: int
    origin_: Floats
    context_range_: Floats
    context_origin_: Floats

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        callback: Callback | None = None,
        comm: Any = None,
    ) -> Self:
        """Fit the flow to samples.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), or what is read in batches
            At least 2 samples, finite, no masked elements, and unless `constant_columns` allows it no constant column. Columns
            of categories may hold any hashable values, in a frame, in an array of objects, or in a sequence of rows. Tables
            that are larger than memory are read in batches, in passes: the path of a Parquet, CSV or NPY file, a folder of
            Parquet files or a pattern, a pyarrow data set, a polars LazyFrame, a DuckDB relation, a memory-mapped array or a
            pyarrow table of more than 256 MB, or a callable that returns an iterator of arrays (m, D). See
            `nvpflow.scale.as_source`, and `nvpflow.scale.fit_from` for how they are fitted. Their columns are numbers without
            missing cells, and there is no context and no weight.
        y : ignored
            Except that floating-point numbers in two dimensions are an error: pass them as `context`.
        context : array_like of real numbers, shape (n, C), optional
            Finite; columns may be categories, as in X. The density is then conditional on it, and X may have no categories.
            Later methods also take a dict of values, or of columns, by names for a context that was a frame. Later methods
            check the names of a frame's columns, as for X.
        sample_weight : array_like of real numbers, shape (n,), optional
            Finite, >= 0, and at least 2 of them > 0: the weight of each sample in the loss, the validation and the
            standardisation. Only ratios matter. Ratios of whole numbers are counts: among samples of weight 1, a sample of
            weight 3 is three equal samples, held out together, if there are then at most a million rows, or ten times as
            many as were given. Samples of weight 0 are left out. Default: all 1.
        groups : array_like, shape (n,), optional
            Labels, at least 2 different ones. Samples of one group are held out together. Without that, samples that are
            alike by their origin (neighbours in a Markov chain, measurements of one patient) would be on both sides, and a
            density that follows each of them would look good. Default: each sample is a group, but for copies.
        callback : callable, optional
            ``callback(epoch, train_nll, validation_nll)`` after every epoch, counted from 1; validation_nll is NaN
            after epochs without validation. It stops the training by raising StopIteration, which `fit` catches; after
            another error an earlier fit is unchanged. What it returns is ignored. The epochs of an ensemble's members are
            counted on, and StopIteration stops all: the members trained so far are kept.
        comm : mpi4py.MPI.Comm, optional
            Each rank of this communicator calls `fit` with rows of its own and equal parameters, and all of them get the same
            model, with the same bits: that of all rows, in the order of the ranks, but for rounding. Without context,
            weights and groups. If a rank raises, all others raise a ``nvpflow.scale.mpi.RankError``, a RuntimeError.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or an invalid value; if any parameter of the estimator has, used or not; if a
            value of X is outside of the support of its column, a category is missing or unknown, or `support` names a column
            that is not there; or if the mean log-density of the samples is not finite after training. An earlier fit is
            unchanged then.

        Warns
        -----
        ConvergenceWarning
            If training diverged; the best parameters were kept.
        UserWarning
            If there are not more samples than columns; if columns are linear combinations of others, because the density then
            has no upper limit and its value means little; if columns of X or context vary by less than a thousand times the
            resolution of `dtype` (see `origin_`); if columns of X span so many orders of magnitude that the flow, in `dtype`,
            has a log-density more than 0.1 nats below that of training, in float64, or would have it behind the maps that it
            learns of columns, and does without; if a column of the context has outliers
            (see `context_range_`), or categories of a fifth of the rows look the same to the flow; if at least 5 % of a column
            equal a bound of its support, if few values repeat in a column of real numbers, or if values of an `Angle` of the
            default range span more than two turns. Later methods warn if they clip a context.

        Notes
        -----
        Arrays and frames of Dask are fitted by its workers; with more than 300,000 rows without context, weights, categories
        and missing cells, see the page "More rows, more processes" of the documentation.

        Ctrl-C raises KeyboardInterrupt and leaves a fitted model with the best parameters so far. Of an ensemble, the members
        that have completed an epoch are left.

        `noise` and the number of components depend on the number of samples. With relative weights this is the effective
        number, the exponential of the entropy of the weights' shares. If that is below D + 2, or half of the number of
        samples, relative weights are mixed with equal ones, as little as is needed to reach it: weights that are nearly all
        zero would give a density that is infinite for one sample and zero for the others.

        Equal rows count as often as they occur, and copies of a row are held out together. A value that many rows of a column
        have has no finite density. The model puts a narrow peak there: its share of the probability is right, its height is
        arbitrary.
        """
        settings = self._settings()
        refuse_context(y)
        check_callback(callback)
        of_rows = {"context": context, "sample_weight": sample_weight, "groups": groups}
        if comm is not None:
            return self._fit_on_ranks(X, comm, callback, **of_rows)
        if is_lazy(X):
            self._fit_lazy(X, callback, **of_rows)
            return self
        if is_source(X):
            self._fit_source(X, callback, **of_rows)
            return self
        before = self if settings.warm_start and hasattr(self, "flow_") else None
        return self._fit_data(settings, prepare(settings, X, context, sample_weight, fit_new, before, groups), callback)

    def _fit_on_ranks(self, X: Any, comm: Any, callback: Callback | None, **of_rows: object) -> Self:
        """Fit to the rows of all ranks of an MPI job."""
        from nvpflow.scale.mpi import fit_on_ranks

        _refuse("with comm", of_rows)
        fit_on_ranks(self, X, comm, callback)
        return self

    def _fit_lazy(self, X: Any, callback: Callback | None, **of_rows: object) -> Any:
        """Fit to an array or a frame of Dask. Return rows that were drawn at random, or all if they are few."""
        from nvpflow.scale._dask_fit import fit_lazy

        _refuse("for an X of Dask", of_rows)
        return fit_lazy(self, X, callback)

    def _count_flows(self) -> int:
        """The number of flows: of the fitted model, or else those that `fit` will train."""
        flow = getattr(self, "flow_", None)
        if flow is not None:
            return len(flow) if isinstance(flow, FlowEnsemble) else 1
        n: object = self.n_models
        return int(n) if isinstance(n, (int, np.integer)) and 1 < n <= sys.maxsize else 1  # `fit` refuses other values

    def _settings(self) -> Settings:
        """The parameters, checked."""
        return Settings.of(self._check_parameters())

    def _fit_data(self, settings: Settings, prepared: Prepared, callback: Callback | None = None) -> Self:
        """Fit to checked samples."""
        check_latent(settings, prepared)
        before = self if settings.warm_start and hasattr(self, "flow_") and prepared.continues(self) else None
        data, fitted = with_copies(prepared.data), prepared.fitted_attributes()
        columns = prepared.n_features, prepared.names, prepared.context_names
        if data.x.shape[1] == 0:
            self._keep(fitted | WITHOUT_FLOW, *columns)
            return self
        declared, names, of_table = prepared.declared, prepared.number_names, prepared.categories is not None
        if before is not None:
            check_members(before, settings.n_models)
            known = before._known_supports()
            check_unchanged(known, declared, data.x.shape[1], "warm_start")
            before = before if known is None or known.suit(data, settings.dtype) else None
        kinds = _kinds_of(declared, data.x.shape[1])
        refuse_constant_columns(settings, data.x, kinds, names)
        refuse_heavy_tails(settings, kinds, names)
        supports, data, seen, incomplete = self._training_data(settings, data, declared, before)
        if declared is not None:
            warn_of_many_turns("X", data.x, kinds, [declared.label(i) for i in range(len(kinds))])
            warn_of_steps(prepared.data, declared)
        warn_of_dependent_columns(data, settings.dtype, names)
        warn_of_repeated_values(data, declared, names)
        if incomplete is not None:
            warn_of_pairs_apart(prepared.data.x, names)
        try:
            if settings.n_models == 1:
                train(settings, seen[0], fitted, callback, before, supports, prepared.blocks, incomplete, of_table)
            else:
                train_members(settings, seen, fitted, callback, before, supports, prepared.blocks, of_table)
        except Outdone:
            return self._fit_data(replace(settings, warm_start=False), prepared, callback)
        except BaseException as error:  # an interruption leaves the best parameters so far, an error the earlier fit
            if "flow_" in fitted and not (isinstance(error, Exception) and hasattr(self, "flow_")):
                self._keep(fitted, *columns)
            raise
        if not all(
            np.isfinite(fitted["flow_"].nll(*reads(fitted, data.rows(rows)).arguments)) for rows in blocks(len(data.x))
        ):
            raise ValueError(NO_DENSITY.format("after training"))
        self._keep(fitted, *columns)
        return self

    def _training_data(
        self, settings: Settings, data: Data, declared: Declared | None, before: FlowDensity | None
    ) -> tuple[Supports | None, Data, list[Data], Bools | None]:
        """The supports of the columns, the data with all cells, what training sees of them, for each member, and which rows
        had missing cells; None if no row had."""
        seed, missing = _spreading_seed(settings, declared), np.isnan(data.x)
        if not missing.any():
            supports, seen = supports_for(declared, data, settings.dtype, seed, before)
            return supports, data, [seen] * settings.n_models, None
        (seed,) = draw_seeds(settings.random_state, 3 + 2 * settings.n_models)[-1:]
        supports, completed = complete(settings, data, declared, seed, before)
        rng = np.random.default_rng([seed, 1])
        seen_by_members = completed if supports is None else [supports.spread(one, rng) for one in completed]
        incomplete = np.asarray(missing.any(axis=1))
        return supports, completed[0], seen_by_members, incomplete

    @of_one_flow
    def partial_fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on a piece of the data.

        The first call builds the flow and, with `standardize`, sets the units, so its piece should give the mean and the
        standard deviation roughly. Later calls continue from the present parameters, and may follow `fit`. Adam's moments are
        kept between calls and by pickle, but not by `save`: after `nvpflow.load` they start anew, and the first pieces teach
        less. Only with ``base="mixture"`` a mixture is fitted to the first piece; it is then trained with the layers. Call it
        again with the same samples for more epochs.

        No samples are held back, and `learning_rate` does not fall. A piece that is less likely after its epoch than before is
        trained on again at a tenth of the rate, or has no effect if that is too much as well: narrow peaks are not taken
        apart. The model keeps a moving average of the parameters, see `average`, which begins anew where it lags behind.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            Finite. The first piece: at least 2 samples, no constant column.
        y : ignored
            Except that floating-point numbers in two dimensions are an error: pass them as `context`.
        context : array_like of real numbers, shape (n, C)
            In all pieces or in none. The first one sets the units that the context is standardised to; each widens
            `context_range_`.
        sample_weight : array_like of real numbers, shape (n,), optional
            As in `fit`.

        Returns
        -------
        self
            `history_` has one more entry of "train_nll", the mean over the piece's batches, each before its update, NaN
            if training diverged; the curve of the validation is dropped.

        Raises
        ------
        TypeError, ValueError
            As `fit`; or if the first piece has no finite mean log-density before training. The model is unchanged then.

        Warns
        -----
        ConvergenceWarning
            If training diverged, so that a loss, a gradient or the NLL of the piece at the end was not finite; the parameters
            from before the call were kept.
        """
        settings = self._settings()
        refuse_context(y)
        self._refuse_missing(X, "partial_fit")
        is_new = not hasattr(self, "flow_")
        if is_new:
            prepared = prepare(settings, X, context, sample_weight, fit_new)
        else:
            prepared = self._prepare_piece(settings, X, context, sample_weight)
        check_latent(settings, prepared)
        if prepared.codes is not None and (prepared.codes < 0).any():  # of a first piece, whose categories nobody knew before
            raise ValueError(INCOMPLETE.format("partial_fit"))
        data, n_indicators = prepared.data, sum(prepared.blocks)
        n_seen = prepared.n_given + (0 if is_new else self.n_samples_seen_)
        fitted, columns = prepared.fitted_attributes(), (prepared.n_features, prepared.names, prepared.context_names)
        fitted |= {"n_samples_seen_": n_seen} | ({"_frame": self._frame} if hasattr(self, "_frame") else {})
        if data.x.shape[1] == 0:
            self._keep(fitted | WITHOUT_FLOW, *columns)
            return self
        if is_new:
            kinds = _kinds_of(prepared.declared, data.x.shape[1])
            refuse_constant_columns(settings, data.x, kinds, prepared.number_names)
            refuse_heavy_tails(settings, kinds, prepared.number_names)
            seed = _spreading_seed(settings, prepared.declared)
            supports, _ = supports_for(prepared.declared, data, settings.dtype, seed)
            stream = Stream(settings, data, settings.dtype, supports=supports, n_indicators=n_indicators)
            flow, curve = stream.new_flow(settings, data), np.empty(0)
            read = {"flow_": flow, "origin_": stream.origin, "_supports": supports} | stream.scaler.fitted_attributes()
            if not np.isfinite(flow.nll(*reads(read, data).arguments)):
                raise ValueError(NO_DENSITY.format("before training"))
        else:
            flow, supports, curve = cast(Flow, self.flow_), self._known_supports(), self.history_["train_nll"]
            stream = getattr(self, "_stream", None) or Stream(settings, data, flow.dtype, self, n_indicators=n_indicators)
        curve = np.append(curve, stream.update(settings, flow, data, n_seen))
        fitted |= {"_stream": stream, "flow_": flow, "history_": {"train_nll": curve}}
        fitted |= {"n_iter_": len(curve), "best_iter_": len(curve), "origin_": stream.origin}
        fitted |= stream.scaler.fitted_attributes() | ({} if supports is None else {"_supports": supports})
        self._keep(fitted, *columns)
        return self

    def _prepare_piece(
        self, settings: Settings, X: ArrayLike, context: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> Prepared:
        """Check the arguments of `partial_fit` for a fitted model."""
        names, context_names = (getattr(self, f"{of}feature_names_in_", None) for of in ("", "context_"))
        declared, categories = Declared.of(settings.support, names, X), self._known_categories()
        if categories is None:
            read_table(X, declared, self)  # an error where categories are declared now
            codes, numbers = None, self._check_columns(X)
        else:
            check_feature_names(self, X)
            numbers, codes, _ = read_table(X, declared, self)
            declared = declared and declared.of_numbers(categories.coding.n_columns)
        check_unchanged(self._known_supports(), declared, numbers.shape[1], "partial_fit")
        rows = self._check_context_rows(context, len(numbers))
        data = check_data(numbers, rows, sample_weight, self._flow_dtype(), 1, declared, codes)
        if categories is not None:
            data, codes = without_codes(data, len(categories.coding.columns))
            categories = categories.updated(codes, data.weight)
            data = data._replace(context=categories.rows(data.context, codes, self._flow_dtype()))
        prepared = Prepared(
            data,
            codes,
            count_given(data, sample_weight),
            self.n_features_in_,
            names,
            context_names,
            declared,
            categories,
            self._known_encoding(),
        )
        return prepared

    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        return_std: Literal[False] = False,
        return_error: Literal[False] = False,
    ) -> Floats: ...
    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        return_std: Literal[True],
        return_error: Literal[False] = False,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        return_std: Literal[False] = False,
        return_error: Literal[True],
    ) -> tuple[Floats, Floats]: ...
    @overload
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        return_std: Literal[True],
        return_error: Literal[True],
    ) -> tuple[Floats, Floats, Floats]: ...
    def score_samples(
        self,
        X: ArrayLike,
        *,
        context: ArrayLike | None = None,
        temperature: float = 1.0,
        return_std: bool = False,
        return_error: bool = False,
    ) -> Floats | tuple[Floats, ...]:
        """Log-density of each sample.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), or what `fit` reads in batches
            With ``missing="marginalize"`` cells may be missing: NaN, None, pandas' NA, polars' null or masked.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        temperature : float, default 1.0
            T > 0: the density of the flow over a base with covariances T times as large, see `Flow.sample`. Probabilities of
            categories stay as they are.
        return_std : bool, default False
            Also return how far the members of an ensemble disagree.
        return_error : bool, default False
            Also return the standard errors of log-densities of rows with missing cells.

        Returns
        -------
        log_density : ndarray, shape (n,)
            In nats, per unit of the data's own units, so that it may be positive; -inf where there is no density, as outside
            of the `support`. Given the context, if there is one. That of a row with missing cells is the marginal log-density
            of the columns that are there, 0 if there are none: rows with different missing cells have different units.
            Of an array or a frame of Dask: a lazy array or series, and so are the others.
        std : ndarray, shape (n,)
            Only with `return_std`: the standard deviation over the members of their log-densities, in nats. 0 for one member,
            and where no member has a density; inf where some have one and others have none.
        error : ndarray, shape (n,)
            Only with `return_error`: the standard error of the marginal log-density, in nats. 0 where it is exact, as in
            complete rows and without trained layers; see the notes of the class.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Warns
        -----
        UserWarning
            If the marginal log-densities of some rows cannot be trusted, for fewer than 20 effective draws.
        """
        is_plain = context is None and return_std is False and return_error is False
        if is_plain and type(temperature) is float and temperature == 1:
            found = self._log_density_of_plain(X)
            if found is not None:
                return found
        return_std, return_error = check_bool("return_std", return_std), check_bool("return_error", return_error)
        model = self._at(temperature)
        if is_lazy(X):
            from nvpflow.scale.dask import lazy_scores

            lazy: Floats | tuple[Floats, ...] = lazy_scores(
                model, X, context, return_std=return_std, return_error=return_error
            )
            return lazy
        if is_source(X):
            refuse_with_source(context=context, return_std=return_std or None, return_error=return_error or None)
            return model._results_of_source(X)
        scores: Floats | tuple[Floats, ...] = model._all_scores(X, context, return_std, return_error)
        return scores

    def score(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean log-density of the samples, in nats; higher is better.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D), n >= 1, or what `fit` reads in batches
        y : ignored
            Except that floating-point numbers in two dimensions are an error: pass them as `context`.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        sample_weight : array_like of real numbers, shape (n,), optional
            w >= 0, finite, not all zero, for the weighted mean sum(w log p) / sum(w). Default: all 1.

        Returns
        -------
        float
            -inf if a sample has no density.
            Of an array or a frame of Dask: a lazy array without dimensions.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        refuse_context(y)
        if is_lazy(X):
            from nvpflow.scale.dask import lazy_score

            lazy: float = lazy_score(self, X, context, sample_weight)
            return lazy
        if is_source(X):
            refuse_with_source(context=context, sample_weight=sample_weight)
            return self._score_of_source(X)
        supports = self._known_supports()
        has_sums = supports is not None and supports.is_sum
        if self._known_categories() is not None or has_sums or self._takes_missing(X):
            log_density = self._log_density(X, context)
            weight = None if sample_weight is None else check_weights("sample_weight", sample_weight, len(log_density))
            return float(np.average(log_density.astype(np.float64), weights=weight))
        X = self._read_samples(X)
        return -self.flow_.nll(X, self._check_context(context, len(X)), sample_weight)

    def sample(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> Floats:
        """Draw samples from the fitted density.

        An estimator with an integer `random_state` draws the *same* samples in every call, as scikit-learn's `GaussianMixture`
        does: a loop that rejects samples and draws again would never end. Give each call the same Generator for fresh ones,
        ``rng = np.random.default_rng(0)`` before the loop and ``model.sample(100, random_state=rng)`` in it, or the
        estimator a Generator instead of the integer, ``FlowDensity(random_state=np.random.default_rng(0))``.

        Parameters
        ----------
        n_samples : int, default 1
            0 is fine.
        random_state : int, Generator, RandomState or None
            An int, >= 0: the same samples every time. A Generator or RandomState: fresh ones in each call. None: the
            `random_state` of the estimator. If both are None: fresh ones.
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        per_context : bool, default False
            True: draw `n_samples` for each row of a context of shape (m, C).
        temperature : float, default 1.0
            T > 0: below 1 samples are nearer to the modes, above 1 farther out, see `Flow.sample`. Not of categories.

        Returns
        -------
        X : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            In the dtype of the model, or in float64 if `origin_` is not 0; inside of the `support`. After fitting to a frame
            of pandas or polars a frame with its columns, their order, types and categories. `set_output` decides otherwise;
            columns of arrays are called x0, x1, ... An array with categories is one of objects, or of numbers after fitting
            to numbers. With `per_context` always an ndarray. Samples of columns that have a type of whole numbers in the frame
            are rounded to the nearest ones in the range of the type, and decimal numbers to their digits. Only samples
            are: the density of a column that is not declared as an `Integer` is one of real numbers.
            With a context of Dask: a lazy array in its chunks, each of which has a seed of its own. Without a context
            `nvpflow.scale.dask.sample` draws lazily.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        if is_lazy(context):
            from nvpflow.scale.dask import lazy_samples

            lazy: Floats = lazy_samples(
                self, n_samples, random_state, context, per_context=per_context, temperature=temperature
            )
            return lazy
        draws, flow = self._check_draws(n_samples, random_state, context, per_context), self._at(temperature).flow_
        x = draws.empty if flow is None else flow.sample(**draws.arguments)
        found: Floats = self._drawn(x, draws.codes, per_context)
        return found

    def sample_and_log_prob(
        self,
        n_samples: int = 1,
        random_state: Seed = None,
        *,
        context: ArrayLike | None = None,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> tuple[Floats, Floats]:  # or a frame and an array, as `set_output` says
        """Draw samples together with their log-densities, in one pass.

        Parameters
        ----------
        n_samples : int, default 1
        random_state : int, Generator, RandomState or None
        context : array_like of real numbers, shape (n_samples, C), or (C,) or (1, C) for all samples the same
        per_context : bool, default False
        temperature : float, default 1.0
            As in `sample`.

        Returns
        -------
        X : ndarray or frame, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            The samples that `sample` draws.
        log_density : ndarray, shape (n_samples,) or (m, n_samples)
            In nats, at the temperature. That of the draws before columns of whole numbers or decimals are rounded for the
            type of a frame, so that weights of importance sampling are right: with them, sums over rounded draws estimate
            sums over whole numbers.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        draws = self._check_draws(n_samples, random_state, context, per_context)
        flow = self._at(temperature).flow_
        supports, categories = self._known_supports(), self._known_categories()
        if flow is None:
            x, log_density = draws.empty, np.zeros(len(draws.empty))
        else:
            x, log_density = flow.sample_and_log_prob(**draws.arguments)
        if flow is not None and supports is not None and supports.is_sum:
            n, rows = draws.arguments["n_samples"], draws.arguments["context"]
            rows = np.repeat(rows, n, axis=0) if per_context and rows is not None else rows
            points = self._to_own_units(x).astype(np.float64).reshape(-1, x.shape[-1])
            masses = supports.log_masses(flow, points, self.origin_, rows)
            log_density = masses.astype(log_density.dtype).reshape(log_density.shape)
        if categories is not None and draws.codes is not None:
            log_density = (log_density + categories.log_prob(draws.codes)).astype(self._flow_dtype())
        return self._drawn(x, draws.codes, per_context), log_density

    def _at(self, temperature: object) -> FlowDensity:
        """The fitted model at a temperature: itself at 1, else a copy with another flow."""
        self._check_fitted()
        temperature = check_real("temperature", temperature, 0, low_open=True)
        if temperature == 1 or self.flow_ is None:
            return self
        twin = copy.copy(self)
        twin.flow_ = self.flow_._at(temperature)
        return twin

    def _check_draws(self, n_samples: int, random_state: Seed, context: ArrayLike | None, per_context: bool) -> _Draws:
        """The checked arguments of the flow's `sample`, and the categories of each sample."""
        self._check_fitted()
        n_samples = check_int("n_samples", n_samples, 0)
        per_context, categories = check_bool("per_context", per_context), self._known_categories()
        n_rows = n_samples
        if per_context and context is not None:
            n_rows = count_rows(context, getattr(self, "context_feature_names_in_", None), self._count_context())
        seed = self.random_state if random_state is None else random_state
        rows, codes = self._check_context(context, n_rows), None
        if categories is not None:
            if per_context:
                raise ValueError("per_context must be False, got True: the model has no context")
            of_codes, seed = draw_seeds(seed, 2)
            codes = categories.table.sample(n_samples, np.random.default_rng(of_codes))
            rows = categories.rows(rows, codes, self._flow_dtype())
        arguments = {"n_samples": n_samples, "random_state": seed, "per_context": per_context, "context": rows}
        return _Draws(arguments, codes, np.empty((n_samples, 0)))

    def _drawn(self, x: Floats, codes: Ints | None, per_context: bool) -> Any:
        """Samples of the flow and of categories, as `sample` returns them."""
        X = self._to_own_units(x) if x.shape[-1] else x
        return self._of_types(X, X.dtype) if per_context else self._data_output(X, codes)

    def grad_log_prob(self, X: ArrayLike, *, context: ArrayLike | None = None) -> Floats:
        """Gradient of the log-density with respect to each sample, which is also called the score.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        grad : ndarray, shape (n, D)
            In nats per unit of X; NaN in rows without a density. See `Flow.grad_log_prob`.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Also where a column holds whole numbers or categories.
        """
        supports = self._known_supports()
        self._refuse_categories("grad_log_prob")
        if supports is not None and supports.is_whole.any():
            columns = name_columns(supports.is_whole, getattr(self, "feature_names_in_", None))
            raise ValueError(f"grad_log_prob needs columns of real numbers, and column(s) {columns} hold whole numbers")
        if supports is not None and supports.is_sum:
            checked = self._check_columns(X)
            rows = self._check_context(context, len(checked))
            return supports.grad_log_density(self.flow_, checked, self._origin(), rows)
        X = self._check_samples(X)
        return self.flow_.grad_log_prob(X, self._check_context(context, len(X)))

    def impute(self, X: ArrayLike, n_draws: int = 1, random_state: Seed = None, *, context: ArrayLike | None = None) -> Any:
        """Fill missing cells with draws from their conditional density, given the other cells of the row.

        They are draws and not means: filled columns keep their spread and their dependence. Several draws show how uncertain a
        cell is. A row without any value becomes a sample of the model. `missing` does not matter here.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
            With NaN, None, pandas' NA, polars' null or masked elements in missing cells.
        n_draws : int, default 1
        random_state : int, Generator, RandomState or None
            As in `sample`.
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.

        Returns
        -------
        filled : ndarray, shape (n, D), or frame
            A copy of X in which the cells that were there are unchanged, to the bit. Drawn cells are inside of the `support`:
            whole numbers are whole, and angles are in their range. A frame of pandas or polars gives a frame with the same
            types of columns; as in `sample`, drawn cells of a type of whole numbers are rounded.
            With ``n_draws > 1``: an ndarray of shape (n_draws, n, D), or a list of frames.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Notes
        -----
        Without trained layers the draws are exact. Otherwise each one is chosen among at least 500 draws from a proposal, by
        its weight: Rubin (1987), "The calculation of posterior distributions by data augmentation: comment".
        """
        self._check_fitted()
        n_draws = check_int("n_draws", n_draws, 1)
        x = self._check_incomplete(X)
        rows = self._context_of_incomplete(context, len(x))
        (seed,) = draw_seeds(self.random_state if random_state is None else random_state, 1)
        supports, categories, missing = self._known_supports(), self._known_categories(), np.isnan(x)
        drawn = self._incomplete_model().draw(x, rows, n_draws, np.random.default_rng(seed)).transpose(1, 0, 2)
        n_numbers = drawn.shape[2] if categories is None else len(categories.coding.others)
        numbers, codes = np.split(drawn, [n_numbers], axis=2)
        numbers = self._of_types(numbers, numbers.dtype)
        kinds: Sequence[Kind | None] = (REALS,) * n_numbers if supports is None else supports.kinds
        if categories is None:
            return filled_like(X, missing, [list(one.T) for one in numbers], kinds)
        coding = categories.coding
        place = np.argsort([*coding.others, *coding.columns])
        tables = [categories.columns(*one) for one in zip(numbers, codes.astype(np.intp))]
        return filled_like(X, missing[:, place], tables, [(*kinds, *(None for _ in coding.columns))[i] for i in place])

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the fitted model to a file that `nvpflow.load` reads; see `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        TypeError, ValueError
            If a parameter is one that `fit` would not take, or those of the flow are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)


def fit_new(settings: Settings, prepared: Prepared) -> FlowDensity:
    """Fit a new model to checked samples."""
    return FlowDensity()._fit_data(settings, prepared)


def _refuse(where: str, of_rows: dict[str, object]) -> None:
    for name, value in of_rows.items():
        if value is not None:
            raise ValueError(f"{name} must be None {where}, got a {type(value).__name__}")


def _kinds_of(declared: Declared | None, n_columns: int) -> Sequence[Kind]:
    """The kinds of columns of numbers."""
    return (REALS,) * n_columns if declared is None else declared.of_columns(n_columns)


def _spreading_seed(settings: Settings, declared: Declared | None) -> int:
    """A seed of its own for what training sees of whole numbers and angles. Draws nothing where there are none."""
    if declared is None or not declared.is_random:
        return 0
    return draw_seeds(settings.random_state, 2 + 2 * settings.n_models)[-1]
