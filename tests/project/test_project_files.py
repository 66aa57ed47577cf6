"""The project's files agree: links, paths, versions; and test files stay short."""

import re
from pathlib import Path

import pytest

import nvpflow

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")
FOLDERS = "benchmarks|csrc|docs|examples|nvpflow|tests"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths(page):
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./]*)`", text):
        assert path.startswith("docs/_build") or (ROOT / path).exists(), path


def test_citation_version():
    (version,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert version == nvpflow.__version__


@pytest.mark.parametrize("file", [".ci/run", ".github/workflows/ci.yml"])
def test_ci_runs_documented_lint(file):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    commands = re.search(r"## Lint.*?```sh\n(ruff .*?\nmypy)\n", page, re.DOTALL)[1].splitlines()
    run = re.findall(r"^(?: *- run: )?(ruff .*|mypy)$", (ROOT / file).read_text(), re.MULTILINE)
    assert run == commands == ["ruff check .", "ruff format --check .", "mypy"]


def test_changelog_begins_with_unreleased():
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == "Unreleased"


def test_length_of_test_files():
    files = [path for path in (ROOT / "tests").rglob("*") if path.suffix in (".py", ".c", ".h")]
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    assert len(lengths) > 80
    assert {str(path): length for path, length in lengths.items() if length >= 500} == {}


def test_no_conflict_markers():
    """Git's words for two sides of a merge, which are valid in Markdown."""
    files = [path for suffix in ("md", "toml", "yml", "yaml", "cff") for path in ROOT.glob(f"*.{suffix}")]
    files += [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    assert len(files) > 20
    marked = [path for path in files if re.search(r"^(<{7}|>{7}) ", path.read_text(), re.MULTILINE)]
    assert marked == []
