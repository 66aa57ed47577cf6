"""The supports of columns: the values that a column can have."""

from nvpflow.supports._category import Category
from nvpflow.supports._kinds import Angle, AnyKind, Integer, Kind
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
    "AnyKind",
    "Category",
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
