"""Small models of every kind, whose files are changed, and calls of their methods on the rows that they were fitted to."""

import functools

import numpy as np

import nvpflow

FAST = {"n_layers": 1, "hidden_dim": 3, "max_iter": 1, "random_state": 0, "dtype": "float64"}
N = 40


def numbers(n_columns, seed=0):
    return np.random.default_rng(seed).normal(size=(N, n_columns))


def mixed_rows():
    """A real column, a text and a whole number."""
    rng = np.random.default_rng(0)
    rows = np.empty((N, 3), dtype=object)
    rows[:, 0] = rng.normal(size=N).tolist()
    rows[:, 1] = [("red", "green", "blue")[k] for k in rng.integers(3, size=N)]
    rows[:, 2] = rng.poisson(2, N).tolist()
    return rows


def of_density(X, context=None):
    """Calls of an estimator of a density."""
    given, one = ({}, {}) if context is None else ({"context": context[:5]}, {"context": context[:1]})
    return [
        lambda model: model.score_samples(X[:5], **given),
        lambda model: model.score(X[:5], **given),
        lambda model: model.sample(5, random_state=0, **one),
        lambda model: model.sample_and_log_prob(5, random_state=0, **one),
        lambda model: model.transform(X[:5], **given) if hasattr(model, "transform") else None,
        lambda model: model.grad_log_prob(X[:5], **given),
        lambda model: model.impute(X[:5], random_state=0, **given),
        lambda model: model.marginal([0], **one).mean(),
        lambda model: model.set_params(random_state=0),
    ]


def of_flow(X, context=None):
    return [
        lambda flow: flow.log_prob(X[:5], context),
        lambda flow: flow.sample(5, 0, context),
        lambda flow: flow.forward(X[:5], context) if hasattr(flow, "forward") else flow.member_log_prob(X[:5], context),
        lambda flow: flow.summary(),
        lambda flow: flow.copy(),
        lambda flow: flow.state_dict() if hasattr(flow, "state_dict") else flow.weights,
    ]


@functools.cache
def flow():
    layers = [
        nvpflow.AffineCoupling(3, 2, [1, 0, 1], random_state=0),
        nvpflow.SplineCoupling(3, 2, n_bins=2, random_state=0),
        nvpflow.Permutation(3, random_state=0),
        nvpflow.LULinear(3),
        nvpflow.ActNorm(3),
        nvpflow.Bounded(3, [(0, 1), (0, None), (None, None)]),
    ]
    return nvpflow.Flow(layers, nvpflow.StudentTBase(3)), of_flow(numbers(3))


@functools.cache
def conditional_flow():
    layers = [nvpflow.AdditiveCoupling(2, 2, context_dim=1, random_state=0)]
    return nvpflow.Flow(layers), of_flow(numbers(2), numbers(1)[:5])


@functools.cache
def ensemble():
    flows = [nvpflow.Flow([nvpflow.AffineCoupling(2, 2, random_state=k)]) for k in range(2)]
    return nvpflow.FlowEnsemble(flows, [0.25, 0.75]), of_flow(numbers(2))


@functools.cache
def density():
    X = numbers(2)
    options = FAST | {"random_state": np.random.default_rng(3)}
    return nvpflow.FlowDensity(**options).fit(X), of_density(X)


@functools.cache
def conditional_density():
    X, context = numbers(1), numbers(2, 1)
    return nvpflow.FlowDensity(**FAST).fit(X, context=context), of_density(X, context)


@functools.cache
def frame():
    import pandas

    X = pandas.DataFrame({"a": numbers(1)[:, 0], "b": np.arange(N, dtype="int8"), "c": np.abs(numbers(1)[:, 0])})
    return nvpflow.FlowDensity(support={"c": (0, None), "b": nvpflow.Integer()}, **FAST).fit(X), of_density(X)


@functools.cache
def categories():
    X = mixed_rows()
    return nvpflow.FlowDensity(support={1: "category", 2: nvpflow.Integer(0)}, **FAST).fit(X), of_density(X)


@functools.cache
def frame_of_categories():
    import pandas

    X = pandas.DataFrame(
        {"x": numbers(1)[:, 0], "of": pandas.Categorical(["u", "v"] * (N // 2)), "is": [True, False] * (N // 2)}
    )
    return nvpflow.FlowDensity(**FAST).fit(X), of_density(X)


@functools.cache
def context_of_categories():
    X, context = numbers(1), mixed_rows()
    support = {1: "category", 0: nvpflow.Angle()}
    return nvpflow.FlowDensity(context_support=support, **FAST).fit(X, context=context), of_density(X, context)


@functools.cache
def ensemble_density():
    X = numbers(2)
    return nvpflow.FlowDensity(n_models=2, **FAST).fit(X), of_density(X)


@functools.cache
def real_nvp():
    X = numbers(2)
    return nvpflow.RealNVP(**FAST).fit(X), of_density(X)


def of_detector(X, context=None):
    given = {} if context is None else {"context": context[:5]}
    return [
        lambda model: model.score_samples(X[:5], **given),
        lambda model: model.predict(X[:5], **given),
        lambda model: model.decision_function(X[:5], **given),
        lambda model: model.set_params(random_state=0),
    ]


@functools.cache
def detector():
    X = numbers(2)
    return nvpflow.FlowOutlierDetector(contamination=0.1, **FAST).fit(X), of_detector(X)


@functools.cache
def classifier():
    X = numbers(2)
    calls = [
        lambda model: model.predict(X[:5]),
        lambda model: model.predict_proba(X[:5]),
        lambda model: model.predict_log_proba(X[:5]),
        lambda model: model.decision_function(X[:5]),
    ]
    return nvpflow.FlowClassifier(max_iter=1, random_state=0).fit(X, np.arange(N) % 2), calls


@functools.cache
def regressor():
    X = numbers(2)
    calls = [
        lambda model: model.predict(X[:5]),
        lambda model: model.predict_quantiles(X[:5]),
        lambda model: model.sample(X[:5], 2, random_state=0),
        lambda model: model.predict_log_density(X[:5], X[:5, 0]),
    ]
    return nvpflow.FlowRegressor(max_iter=1, random_state=0).fit(X, X[:, 0] + numbers(1, 2)[:, 0]), calls


MODELS = {
    make.__name__: make
    for make in (
        flow, conditional_flow, ensemble, density, conditional_density, frame, categories, frame_of_categories,
        context_of_categories, ensemble_density, real_nvp, detector, classifier, regressor,
    )
}  # fmt: skip


def calls_of(name, model):
    """Calls of the public methods of a model that was loaded from a changed file of the model with this name."""
    original, calls = MODELS[name]()
    if type(model) is type(original):
        return calls
    if isinstance(model, (nvpflow.Flow, nvpflow.FlowEnsemble)):
        return of_flow(numbers(model.data_dim), numbers(model.context_dim)[:5] if model.context_dim else None)
    of_class = of_detector if isinstance(model, nvpflow.FlowOutlierDetector) else of_density
    n_context = 0 if isinstance(model, nvpflow.FlowOutlierDetector) else model._count_context()
    return of_class(numbers(model.n_features_in_), numbers(n_context) if n_context else None)
