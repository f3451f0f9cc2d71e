"""Files that grow while they are read, such as logs: cut them at the size they had when opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

GrownPolicy = Literal["error", "cut"]
GROWN_POLICIES = ("error", "cut")


class Cut:
    """A read function for an open file: reads up to the `size` the file had when opened, then returns b"".

    Attributes:
        has_grown: whether the file was larger when this end was reached.
    """

    def __init__(self, read: Callable[[int], Any], descriptor: int, size: int) -> None:
        self._read = read
        self._descriptor = descriptor
        self._size = self._left = size
        self.has_grown = False

    def __call__(self, most: int) -> Any:
        data = self._read(min(most, self._left))
        self._left -= len(data)
        if not data:
            self.has_grown = not self._left and os.fstat(self._descriptor).st_size > self._size
        return data
