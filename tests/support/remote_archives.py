"""Archives to be read by ranges, and a function that fetches those and keeps count."""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

MIB = 1 << 20


@cache
def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no method makes smaller."""
    return random.Random(seed).randbytes(size)


@cache
def archive_of(
    sizes: Sequence[int], method: int = zipfile.ZIP_STORED, comment: bytes = b"", extra: bytes = b""
) -> bytes:
    """An archive by the standard library, of members of `sizes` bytes, named by their numbers."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for number, size in enumerate(sizes):
            info = zipfile.ZipInfo(f"{number}.bin", (2026, 1, 2, 3, 4, 6))
            info.compress_type, info.extra = method, extra
            data = noise(size, number) if method == zipfile.ZIP_STORED else b"line %d\n" % number * (size // 8 + 1)
            archive.writestr(info, data)
        archive.comment = comment
    return made.getvalue()


def members_of(data: bytes) -> dict[str, bytes]:
    """As the standard library reads them from memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@dataclass
class Fetch:
    """`fetch(start, stop)` over bytes in memory.

    Attributes:
        asked: every range.
        most: bytes that it gives at a time.
        pause: seconds that each takes.
        together: calls that wait for each other, until as many were under way at a time.
        held_after: the number of calls after which all wait for `go`.
    """

    data: bytes
    most: int | None = None
    pause: float = 0.0
    asked: list[tuple[int, int]] = field(default_factory=list)
    together: int = 0
    held_after: int | None = None
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    met: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, start: int, stop: int) -> bytes:
        with self.lock:
            self.asked.append((start, stop))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.most_at_once >= self.together:
                self.met.set()
            is_held = self.held_after is not None and len(self.asked) > self.held_after
        assert self.met.wait(60), f"fewer than {self.together} calls were under way at a time"
        assert not is_held or self.go.wait(60)
        time.sleep(self.pause)
        with self.lock:
            self.at_once -= 1
        return self.data[start : stop if self.most is None else min(stop, start + self.most)]

    def meet(self, together: int) -> None:
        """Let the calls from now on wait until `together` are under way at a time."""
        self.met.clear()
        self.together, self.most_at_once = together, 0

    @property
    def bytes(self) -> int:
        return sum(stop - start for start, stop in self.asked)

    def forget(self) -> None:
        self.asked.clear()
