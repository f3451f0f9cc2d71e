"""What a producer says to whoever runs it: its steps, and the requests among them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

# What a producer yields: the archive's bytes, and, where it is asynchronous, requests.
Steps = Generator[Any, Any, None]


class Offload:
    """A request: what follows is more work than going to another thread, or may block.

    Attributes:
        is_work: whether it is work, and nothing to wait for.
        closing: whether it has to be done, whatever else happens.
    """

    def __init__(self, *, is_work: bool = False, closing: bool = False) -> None:
        self.is_work = is_work
        self.closing = closing


OFFLOAD, OFFLOAD_WORK, OFFLOAD_CLOSING = Offload(), Offload(is_work=True), Offload(closing=True)
# Bytes of stored data that are less work than going to another thread, and so may be done where the event loop runs;
# of data that is compressed, a 64th of them.
SMALL_EFFORT = 1 << 16


class Abandoned(BaseException):
    """Thrown into a producer whose consumer has gone (as GeneratorExit, under which nothing could be requested)."""
