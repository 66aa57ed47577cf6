"""Flows inside other packages: one module for each, which alone imports it. None is needed by the rest of nvpflow."""
