"""`python benchmarks/quality`: see cli.py."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[0] = str(Path(__file__).resolve().parents[1])

from quality.cli import main  # noqa: E402  the path and the number of threads come first

main()
