"""Build the extension `nvpflow._core`: the C library and its binding. pyproject.toml has everything else."""

import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class ParallelBuild(build_ext):
    """Compile as many sources at a time as there are processors: the kernels of each instruction set take half a minute.

    Only the kernels of float32 have -O3. With -O2 all else is 106 kB smaller; kernels of float64 take 4 % longer, and default
    fits as long. What is no kernel is 4 kB smaller without gaps between functions.
    """

    def build_extensions(self):
        if self.compiler.compiler_type == "unix":  # that of MSVC starts on its first call
            compile_all = self.compiler.compile

            def compile_one(source, extra_postargs, **options):
                if "engine_f32" not in source:
                    extra_postargs = ["-O2" if option == "-O3" else option for option in extra_postargs]
                if "engine" not in source:
                    extra_postargs = [*extra_postargs, "-fno-align-functions", "-fno-align-loops"]
                return compile_all([source], extra_postargs=extra_postargs, **options)

            def compile_side_by_side(sources, **options):
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    objects = list(pool.map(lambda source: compile_one(source, **options), sources))
                return [path for of_one in objects for path in of_one]

            self.compiler.compile = compile_side_by_side
        super().build_extensions()


if sys.platform == "win32":
    # MSVC supports C11 atomics since Visual Studio 2022 17.5, with a switch. It has no vector extension, so its kernels
    # process one sample at a time.
    compile_args, link_args = ["/std:c11", "/experimental:c11atomics", "/O2"], []
else:
    # Contraction turns a * b + c into multiply-adds. Nothing reads the errno of sqrt. Only the module's init function needs
    # to be visible.
    compile_args = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-g0", "-pthread"]
    link_args = ["-pthread"]
    if sys.platform == "linux" and "NVPFLOW_LDFLAGS" not in os.environ:
        # Without the names of functions and the tables of their frames, which debuggers and sanitizers read, and without
        # what of the C library Python never calls, and without gaps between the segments.
        link_args += ["-Wl,-s", "-Wl,--gc-sections", "-Wl,-z,noseparate-code"]
        compile_args += ["-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections"]

# Python's headers for Windows serve builds with and without the GIL, and do not know which one this is.
without_gil = [("Py_GIL_DISABLED", "1")] if sys.platform == "win32" and sysconfig.get_config_var("Py_GIL_DISABLED") else []

setup(
    cmdclass={"build_ext": ParallelBuild},
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
    ],
)
