"""The notebooks run in a clean kernel and are stored with their outputs."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
FRAMEWORKS = ("torch", "jax")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:tmp|home|root|Users|private|var|work)/")


def run(notebook, directory):
    """Execute in a new kernel of the Python that runs the tests, which is what "python3" means to its Jupyter."""
    resources = {"metadata": {"path": str(directory)}}
    return nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300, resources=resources).execute()


def texts(cell):
    """All that a stored code cell shows as text."""
    for output in cell.get("outputs", ()):
        yield output.get("text", "")
        yield output.get("data", {}).get("text/plain", "")


@every_notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_runs(path, tmp_path):
    if path.name == "embedding.ipynb" and not any(map(importlib.util.find_spec, FRAMEWORKS)):
        pytest.skip("needs PyTorch or JAX")
    if path.name == "mcmc.ipynb":
        pytest.importorskip("emcee")
    notebook = run(nbformat.read(path, as_version=4), tmp_path)
    figures = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert figures


@every_notebook
def test_stored_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    assert path.stat().st_size < 1_500_000
    for cell in cells:
        for text in (cell.source, *texts(cell)):
            assert not MACHINE_PATH.search(text), text
            assert "Warning" not in text, text


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_embedding_without_frameworks(monkeypatch, capsys):
    """Its cells run and name the missing packages."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in FRAMEWORKS else found(name))
    (path,) = (path for path in NOTEBOOKS if path.name == "embedding.ipynb")
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    exec("\n".join(cells), {})
    said = capsys.readouterr().out.split("\n")
    assert said.count("PyTorch is not installed") + said.count("JAX is not installed") == len(cells) - 1
