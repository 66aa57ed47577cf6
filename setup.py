"""Builds the extension `nvpflow._core`: the C library and its binding. Everything else is in pyproject.toml."""

import os
import sys
from glob import glob

import numpy
from setuptools import Extension, setup

if sys.platform == "win32":
    # MSVC has C11's atomics from Visual Studio 2022 17.5 on, behind a switch of their own. It has no vector extension:
    # its kernels work on one sample after the other.
    compile_args, link_args = ["/std:c11", "/experimental:c11atomics", "/O2"], []
else:
    # Contracting a * b + c is what makes multiply-adds; sqrt sets no errno that anybody reads; and only the
    # module's init function needs to be seen from outside.
    compile_args = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-g0", "-pthread"]
    link_args = ["-pthread"]

setup(
    ext_modules=[
        Extension(
            "nvpflow._core",
            sources=sorted(glob("csrc/*.c") + glob("csrc/python/*.c")),
            depends=sorted(glob("csrc/**/*.h", recursive=True) + glob("csrc/engine/*.inc")),
            include_dirs=["csrc", numpy.get_include()],
            extra_compile_args=compile_args + os.environ.get("NVPFLOW_CFLAGS", "").split(),
            extra_link_args=link_args + os.environ.get("NVPFLOW_LDFLAGS", "").split(),
        )
    ]
)
