"""What benchmarks/time_to_quality.py measures: a clock of one core, curves of likelihood against its seconds, the file of curves."""

import json
import math
import signal
import time
from pathlib import Path
from typing import NamedTuple

from moons import processor

FINISHED, CUT = "finished", "limit"
DIGITS = 4  # of seconds and nats


class OutOfTime(BaseException):
    """Raised in a fit that has taken its time. No Exception, as searches go on after those."""


class Clock:
    """CPU seconds of this process, without those in which it is stopped. After `limit` of them it raises OutOfTime."""

    def __init__(self, limit):
        self.limit, self.start = limit, time.process_time()
        self.has_alarm = hasattr(signal, "setitimer") and limit is not None

    def __enter__(self):
        if self.has_alarm:
            self.previous = signal.signal(signal.SIGPROF, self._end)
        self.start = time.process_time()
        self._set_alarm()
        return self

    def __exit__(self, *_):
        if self.has_alarm:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self.previous)

    def seconds(self):
        return time.process_time() - self.start

    def call(self, function, *arguments):
        """The result of a function, which takes no time."""
        before = time.process_time()
        if self.has_alarm:
            signal.setitimer(signal.ITIMER_PROF, 0)
        result = function(*arguments)
        self.start += time.process_time() - before
        self._set_alarm()
        return result

    def _set_alarm(self):
        if self.has_alarm:
            signal.setitimer(signal.ITIMER_PROF, max(1e-3, self.limit - self.seconds()))

    @staticmethod
    def _end(*_):
        raise OutOfTime


class Curve(NamedTuple):
    """Points (seconds, nats) in the order of time, the seconds of the whole fit, and how it ended.

    `end` is "finished", "limit" (of the benchmark, on seconds) or the message of an error. The model of the last point is the
    one that a user has from then on: a search or a training may go on after it, in vain.
    """

    points: list[tuple[float, float]]
    seconds: float
    end: str = FINISHED

    def seconds_until(self, enough):
        """When the curve gets to `enough` nats for good. Infinite if never."""
        good = [math.isfinite(nats) and nats <= enough for _, nats in self.points]
        if not good or not good[-1]:
            return math.inf
        first = len(good) - next((i for i, is_good in enumerate(reversed(good)) if not is_good), len(good))
        return self.points[first][0]

    @property
    def nats(self):
        """Of the model in the end; infinite if there is none."""
        nats = self.points[-1][1] if self.points else math.inf
        return nats if math.isfinite(nats) else math.inf

    @property
    def best(self):
        """The least nats of any point."""
        return min((nats for _, nats in self.points if math.isfinite(nats)), default=math.inf)


def trace(fit, score, limit):
    """The curve of `fit`, a function of a watch that it calls with better models and that returns the last one.

    `score` gives the nats of a model. It is called with the clock stopped.
    """
    points, end = [], FINISHED

    def watch(model):
        seconds = clock.seconds()
        points.append((seconds, clock.call(score, model)))

    with Clock(limit) as clock:
        try:
            model = fit(watch)
        except OutOfTime:
            end = CUT
        except Exception as error:  # peers fail in their own ways
            end = f"{type(error).__name__}: {error}"
        seconds = clock.seconds()
    if end == FINISHED and not points:
        points.append((seconds, score(model)))
    return Curve(points, seconds, end)


class Curves:
    """Curves by (data, n, model, state), kept in a JSON file with the commands that made them, as soon as they are known.

    `path` None: in none.
    """

    def __init__(self, path):
        self.path, self.curves, self.origins, self.commands = path and Path(path), {}, {}, []
        if self.path and self.path.exists():
            content = json.loads(self.path.read_text())
            self.commands = content["commands"]
            for row in content["curves"]:
                key = row["data"], row["n"], row["model"], row["state"]
                points = [(seconds, math.inf if nats is None else nats) for seconds, nats in row["points"]]
                self.curves[key] = Curve(points, row["seconds"], row["end"])
                self.origins[key] = row["software"], row["processor"]

    def add(self, key, curve, software, command):
        """Add a curve, rounded as the file has it, or what is reported would depend on who reads it."""
        points = [(round(seconds, DIGITS), round(nats, DIGITS)) for seconds, nats in curve.points]
        self.curves[key] = Curve(points, round(curve.seconds, DIGITS), curve.end)
        self.origins[key] = software, processor()
        if command not in self.commands:
            self.commands.append(command)
        if self.path:
            commands = ",\n".join(json.dumps(command) for command in self.commands)
            rows = ",\n".join(json.dumps(self._row(key)) for key in self.curves)
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(f'{{"commands": [\n{commands}\n],\n"curves": [\n{rows}\n]}}\n')
            temporary.replace(self.path)

    def _row(self, key):
        """As JSON has it, which knows no inf."""
        curve, (software, where) = self.curves[key], self.origins[key]
        points = [(seconds, nats if math.isfinite(nats) else None) for seconds, nats in curve.points]
        row = dict(zip(("data", "n", "model", "state"), key)) | {"points": points, "seconds": curve.seconds}
        return row | {"end": curve.end, "software": software, "processor": where}

    def of(self, cells, names):
        """{(data, n): {model: {state: curve}}} of these cells and models."""
        found = {}
        for (data, n, name, state), curve in self.curves.items():
            if (data, n) in cells and name in names:
                found.setdefault((data, n), {}).setdefault(name, {})[state] = curve
        return {cell: found[cell] for cell in cells if cell in found}
