"""Fixtures that several test files share."""

import pytest

import nvpflow


def available_isas():
    """The instruction sets that this machine and this build have kernels for."""
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
    """Runs a test once with the kernels of each instruction set."""
    monkeypatch.setenv("NVPFLOW_ISA", request.param)
    return request.param
