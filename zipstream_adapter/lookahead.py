"""The lookahead: how long a member's header waits for the member's end, so that it can be complete."""

from __future__ import annotations

from .counts import is_count
from .errors import OptionError

DEFAULT_LOOKAHEAD = 65536
# A header that waits for compressed output waits for no more than this many times as much input.
INPUT_PER_LOOKAHEAD = 16


def check_lookahead(lookahead: int) -> int:
    """Refuse a lookahead that is no number of bytes."""
    if not is_count(lookahead):
        raise OptionError(f"lookahead={lookahead!r}: give a number of bytes, 0 or more")
    return lookahead


def outlasts(lookahead: int, size: int, compressed: int) -> bool:
    """Whether a member's header cannot wait for its end. What has no data waits, always.

    (Some readers refuse an empty member with a descriptor.) On totals: how the data was cut must not show.
    """
    return size > 0 and (compressed > lookahead or size > lookahead * INPUT_PER_LOOKAHEAD)
