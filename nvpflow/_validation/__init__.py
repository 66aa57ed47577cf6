"""Checks of arguments: arrays, and everything else."""
