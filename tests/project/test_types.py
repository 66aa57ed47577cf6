"""Types: public signatures are annotated, mypy passes, and the stub matches the core."""

import importlib
import inspect
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ["nvpflow", "nvpflow.cli", "nvpflow.datasets", "nvpflow.plot", "nvpflow.progress", "nvpflow.cli.tables"]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Runs mypy, or another of its modules, in the root; returns (exit code, output)."""
    pytest.importorskip("mypy")
    environment = os.environ | {"MYPY_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}

    def run(*arguments, module="mypy"):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


def test_package(mypy):
    pytest.importorskip("numpy", minversion="2.4")  # older ones have functions without types
    code, output = mypy()
    assert code == 0, output


AS_A_USER = ["--config-file=", "--strict", "--follow-imports=silent"]


def test_user_program(mypy):
    code, output = mypy(*AS_A_USER, Path(__file__).parent / "typed_program.py")
    assert code == 0, output


def test_wrong_program(mypy, tmp_path):
    program = tmp_path / "wrong.py"
    program.write_text("import nvpflow\nnvpflow.FlowDensity(coupling='sinh')\n")
    code, output = mypy(*AS_A_USER, program)
    assert code == 1 and 'expected "Literal[' in output, output


@pytest.mark.filterwarnings("ignore::nvpflow.ConvergenceWarning")
def test_user_program_runs():
    names = runpy.run_path(str(Path(__file__).parent / "typed_program.py"))
    assert names["history"]["train_nll"].shape == (2,)


def test_core_stub(mypy):
    code, output = mypy("--mypy-config-file", ROOT / "pyproject.toml", "nvpflow._core", module="mypy.stubtest")
    assert code == 0, output


def public_functions():
    """(name, function) for everything public that Python code defines."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.isclass(thing):
                yield f"{module_name}.{name}", inspect.unwrap(thing)
                continue
            for base in thing.__mro__:
                for member, value in vars(base).items() if base.__module__.startswith("nvpflow") else ():
                    for function in (getattr(value, "fget", None), getattr(value, "__func__", None), value):
                        if inspect.isfunction(function) and (member == "__init__" or not member.startswith("_")):
                            yield f"{base.__name__}.{member}", function


@pytest.mark.parametrize("name, function", sorted(dict(public_functions()).items()))
def test_public_signatures_are_typed(name, function):
    missing = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    missing = {argument for argument in missing if argument not in ("self", "cls")} | {"return"}
    assert missing <= set(function.__annotations__), name
