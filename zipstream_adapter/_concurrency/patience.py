"""How long a consumer waits for more data, and the marker of a source that has none yet."""

from __future__ import annotations

# Seconds after which the data available so far is passed on, however little it is.
PATIENCE = 0.1


class NothingYet:
    """Marker for a chunk or an entry that has not arrived for `PATIENCE` seconds. Yielded once before it arrives."""


NOTHING_YET = NothingYet()
