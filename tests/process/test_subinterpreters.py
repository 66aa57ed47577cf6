"""An interpreter beside the main one refuses the extension with an error, and does not crash."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
import nvpflow
before = nvpflow.Flow([nvpflow.ActNorm(2)]).log_prob([[1.0, 2.0]])
code = '''
try:
    import importlib.util, sys
    spec = importlib.util.spec_from_file_location("nvpflow._core", PATH)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
except ImportError as error:
    assert "does not support loading in subinterpreters" in str(error), error
else:
    raise AssertionError("the extension was imported")
'''.replace("PATH", repr(nvpflow._core.__file__))
which = interpreters.create()
failure = interpreters.run_string(which, code)
assert failure is None, failure
interpreters.destroy(which)
assert nvpflow.Flow([nvpflow.ActNorm(2)]).log_prob([[1.0, 2.0]]) == before
print("refused")
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python asks extensions from 3.12 on")
def test_subinterpreter_refuses_the_extension():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "refused\n"), run.stderr
