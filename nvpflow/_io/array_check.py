"""What both kinds of containers check before they read an array."""

__all__ = ["check_array"]


def check_array(name, found, expected):
    if found != expected:
        raise ValueError(f"{name} must have dtype {expected[0]} and shape {expected[1]}, got {found[0]} and {found[1]}")
