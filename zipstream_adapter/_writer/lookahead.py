"""The lookahead: how many bytes of a member are held back so that its local file header can be complete."""

from __future__ import annotations

from .._checks import check_count

DEFAULT_LOOKAHEAD = 65536
# In place of a number of bytes: every member has a data descriptor, also an empty one.
ALWAYS_DESCRIPTOR = -1
# A member's header is held back for at most this many bytes of input per byte of `lookahead`.
INPUT_PER_LOOKAHEAD = 16


def check_lookahead(lookahead: int) -> int:
    """Return `lookahead` as an int; raises OptionError if it is not a number of bytes."""
    return check_count("lookahead", lookahead, what="a number of bytes")


def needs_descriptor(lookahead: int, size: int, compressed: int) -> bool:
    """Return whether a member is too long for the lookahead, so that it needs a data descriptor.

    A member without data does only under `ALWAYS_DESCRIPTOR`: some readers reject an empty member with a descriptor.
    Only totals count, so that the output does not depend on how the data was cut.
    """
    if lookahead == ALWAYS_DESCRIPTOR:
        return True
    return size > 0 and (compressed > lookahead or size > lookahead * INPUT_PER_LOOKAHEAD)
