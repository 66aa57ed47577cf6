"""Fixtures of the tests of the command line."""

import pytest


@pytest.fixture
def put(tmp_path):
    """Writes a text or bytes to a file, and gives its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
