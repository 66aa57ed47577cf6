"""Several threads share a flow, and one call uses several threads: the bits are those of one thread."""

import threading

import numpy as np
import pytest

from support.flows import make_flow


def test_threads_share_flow():
    flow = make_flow("float32")
    points = np.random.RandomState(0).normal(size=(20000, 2)).astype("float32")
    expected = flow.log_prob(points), flow.forward(points)[0], flow.sample(1000, random_state=0)
    wrong = []

    def use():
        for _ in range(5):
            found = flow.log_prob(points), flow.forward(points)[0], flow.sample(1000, random_state=0)
            wrong.extend(1 for ours, theirs in zip(found, expected) if ours.tobytes() != theirs.tobytes())

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n_jobs", [2, 3, 8])
def test_n_jobs_changes_no_bit(n_jobs):
    one, many = make_flow("float32", n_layers=4), make_flow("float32", n_layers=4)
    many.n_jobs = n_jobs
    assert many.n_jobs == n_jobs
    points = np.random.RandomState(0).normal(size=(200_000, 2)).astype("float32")
    assert one.log_prob(points).tobytes() == many.log_prob(points).tobytes()
    assert one.sample(200_000, random_state=1).tobytes() == many.sample(200_000, random_state=1).tobytes()
    (nll, grad), (nll_many, grad_many) = one.nll_and_grad(points), many.nll_and_grad(points)
    assert nll == nll_many and grad.tobytes() == grad_many.tobytes()
    curves = [flow.fit(points[:3000], max_iter=20, noise=0.1, random_state=0)["train_nll"] for flow in (one, many)]
    assert curves[0].tobytes() == curves[1].tobytes()
    assert one.parameters.tobytes() == many.parameters.tobytes()
