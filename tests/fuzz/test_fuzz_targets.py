"""The fuzz targets in Python: inputs that once led to faults, some random ones, and what a run says of a fault."""

import itertools
import sys
import tempfile
from types import SimpleNamespace

import pytest

import python_targets
import run

pytestmark = pytest.mark.filterwarnings("ignore")  # of models that nobody would fit


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("place")))
        yield


@pytest.mark.parametrize(("name", "n"), [("files", 300), ("tables", 1000), ("arguments", 300)])
def test_inputs(name, n):
    seen = [python_targets.check(name, example) for _, example in itertools.islice(python_targets.inputs(name, 1, 0), n)]
    assert 0.03 * n < sum(seen) < 0.6 * n  # accepted: neither all nor none


def test_same_inputs():
    twice = [[example for _, example in itertools.islice(python_targets.inputs("files", 3, 50), 20)] for _ in range(2)]
    assert twice[0] == twice[1]


def test_fault(monkeypatch, tmp_path, capsys):
    """The input is kept, and is repeated from its file."""
    check = python_targets.check

    def fails(name, example):
        assert not example["missing"]
        return check(name, example)

    monkeypatch.setattr(python_targets, "check", fails)
    monkeypatch.setattr(python_targets, "MOST_MEMORY", sys.maxsize)  # other tests of this process may have taken much
    options = SimpleNamespace(seconds=60, seed=5, first=0, faults=tmp_path / "faults")
    is_well, said = run.fuzz("tables", options, {})
    (path,) = options.faults.iterdir()
    assert not is_well and "assert not example" in said and said.endswith(f"run.py --replay {path} tables")
    with pytest.raises(AssertionError):
        run.replay("tables", path, {})
    monkeypatch.setattr(python_targets, "check", check)
    assert run.replay("tables", path, {}) == 0 and capsys.readouterr().out == "tables: no fault\n"


@pytest.mark.skipif(not hasattr(python_targets.signal, "SIGALRM"), reason="needs alarms")
def test_input_that_takes_long(monkeypatch):
    monkeypatch.setattr(python_targets, "MOST_SECONDS", 1)
    with pytest.raises(python_targets.TooSlow), python_targets.limited_time():
        while True:
            pass
