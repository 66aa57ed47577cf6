"""The short form of tests/interruptions.py, in a process of its own, as it sets the handler of SIGINT."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "interruptions.py"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL and SIGINT")
def test_interruptions():
    run = subprocess.run([sys.executable, SCRIPT, "8"], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search("8 killed saves: . times the one file, . times the other, never a third", run.stdout)
    stopped = dict(re.findall(r"^(.+): 8 times Ctrl-C, (\d) of them", run.stdout, re.MULTILINE))
    calls = {"fit", "score_samples", "sample", "save"}
    expected = calls if find_spec("ipykernel") is None else calls | {f"{name} in a kernel" for name in calls}
    assert set(stopped) == expected and all(int(count) for count in stopped.values())
    assert "8 forks while another thread computed" in run.stdout
