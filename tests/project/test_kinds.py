"""The lists of layer kinds, bases and activations agree: the C header, the tables, the kernels, Python's classes, the docs."""

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

import nvpflow
from nvpflow import _core, _typing
from nvpflow._io.encoding import DTYPES, ENCODERS, allowed, describe
from nvpflow.bases import BASE_TYPES
from nvpflow.layers import ACTIVATIONS, LAYER_TYPES
from nvpflow.layers._affine_coupling import SCALES
from support.flows import make_model, one_of_each

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "csrc" / "engine"
every_kind = pytest.mark.parametrize("kind", _core.LAYER_KINDS)
every_base = pytest.mark.parametrize("kind", _core.BASE_KINDS)
KERNELS = ("plan", "initialize", "apply", "vjp")
BASE_KERNELS = ("plan", "initialize", "log_prob", "vjp", "sample")


def names_of(enumeration, prefix="NVP_"):
    """The names of an enumeration of nvpflow.h, but for the last one, which counts them, as Python writes them."""
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "csrc" / "nvpflow.h").read_text(), flags=re.DOTALL)
    (body,) = re.findall(rf"typedef enum {{([^}}]*)}} {enumeration};", header)
    names = re.findall(r"\w+", body)
    return [name.removeprefix(prefix).lower() for name in names if not name.startswith("NVP_N_")]


def kernels_of(kind, table):
    """The functions that stand for a kind in a table of the engine."""
    (functions,) = re.findall(rf"\[NVP_{kind.upper()}\] = {{([^}}]*)}}", (ENGINE / table).read_text())
    return re.findall(r"\w+", functions)


def test_the_tables_have_the_names_of_the_header_in_its_order():
    assert names_of("nvp_layer_type") == list(_core.LAYER_KINDS)
    assert names_of("nvp_base_kind") == list(_core.BASE_KINDS)
    assert names_of("nvp_activation") == list(ACTIVATIONS)
    assert names_of("nvp_scale", "NVP_SCALE_") == list(SCALES)
    assert names_of("nvp_dtype") == list(DTYPES)


def test_every_kind_has_a_class():
    assert LAYER_TYPES.keys() == _core.LAYER_KINDS.keys()
    assert {"standard_normal", *BASE_TYPES} == _core.BASE_KINDS.keys()
    for layer_type in (*LAYER_TYPES.values(), *BASE_TYPES.values()):
        assert getattr(nvpflow, layer_type.__name__) is layer_type and layer_type.__name__ in nvpflow.__all__


@every_kind
def test_fields_are_arguments_of_the_class_that_can_be_encoded(kind):
    layer_type, fields = LAYER_TYPES[kind], _core.LAYER_KINDS[kind]
    assert {name for name, *_ in fields} <= set(layer_type._arguments)
    assert {form for _, form, _ in fields} <= ENCODERS.keys()
    assert {*layer_type._arguments, "data_dim", "dtype"} <= inspect.signature(layer_type).parameters.keys()


@every_kind
def test_kernels(kind):
    """One for each task, and the file that has them."""
    *kernels, mark_decaying = kernels_of(kind, "layer_table.inc")
    assert [name.rpartition("_")[2] for name in kernels] == list(KERNELS) and mark_decaying.endswith(("NULL", "mark_decaying"))
    assert f'#include "{kind}.inc"' in (ENGINE / "layer_table.inc").read_text() and (ENGINE / f"{kind}.inc").exists()


@every_base
def test_kernels_of_a_base(kind):
    assert kernels_of(kind, "base_table.inc") == [f"{kind}_{task}" for task in BASE_KERNELS]
    assert f'#include "{kind}.inc"' in (ENGINE / "base_table.inc").read_text() and (ENGINE / f"{kind}.inc").exists()


@pytest.mark.parametrize("page", ["mathematics.md", "api.md"])
def test_every_kind_has_a_place_in_the_docs(page):
    text = (ROOT / "docs" / page).read_text()
    for layer_type in (*LAYER_TYPES.values(), *BASE_TYPES.values()):
        assert re.search(rf"\b{layer_type.__name__}\b", text), layer_type


def test_every_kind_is_among_the_layers_of_the_tests():
    assert {layer._kind for layer in make_model().layers} == _core.LAYER_KINDS.keys()
    assert {layer._kind for layer in one_of_each(3).values()} | {"act_norm"} == _core.LAYER_KINDS.keys()


def test_names_of_choices_in_signatures_and_docstrings():
    assert get_args(_typing.Activation) == ACTIVATIONS and get_args(_typing.Scale) == SCALES
    for kind, fields in _core.LAYER_KINDS.items():
        assert "activation" not in {name for name, *_ in fields} or allowed(kind, "activation") == ACTIVATIONS
    choices = ", ".join(f'"{name}"' for name in ACTIVATIONS)
    for documented in (nvpflow.AffineCoupling, nvpflow.FlowDensity):
        assert f"activation : {{{choices}}}" in inspect.getdoc(documented)


def test_every_activation_has_a_case_in_the_engine():
    """The compiler warns of a missing one, too: the switch has no default."""
    cases = re.findall(r"case NVP_(\w+):", (ENGINE / "activation.inc").read_text())
    assert [name.lower() for name in cases] == [*ACTIVATIONS, "n_activations"]
    assert "default:" not in (ENGINE / "activation.inc").read_text()


@pytest.mark.parametrize("kind", [kind for kind, base in BASE_TYPES.items() if issubclass(base, nvpflow.MixtureBase)])
def test_a_base_to_come_is_encoded_with_its_kind(kind, monkeypatch):
    """In the third version of the numbers, in which the core reads today's bases as well."""
    flow = make_model(2, n_components=2, conditional=kind == "conditional_mixture")
    version, fields = _core.BASE_KINDS[kind]
    own = describe(flow.config())
    before = [version, *own[1:4], *own[4 + (version == 3) :]]
    monkeypatch.setitem(_core.BASE_KINDS, kind, (3, fields))
    after = describe(flow.config())
    assert list(after) == [3, *before[1:4], list(_core.BASE_KINDS).index(kind), *before[4:]]
    assert own[0] == version and _core.count_parameters(after) == _core.count_parameters(own) == flow.n_parameters
