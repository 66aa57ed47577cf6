"""Warnings that point at the line of the caller's program, however deep in the package they arise."""

import os
import sys
import warnings

__all__ = ["warn_caller"]

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn_caller(message, category=UserWarning):
    """As `warnings.warn`, at the first frame outside of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and os.path.abspath(frame.f_code.co_filename).startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
