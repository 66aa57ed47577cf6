"""Where the targets in Python put their files: in memory, if the system has a directory there."""

import functools
import os
import tempfile
from pathlib import Path

IN_MEMORY = "/dev/shm"


def temporary_directory():
    """A directory for a run. To open a file on a disk can take longer than to read it."""
    return tempfile.TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None)


@functools.cache
def folder():
    """A directory of this process, inside of that of the run, which removes it."""
    return Path(tempfile.mkdtemp())
