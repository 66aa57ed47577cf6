"""The record of training options: it agrees with `Flow.fit` and with the names that the C core reads."""

import inspect
from dataclasses import fields

import numpy as np
import pytest

from nvpflow import Flow, FlowDensity, Permutation
from nvpflow._training.build import count_couplings
from nvpflow._training.options import TrainingOptions

ANY_FLOW = Flow([Permutation(2)])


def train(options):
    history = {}
    memory = np.zeros(ANY_FLOW._train_state_size(), np.uint8)
    ANY_FLOW._train((np.zeros((3, 2)), None, None), None, options, history, None, memory)
    return history


def test_fit_has_the_options_and_their_defaults():
    parameters = inspect.signature(Flow.fit).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords == {option.name: option.default for option in fields(TrainingOptions)}


def test_the_core_knows_every_option():
    options = TrainingOptions(max_iter=3, random_state=0, noise=np.ones(2), schedule="cosine").for_core(3)
    assert len(options) == 15
    assert train(options)["n_iter"] == 3


@pytest.mark.parametrize("name", ["max_epochs", "Max_iter", "", 7])
def test_the_core_refuses_an_unknown_option(name):
    with pytest.raises(TypeError, match=f"unknown training option {name!r}"):
        train({"max_iter": 1, name: 1})


@pytest.mark.parametrize(
    "option, value, error",
    [
        ("max_iter", -1, OverflowError),
        ("max_iter", 1.5, TypeError),
        ("learning_rate", "fast", TypeError),
        ("schedule", "linear", ValueError),
        ("schedule", 1, ValueError),
        ("seed", -1, OverflowError),
        ("noise", np.ones(3), ValueError),
    ],
)
def test_the_core_refuses_a_wrong_value(option, value, error):
    with pytest.raises(error):
        train({"max_iter": 1, option: value})


def test_a_float_warmup_is_a_share_of_all_steps():
    options = TrainingOptions(max_iter=10, batch_size=4, warmup=0.25)
    assert options.for_core(9)["warmup"] == 8  # of 10 epochs of 3 batches
    assert TrainingOptions(warmup=7).for_core(9)["warmup"] == 7


@pytest.mark.parametrize(
    ("options", "n"), [({}, 4), (dict(base="normal"), 12), (dict(validation_fraction=None), 12), (dict(n_layers=3), 3)]
)
def test_number_of_layers(options, n):
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = FlowDensity(max_iter=1, random_state=0, **options).fit(x)
    assert count_couplings(model.flow_) == n
    assert model.set_params(warm_start=True).fit(x).flow_.layers


def test_number_of_layers_with_a_context():
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = FlowDensity(max_iter=1, random_state=0).fit(x[:, :1], context=x[:, 1:])
    assert count_couplings(model.flow_) == 12
