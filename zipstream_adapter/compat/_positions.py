"""Files of programs written for other libraries, which read a file from its position, also if that is its end."""

from __future__ import annotations

from typing import Any

from .._buffers import close_of
from .._entries.foreign.readers import position_of


def as_it_stands(source: Any) -> Any:
    """Return `source`. A file that has been read or written is wrapped, as a stream refuses one that has no data left.

    Call it when the member's turn has come.
    """
    is_asynchronous = hasattr(type(source), "__aiter__")
    return source if is_asynchronous or not position_of(source) else _Standing(source)


class _Standing:
    """What is read of a file, without its position."""

    def __init__(self, file: Any) -> None:
        self.read = file.read
        if (close := close_of(file)) is not None:
            self.close = close
