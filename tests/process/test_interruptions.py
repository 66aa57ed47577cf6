"""The short form of tests/interruptions.py."""

import sys

import pytest

from interruptions import check_interrupts, check_kills

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL and SIGINT")


def test_killed_saves():
    assert sum(check_kills(8)) == 8


def test_sigint_at_random_moments():
    for name, (stopped, longest) in check_interrupts(10).items():
        assert stopped and longest < 1, name
