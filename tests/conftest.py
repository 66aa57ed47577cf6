"""Shared fixtures."""

import functools
import os

import pytest

import nvpflow
from support.c_programs import build_library, one_at_a_time

pytest.register_assert_rewrite("support.checks", "support.command_line", "support.saved_files", "support.saves")


def available_isas():
    """The instruction sets that this machine and this build support."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for isa in ("baseline", "neon", "avx2", "avx512"):
            patch.setenv("NVPFLOW_ISA", isa)
            try:
                name = nvpflow.ActNorm(1).isa
            except RuntimeError:
                continue
            if name not in found:
                found.append(name)
    return found


@pytest.fixture(params=available_isas())
def every_isa(request, monkeypatch):
    """Run a test once with the kernels of each instruction set."""
    monkeypatch.setenv("NVPFLOW_ISA", request.param)
    return request.param


@pytest.fixture(scope="session")
def library_variant(tmp_path_factory):
    """A function that builds the C library in a variant of support/c_programs.py, each once."""

    own = tmp_path_factory.getbasetemp()
    of_all_workers = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    @functools.cache
    def build(variant):
        directory = of_all_workers / f"library {variant}"
        directory.mkdir(exist_ok=True)
        with one_at_a_time(directory):
            return build_library(variant, directory)

    def get(variant):
        library, reason = build(variant)
        return library or pytest.skip(reason)

    return get
