"""Models whose figures are tested."""

import numpy as np
import pytest

import nvpflow
from support.figures import DATA


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(n_layers=8, hidden_dim=8, base="normal", max_iter=20, random_state=0).fit(DATA)


@pytest.fixture(scope="module")
def conditional():
    context = np.random.default_rng(1).normal(size=(300, 2))
    return nvpflow.FlowDensity(2, 8, base="normal", max_iter=20, random_state=0).fit(DATA + context, context=context)
