"""A model fitted to rough samples of the target."""

import numpy as np
import pytest

import nvpflow
from support.targets import CHOLESKY, MEAN


@pytest.fixture(scope="session")
def rough():
    """Samples that are too wide and off by a little."""
    return MEAN + 0.2 + 1.2 * np.random.default_rng(0).normal(size=(600, 2)) @ CHOLESKY.T


@pytest.fixture(scope="session")
def model(rough):
    return nvpflow.FlowDensity(max_iter=10, random_state=0).fit(rough)
