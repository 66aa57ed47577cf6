"""Checks of arguments: arrays and other values."""
