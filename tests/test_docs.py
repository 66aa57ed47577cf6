"""What the README and the docstrings show runs as it stands."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import nvpflow

README = (Path(__file__).parent.parent / "README.md").read_text()
MODULES = ["nvpflow", *(f"nvpflow.{module.name}" for module in pkgutil.iter_modules(nvpflow.__path__))]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "nvpflow.__main__"])
def test_docstring_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_readme_examples(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["model"].score_samples(names["X"]).shape == (1000,)
    assert names["grad"].shape == names["flow"].parameters.shape
    assert (tmp_path / "moons.npz").exists()


def test_readme_links_and_commands():
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / link).exists(), link
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [command.split()[-1] for command in commands] == ["moons", "pytest"]


PUBLIC = [getattr(nvpflow, name) for name in nvpflow.__all__]


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_everything_public_is_documented(thing):
    assert len(inspect.getdoc(thing) or "") > 20
    for name, member in inspect.getmembers(thing):
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert inspect.getdoc(member), f"{thing.__name__}.{name}"
