"""Counts that callers give: of bytes, of entries, of workers."""

from __future__ import annotations


def is_count(value: object, least: int = 0) -> bool:
    """Whether `value` is a whole number, and `least` or more. True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
