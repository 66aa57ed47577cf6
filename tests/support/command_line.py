"""Run the command line, in this process or in another."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import nvpflow
from nvpflow import cli

# The command runs in any directory, even if the package is not installed.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(nvpflow.__file__).parent.parent)}


def command(*arguments):
    return [sys.executable, "-m", "nvpflow", *map(str, arguments)]


def run(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 300, "env": ENVIRONMENT} | options
    return subprocess.run(command(*arguments), **options)


def main(*arguments):
    return cli.main([str(argument) for argument in arguments])


def error_line(capsys):
    """The message in the only line of standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nvpflow: error: ")
    return line.removeprefix("nvpflow: error: ")


def numbers(text, header=True):
    """The numbers of a CSV table."""
    return np.loadtxt(text.splitlines(), delimiter=",", skiprows=int(header), ndmin=2)
