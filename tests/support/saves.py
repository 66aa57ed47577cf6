"""Helpers for tests of `save`: small flows identified by a number, other processes and other users."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nvpflow

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do that")


def flow(bias=0.0, dim=2):
    made = nvpflow.Flow([nvpflow.ActNorm(dim)])
    made.layers[0].bias[:] = bias
    return made


def bias(path):
    """The bias of the flow in a file, which identifies it."""
    return float(nvpflow.load(path).layers[0].bias[0])


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def temporaries(directory):
    return [path.name for path in Path(directory).iterdir() if path.name.startswith(".nvpflow")]


PROGRAM = f"""
import errno, os, signal, sys
sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from support.saves import flow
"""


def run(program, *arguments, **options):
    """Start a program in another process, with `flow` imported."""
    command = [sys.executable, "-c", PROGRAM + textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def finish(process, status=0):
    error = process.communicate(timeout=60)[1]
    assert process.returncode == status, error


def as_nobody(call):
    """Make a call in a child process as a user without rights. Return True, False if it fails, or PermissionError."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call()
            status = 0
        except PermissionError:
            status = 2
        finally:
            os._exit(status)
    return (True, False, PermissionError)[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
