"""The supports of columns: the values that a column can have."""

from nvpflow.supports._kinds import Angle, Integer, Kind
from nvpflow.supports._parameter import (
    Declared,
    Kinds,
    Support,
    check_support,
    plain_support,
    restore_kinds,
    restore_support,
)

__all__ = [
    "Angle",
    "Declared",
    "Integer",
    "Kind",
    "Kinds",
    "Support",
    "check_support",
    "plain_support",
    "restore_kinds",
    "restore_support",
]
