"""Build the extension `nvpflow._core`: the C library and its binding. pyproject.toml has everything else."""

import os
import sys
import sysconfig
from glob import glob

import numpy
from setuptools import Extension, setup

if sys.platform == "win32":
    # MSVC supports C11 atomics since Visual Studio 2022 17.5, with a switch. It has no vector extension, so its kernels
    # process one sample at a time.
    compile_args, link_args = ["/std:c11", "/experimental:c11atomics", "/O2"], []
else:
    # Contraction turns a * b + c into multiply-adds. Nothing reads the errno of sqrt. Only the module's init function needs
    # to be visible.
    compile_args = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-g0", "-pthread"]
    link_args = ["-pthread"]

# Python's headers for Windows serve builds with and without the GIL, and do not know which one this is.
without_gil = [("Py_GIL_DISABLED", "1")] if sys.platform == "win32" and sysconfig.get_config_var("Py_GIL_DISABLED") else []

setup(
    ext_modules=[
        Extension(
            "nvpflow._core",
            sources=sorted(glob("csrc/*.c") + glob("csrc/python/*.c")),
            depends=sorted(glob("csrc/**/*.h", recursive=True) + glob("csrc/engine/*.inc")),
            include_dirs=["csrc", numpy.get_include()],
            define_macros=without_gil,
            extra_compile_args=compile_args + os.environ.get("NVPFLOW_CFLAGS", "").split(),
            extra_link_args=link_args + os.environ.get("NVPFLOW_LDFLAGS", "").split(),
        )
    ]
)
