"""Measures the figures that are missing."""

import math
import sys
import time

import numpy as np

from moons import processor
from quality.data import DATA, draw
from quality.models import CONDITIONAL_MODELS, MODELS, SUPPORT_MODELS


def models_of(name):
    """The models that can be run on the data."""
    return {"conditional": CONDITIONAL_MODELS, "support": SUPPORT_MODELS}.get(DATA[name].sort, MODELS)


def measure(model, samples, state):
    """The figure of one model, None if it is not finite; the seconds of its fit; and its error, if it failed."""
    train, held_out, log_true = samples
    start = time.process_time()
    try:
        log_prob = model.fit(*train, seed=state)
        seconds = time.process_time() - start
        figure = float(np.mean(log_true - np.asarray(log_prob(*held_out), np.float64)))
    except Exception as error:  # peers fail in their own ways; the figure says so
        return None, time.process_time() - start, f"{type(error).__name__}: {error}"
    return figure if math.isfinite(figure) else None, seconds, None


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
                value, seconds, error = measure(model, samples, state)
                figure = {"data": data, "n": n, "model": name, "state": state, "nats": value, "cpu_seconds": round(seconds, 3),
                          "software": code, "processor": where} | ({"error": error} if error else {})  # fmt: skip
                results.add(figure, command)
                print(f"{data}, n = {n}, state {state}, {name}: {error or value}, {seconds:.3g} s", file=sys.stderr)
