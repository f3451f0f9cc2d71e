"""A layout in memory: the bytes of a real archive, any range of them, and a ledger of what was opened and closed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from zipstream_adapter import Entry, stream_zip

CHANGED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHANGED_FIELD = "Fri, 02 Jan 2026 03:04:05 GMT"


@cache
def archive(members: int = 3, size: int = 1000) -> bytes:
    """A small archive."""
    entries = (
        Entry(f"{number}.bin", random.Random(number).randbytes(size), modified=CHANGED) for number in range(members)
    )
    return b"".join(stream_zip(entries))


@dataclass
class BytesLayout:
    """What `zipstream_adapter.web` needs of a layout, over bytes that are there."""

    data: bytes
    etag: str | None = "tag"
    last_modified: datetime | None = CHANGED
    chunk: int = 257
    fails_at: int | None = None  # the byte before which it fails
    opened: list[tuple[int, int | None]] = field(default_factory=list)
    closed: int = 0
    promised: int | None = None  # a size other than that of the data

    @property
    def size(self) -> int:
        return len(self.data) if self.promised is None else self.promised

    def iter_range(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        self.opened.append((start, stop))
        try:
            end = len(self.data) if stop is None else min(stop, len(self.data))
            while start < end:
                if self.fails_at is not None and start + self.chunk > self.fails_at:
                    raise OSError("the disk broke")
                yield self.data[start : min(start + self.chunk, end)]
                start += self.chunk
        finally:
            self.closed += 1

    async def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        chunks = self.iter_range(start, stop)
        try:
            for chunk in chunks:
                yield chunk
        finally:
            chunks.close()  # type: ignore[attr-defined]
