"""What tests of several clients share."""

import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def entry_points(tmp_path, monkeypatch):
    """The entry points of pyproject.toml, as an installation would have them."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    folder = tmp_path / "nvpflow_entry-0.dist-info"
    folder.mkdir()
    lines = [
        line
        for group, names in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in names.items()))
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    (folder / "METADATA").write_text("Name: nvpflow-entry\nVersion: 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(tmp_path) in sys.path
