"""Write data/oracle.npz, the stored outputs of the oracle (needs PyTorch): ``python tests/make_oracle.py``.

For every case it looks for the first draw whose outputs are fit for comparison in float32, see `cases`:

- all outputs are finite;
- no ReLU has its input within `KINK_MARGIN` of its kink, and no spline within that of a knot, so that rounding cannot flip
  one;
- relative changes of one float32 epsilon in all parameters, points and cotangents move no output by more than
  `SENSITIVITY` in the measure of the tests, so that what the tests find is the code's error and not the problem's;
- the oracle itself, run in float32, comes within `FLOAT32_ERROR` of its float64 outputs, which leaves out sums of many terms
  that happen to cancel.

Nothing of this looks at nvpflow. The first draw is fit in most cases.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from support import cases, oracle
from support.digests import digest, digest_error, norm_error

EPSILON = float(np.finfo(np.float32).eps)
KINK_MARGIN = 16 * EPSILON
SENSITIVITY = 2.5e-6
FLOAT32_ERROR = 5e-6
N_PERTURBATIONS = 3
MAX_ATTEMPTS = 2000
PATH = Path(__file__).parent / "data" / "oracle.npz"


def perturbed(draw, rng):
    """The draw with every number changed by a random fraction of a float32 epsilon."""

    def change(array):
        return array * (1 + EPSILON * rng.uniform(-1, 1, array.shape))

    return dataclasses.replace(
        draw,
        parameters={key: change(value) for key, value in draw.parameters.items()},
        points=change(draw.points),
        grad_output=change(draw.grad_output),
        grad_log_det=change(draw.grad_log_det),
        context=None if draw.context is None else change(draw.context),
    )


def largest_error(values, expected, digests):
    """Over all outputs of a case, in both measures of the tests."""
    return max(max(norm_error(value, expected[key]), digest_error(value, digests[key])) for key, value in values.items())


def is_fit(case, draw, expected, digests):
    """Whether the case with this draw can be computed well in float32."""
    rng = np.random.RandomState(0)
    for _ in range(N_PERTURBATIONS):
        changed = oracle.evaluate(case, perturbed(draw, rng))
        if largest_error(changed, expected, digests) > SENSITIVITY:
            return False
    single = oracle.evaluate(case, draw, torch.float32)
    return largest_error(single, expected, digests) <= FLOAT32_ERROR


def fit_draw(case):
    """The first fit draw of a case: its attempt number and the digests of its outputs."""
    for attempt in range(MAX_ATTEMPTS):
        draw = cases.draw(case, attempt)
        if oracle.kink_margin(case, draw) < KINK_MARGIN:
            continue
        expected = oracle.evaluate(case, draw)
        if not all(np.isfinite(value).all() for value in expected.values()):
            continue  # scale="exp" overflows in some deep flows
        digests = {key: digest(value) for key, value in expected.items()}
        if is_fit(case, draw, expected, digests):
            return attempt, digests
    raise RuntimeError(f"no draw of {case.name} is fit among {MAX_ATTEMPTS}")


def main():
    attempts, rows = [], []
    for case in cases.CASES:
        attempt, digests = fit_draw(case)
        attempts.append(attempt)
        rows += digests.values()
        if attempt >= 20:
            print(f"{case.name}: attempt {attempt}", flush=True)
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        PATH,
        names=np.array("\n".join(case.name for case in cases.CASES)),
        attempts=np.array(attempts, np.int32),
        digests=np.array(rows).T.copy(),  # equal fields side by side compress better
    )
    print(f"{attempts.count(0)} first draws; {PATH}: {len(attempts)} cases, {len(rows)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
