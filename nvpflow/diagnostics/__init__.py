"""Is a fitted density right? Checks on held-out rows, as numbers and sentences."""
