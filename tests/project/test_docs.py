"""The examples of README, docs and docstrings run; public names are documented."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import nvpflow

README = (Path(__file__).parents[2] / "README.md").read_text()
DOCS = Path(__file__).parents[2] / "docs"
MODULES = ["nvpflow", *(module.name for module in pkgutil.walk_packages(nvpflow.__path__, "nvpflow."))]

CLIENTS = [name for name in MODULES if re.fullmatch(r"nvpflow\.integrations\.[a-z]\w+", name)]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "nvpflow.__main__"])
def test_docstring_examples(name):
    if name.startswith("nvpflow.plot"):
        pytest.importorskip("matplotlib")
    if name.startswith("nvpflow.integrations.") or name in ("nvpflow.scale.dask", "nvpflow.scale._dask_fit"):
        pytest.importorskip(name, reason="needs its client", exc_type=ModuleNotFoundError)
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
    root = Path(__file__).parents[2]
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / link).exists(), link
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert [command.split()[-1] for command in commands] == ["moons", "pytest"]


PUBLIC = [getattr(nvpflow, name) for name in nvpflow.__all__]


# The sections that numpydoc (PR: parameters, RT: returns, YD: yields, EX: examples, GL: order of the sections) misses.
SECTIONS = {"GL06", "GL07", "SS01", "SS02", "PR01", "PR02", "PR03", "PR10", "RT01", "YD01"}
# The constructors of some have the signature of another class at run time; a message has no parameters to speak of;
# the page of an alias points to the other name; results are not made by users.
OTHERS = {
    "FlowOutlierDetector",
    "FlowDetector",
    "NessaiProposal",
    "FlowClassifier",
    "FlowRegressor",
    "RealNVP",
    "CouplingLayer",
    "NotFittedError",
    "AccuracyWarning",
    "ConvergenceWarning",
    "TableError",
    "ImportanceResult",
    "MetropolisResult",
}


def documented():
    """(path, codes of numpydoc's checks) of everything public."""
    clients = [name for name in CLIENTS if importlib.util.find_spec(name.rpartition(".")[2])]
    for module in (
        "nvpflow",
        "nvpflow.cli",
        "nvpflow.datasets",
        "nvpflow.monte_carlo",
        "nvpflow.plot",
        "nvpflow.progress",
        "nvpflow.cli.tables",
        *clients,
    ):
        with warnings.catch_warnings(action="ignore"):  # of clients
            public = importlib.import_module(module)
        for name in public.__all__:
            thing, path = getattr(public, name), f"{module}.{name}"
            if name not in OTHERS:
                yield path, SECTIONS | {"EX01"}
            if not inspect.isclass(thing):
                continue
            ours = {k for base in thing.__mro__ if base.__module__.startswith("nvpflow") for k in vars(base)}
            for member in sorted(ours):
                if not member.startswith("_") and callable(getattr(thing, member)):
                    yield f"{path}.{member}", SECTIONS


@pytest.mark.parametrize("path, codes", list(documented()), ids=lambda value: value if isinstance(value, str) else "")
def test_docstring_sections(path, codes):
    validate = pytest.importorskip("numpydoc.validate").validate
    assert not [error for error in validate(path)["errors"] if error[0] in codes]


# Pages with code cells are left to the build of the site, which runs them.
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("guide/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_site_examples(page, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    if not blocks:
        pytest.skip("a page without examples")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        if all(map(importlib.util.find_spec, re.findall(r"nvpflow\.integrations\.(\w+)", block))):
            with warnings.catch_warnings():
                if "nvpflow.integrations" in block:
                    warnings.simplefilter("ignore")  # of clients
                exec(block, names)


def test_site_builds(tmp_path):
    for name in ("sphinx", "numpydoc", "myst_nb", "sphinx_gallery", "furo"):
        pytest.importorskip(name)
    sources = shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "generated"))
    for name in ("csrc", "examples", "notebooks", "CHANGELOG.md"):
        (tmp_path / name).symlink_to(DOCS.parent / name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", sources, tmp_path / "site"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Every public name has a page, and the pages show what they document.
    for path, codes in documented():
        if "EX01" in codes and not path.startswith(("nvpflow.cli", "nvpflow.integrations")):
            assert "Examples" in (tmp_path / "site" / "generated" / f"{path}.html").read_text(), path
    assert "Kingma and Ba" in (tmp_path / "site" / "c_api.html").read_text()
    # Every example of the gallery has a picture.
    for example in (DOCS / "gallery").glob("*.py"):
        page = (tmp_path / "site" / "generated" / "gallery" / f"{example.stem}.html").read_text()
        assert f"sphx_glr_{example.stem}_001.png" in page, example.name


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_public_names_are_documented(thing):
    assert len(inspect.getdoc(thing) or "") > 20
    for name, member in inspect.getmembers(thing):
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert inspect.getdoc(member), f"{thing.__name__}.{name}"
