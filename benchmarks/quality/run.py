"""Measures the figures that are missing."""

import math
import sys
import time

import numpy as np

from moons import processor
from quality.data import DATA, N_HELD_OUT, draw
from quality.models import CONDITIONAL_MODELS, MODELS, SUPPORT_MODELS, Unsuitable
from quality.supports import share_outside


def models_of(name):
    """The models that can be run on the data."""
    return {"conditional": CONDITIONAL_MODELS, "support": SUPPORT_MODELS}.get(DATA[name].sort, MODELS)


def measure(model, samples, state):
    """What a figure says of one model: nats, None if they are not finite; the seconds of its fit; its error, if it failed.

    Of models of columns with a support, the share of samples outside of it as well; None if the model is not made for these.
    """
    train, held_out, log_true = samples
    start = time.process_time()
    try:
        log_prob = model.fit(*train, seed=state)
        seconds = _since(start)
        nats = float(np.mean(log_true - np.asarray(log_prob(*held_out), np.float64)))
        outside = _outside(log_prob, train, state)
    except Unsuitable:
        return None
    except Exception as error:  # peers fail in their own ways; the figure says so
        return {"nats": None, "cpu_seconds": _since(start), "error": f"{type(error).__name__}: {error}"}
    return {"nats": nats if math.isfinite(nats) else None, "cpu_seconds": seconds} | outside


def _since(start):
    return round(time.process_time() - start, 3)


def _outside(log_prob, train, state):
    if not hasattr(log_prob, "sample"):
        return {}
    samples = log_prob.sample(N_HELD_OUT, np.random.default_rng(state))
    return {"outside": float(share_outside(samples, train[1]))}


def run(cells, names, states, results, command):
    """Every figure of `cells`, (data, n), and of the models `names` that `results` do not hold yet.

    All of one state come before the next. A figure of nvpflow is measured again if its code has changed.
    """
    where = processor()
    for state in range(states):
        for data, n in cells:
            samples = None
            for name, model in models_of(data).items():
                if name not in names or not model.is_installed or n > model.largest:
                    continue
                known, code = results.figures.get((data, n, name, state)), model.software()
                if known and (not model.is_ours or known["software"] == code):
                    continue
                samples = samples or draw(data, n, state)
                measured = measure(model, samples, state)
                if measured is None:
                    continue
                origin = {"software": code, "processor": where}
                results.add({"data": data, "n": n, "model": name, "state": state} | measured | origin, command)
                said = measured.get("error") or measured["nats"]
                print(f"{data}, n = {n}, state {state}, {name}: {said}, {measured['cpu_seconds']:.3g} s", file=sys.stderr)
