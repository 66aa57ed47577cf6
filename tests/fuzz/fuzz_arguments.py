"""Fuzzes the command line: any arguments end with exit status 0, or with 1 or 2 and one line on standard error.

The commands and their options are those of the parser; their values are drawn from those that work and odd ones.
"""

import argparse
import contextlib
import functools
import io
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np

import draws as st
import nvpflow
from fuzz_models import MODELS
from nvpflow import cli
from workplace import folder

VALUES = [
    "", "-", "--", "0", "1", "2", "-1", "1.5", "nan", "inf", "1e400", "9" * 30, "1_000", "x", "x,y", "1,2", "1-2", "1,1", "2-1",
    "x=1", "x=1,y=2", "0.5,1", "a:b:c", "x:0:1", "x:1:0", "x::", ",", "auto", "none", "full", "tab", "\t", "é", "\ud800", "'",
    "float64", "normal", "mixture", "corner", "training", ".", "no/such/file", "data.csv", "mixed.csv", "empty.csv", "data.npy",
    "density.npz", "conditional_density.npz", "categories.npz", "detector.npz", "flow.npz", "broken.npz", "new.csv", "new.npz",
]  # fmt: skip
TABLES = ["data.csv", "mixed.csv", "empty.csv", "data.npy", "broken.npz", "-", "x", "."]
SAVED = ["density", "conditional_density", "categories", "detector", "flow", "classifier", "frame", "ensemble_density"]
# A fit takes no longer than this; a figure and the two moons take seconds, and are left to the tests.
BRIEFLY = ["--max-iter", "1", "--n-layers", "1", "--hidden-dim", "2", "--time-limit", "0.05", "--base", "normal"]

make_parser = functools.cache(cli._parser)  # most of the time would go into making it


@functools.cache
def commands():
    """{command: its parser}."""
    (action,) = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: parser for name, parser in action.choices.items() if name not in ("plot", "moons")}


@st.composite
def arguments(draw):
    if draw(st.integers(0, 19)) == 0:
        return draw(st.lists(st.sampled_from(VALUES + sorted(commands()) + ["--help", "--version"]), max_size=4))
    name = draw(st.sampled_from(sorted(commands())))
    given = [name]
    for action in commands()[name]._actions:
        if not action.option_strings and draw(st.integers(0, 19)):
            usual = [f"{model}.npz" for model in SAVED] if action.dest == "model" else TABLES
            given.append(draw(st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(VALUES))))
        elif action.option_strings and (action.required or draw(st.integers(0, 11)) == 0):
            given.append(draw(st.sampled_from(action.option_strings)))
            if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
                given.append(str(draw(st.sampled_from(list(action.choices or VALUES) + VALUES[:10]))))
    return given + BRIEFLY if name == "fit" else given


EXAMPLES = arguments()


@functools.cache
def room():
    """A directory with tables and models."""
    path = folder()
    rows = np.random.default_rng(0).normal(size=(30, 2))
    np.savetxt(path / "data.csv", rows, delimiter=",", header="x,y", comments="")
    np.save(path / "data.npy", rows)
    (path / "empty.csv").write_text("")
    (path / "mixed.csv").write_text("x,of,n\n" + "".join(f"{i / 7},{'red' if i % 3 else 'blue'},{i % 5}\n" for i in range(30)))
    (path / "broken.npz").write_bytes(b"PK\3\4" + bytes(100))
    for name in SAVED:
        nvpflow.save(MODELS[name]()[0], path / f"{name}.npz")
    return path


def reader(content):
    return io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="utf-8")


def writer():
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")


def check(given):
    """Return whether the command worked."""
    before, streams = os.getcwd(), (sys.stdin, sys.stdout, sys.stderr)
    os.chdir(room())
    sys.stdin, sys.stdout, sys.stderr = reader(Path("data.csv").read_bytes()), writer(), writer()
    try:
        with contextlib.suppress(OSError):
            os.remove("new.npz")
        try:
            with mock.patch.object(cli, "_parser", make_parser):
                status = cli.main(given)
        except SystemExit as end:
            status = end.code
        sys.stderr.flush()
        said = sys.stderr.buffer.getvalue().decode(errors="replace").splitlines()
    finally:
        os.chdir(before)
        sys.stdin, sys.stdout, sys.stderr = streams
    errors = [line for line in said if line.startswith("nvpflow: error: ")]
    assert status in (0, 1, 2), status
    assert len(errors) == (status != 0), (status, said)
    assert not any("Traceback" in line or ".py" in line for line in said), said
    return status == 0
