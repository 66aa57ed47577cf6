"""The error of a module whose client is not installed."""

from __future__ import annotations

__all__ = ["not_installed"]


def not_installed(extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """An error that names the missing package and the extra that installs it."""
    return ModuleNotFoundError(
        f"nvpflow.integrations.{extra} needs {error.name}, which is not installed: pip install nvpflow[{extra}]",
        name=error.name,
    )
