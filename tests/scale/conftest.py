"""A cluster of worker processes, as users start it on one machine."""

import warnings

import pytest


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="needs Dask's distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as a port that is in use
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as started:
            yield started
