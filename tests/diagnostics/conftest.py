"""Data and models that are checked."""

import numpy as np
import pytest

import nvpflow


def draw(seed, n=400):
    """Two columns that depend on each other, one of them skewed."""
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    return np.c_[a, np.exp(0.5 * (a + b))]


@pytest.fixture(scope="session")
def model():
    return nvpflow.FlowDensity(max_iter=30, random_state=0).fit(draw(0, 2000))
