"""The imports of the package: no cycles, any order, and NumPy as the only dependency."""

import ast
import graphlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nvpflow

FOLDER = Path(nvpflow.__file__).parent
MODULES = {module.name: module for module in pkgutil.walk_packages([str(FOLDER)], "nvpflow.")}


def source(name):
    path = FOLDER.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(tree):
    """The modules of the package that a syntax tree imports, also inside of functions, but for those that only a type checker
    sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("nvpflow"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nvpflow"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module
        else:
            yield from imported(node)


def imports():
    """{module: the modules that it imports}, the package itself among them."""
    names = ["nvpflow", *(name for name in MODULES if source(name).exists())]
    paths = {name: FOLDER / "__init__.py" if name == "nvpflow" else source(name) for name in names}
    return {name: set(imported(ast.parse(paths[name].read_text()))) - {name} for name in names}


def test_no_import_cycles():
    graph = imports()
    assert {"nvpflow.flow", "nvpflow._core"} <= graph["nvpflow"]  # it finds what is there
    assert "nvpflow._io.save" in graph["nvpflow.flow"]  # inside of a function
    tuple(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the cycle


# Each module is the first that is imported, with nothing of the package but its folder and the extension there.
ALONE = """
import importlib, sys, types
import nvpflow
folder, core = nvpflow.__path__, sys.modules["nvpflow._core"]
for name in sys.argv[1:]:
    for other in [other for other in sys.modules if other.partition(".")[0] == "nvpflow"]:
        del sys.modules[other]
    package = sys.modules["nvpflow"] = types.ModuleType("nvpflow")
    package.__path__, package._core, package.__version__ = folder, core, "0"
    sys.modules["nvpflow._core"] = core
    try:
        importlib.import_module(name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and not error.name.startswith("nvpflow")
        if not (missing and name.startswith("nvpflow.integrations.")):
            sys.exit(f"{name}: {error!r}")
"""


def test_each_module_can_be_imported_first():
    pytest.importorskip("matplotlib")
    names = [name for name in imports() if name not in ("nvpflow", "nvpflow.__main__")]
    done = subprocess.run([sys.executable, "-c", ALONE, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", [name for name in imports() if re.fullmatch(r"nvpflow\.integrations\.[a-z]\w+", name)])
def test_integrations_name_missing_clients(module):
    """A finder that knows no other package stands for an environment without clients."""
    extra = module.rpartition(".")[2]
    program = f"""
import sys, nvpflow, nvpflow.integrations
sys.meta_path.insert(0, type("Nothing", (), {{"find_spec": lambda name, *rest: absent(name)}}))
def absent(name):
    if name.partition(".")[0] not in (*sys.stdlib_module_names, "nvpflow", "numpy"):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import {module}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert re.search(rf"{module} needs \w+, which is not installed: pip install nvpflow\[{extra}\]", done.stderr)


def test_import_loads_only_numpy():
    code = "import sys; before = set(sys.modules); import nvpflow; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"numpy", "nvpflow"} <= roots
    assert roots <= {"numpy", "nvpflow", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "lazy",
    ["json", "zipfile", "argparse", "html", "csv", "numpy.random", "nvpflow.cli", "nvpflow.monte_carlo", "nvpflow.plot"],
)
def test_lazy_imports(lazy):
    code = f"import sys, numpy; known = {lazy!r} in sys.modules; import nvpflow; print(known or {lazy!r} not in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", ["cli", "datasets", "monte_carlo", "plot", "progress", "scale"])
def test_modules_imported_on_first_use(name):
    if name == "plot":
        pytest.importorskip("matplotlib")
    program = (
        f"import sys, nvpflow; assert 'nvpflow.{name}' not in sys.modules or '{name}' == 'progress'; print(nvpflow.{name})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and f"nvpflow.{name}" in done.stdout, done.stderr
    with pytest.raises(AttributeError, match="module 'nvpflow' has no attribute 'clip'"):
        nvpflow.clip  # noqa: B018
