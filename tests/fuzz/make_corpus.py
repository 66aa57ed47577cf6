"""Writes the files from which the fuzz targets in C start: python tests/fuzz/make_corpus.py"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nvpflow
from nvpflow._io.encoding import describe

CORPUS = Path(__file__).resolve().parent / "corpus"
WIDE = 255  # in an input of `decode`: the double in the next eight bytes


def flows():
    """Small flows with every kind of layer and base."""
    options = {"random_state": 0, "hidden_dim": 2}
    angle = {"mask": [1, 0], "periods": [2.0, None], "n_bins": 2}
    one, two = nvpflow.ActNorm(1), nvpflow.ActNorm(2)
    mixture = nvpflow.MixtureBase([0.5, 0.5], [[0.0], [1.0]], [np.eye(1)] * 2)
    three = [np.zeros(2), np.ones(2)], [np.eye(2)] * 2
    conditional = nvpflow.ConditionalMixtureBase([0.5, 0.5], *three, context_dim=2, n_indicators=1)
    return {
        "affine": nvpflow.Flow([nvpflow.AffineCoupling(2, mask=[1, 0], **options)]),
        "exponential": nvpflow.Flow([nvpflow.AffineCoupling(2, mask=[0, 1], scale="exp", networks="shared", **options)]),
        "additive": nvpflow.Flow([nvpflow.AdditiveCoupling(2, context_dim=1, **options)]),
        "spline": nvpflow.Flow([nvpflow.SplineCoupling(2, n_bins=3, activation="tanh", **options)]),
        "circular": nvpflow.Flow([nvpflow.CircularSplineCoupling(2, **options, **angle)], nvpflow.CircularBase([2.0, None])),
        "linear": nvpflow.Flow([nvpflow.Permutation(3, [2, 0, 1]), nvpflow.LULinear(3), nvpflow.ActNorm(3)]),
        "bounded": nvpflow.Flow([nvpflow.Bounded(3, [(0, 1), (0, None), (None, None)])]),
        "nearly lines": nvpflow.Flow([nvpflow.Bounded(3, [(0, 1), (0, None), (None, 2)], [-0.1, -1, -2])]),
        "mixture": nvpflow.Flow([one], mixture),
        "conditional": nvpflow.Flow([nvpflow.ActNorm(1)], conditional),
        "tails": nvpflow.Flow([two], nvpflow.StudentTBase(2)),
    }


def packed(description):
    """The numbers of a flow as an input of `decode`."""
    parts = [
        bytes([int(number)]) if 0 <= number < 200 and number == int(number) else bytes([WIDE]) + np.float64(number).tobytes()
        for number in description
    ]
    return bytes(1) + b"".join(parts)


READ = ("description", "descriptions", "parameters", "weights", "columns", "origin", "context_origin", "context_range")


def save_small(model, path):
    """Save a model with no more than what the C library reads."""
    model.save(path)
    with np.load(path) as arrays:
        arrays = {name: arrays[name] for name in READ if name in arrays}
    np.savez(path, **arrays)


def fitted():
    """A model of an angle, whole numbers and a real column, given a context."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.uniform(0, 6, 30), rng.poisson(3, 30), rng.normal(size=30)])
    options = {"n_layers": 1, "hidden_dim": 1, "max_iter": 1, "base": "normal", "random_state": 0}
    model = nvpflow.FlowDensity(support=[nvpflow.Angle(), nvpflow.Integer(0), None], **options)
    return model.fit(rows, context=rng.normal(size=(30, 1)))


def main():
    for folder in ("load", "decode"):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    for name, flow in flows().items():
        save_small(flow, CORPUS / "load" / f"{name}.npz")
        (CORPUS / "decode" / name).write_bytes(packed(describe(flow.config())))
    ensemble = nvpflow.FlowEnsemble([flows()["affine"], flows()["exponential"]], [0.25, 0.75])
    save_small(ensemble, CORPUS / "load" / "ensemble.npz")
    save_small(fitted(), CORPUS / "load" / "fitted.npz")


if __name__ == "__main__":
    main()
