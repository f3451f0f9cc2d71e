"""open_remote over any function that fetches ranges: what it may do, what it may not, and an archive of any size."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import pytest

from tests.support.remote_archives import MIB, Fetch, archive_of, noise
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.errors import OptionError, RemoteError
from zipstream_adapter.remote import open_remote


@pytest.mark.parametrize("most", [1000, 65_537])
def test_fewer_bytes_than_asked_for_are_asked_for_again(most: int) -> None:
    data = archive_of((300_000,))
    fetch = Fetch(data, most=most)
    with open_remote(fetch, size=len(data)) as archive:
        assert archive.read("0.bin") == noise(300_000)


def test_bytes_that_never_come_end_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    data = archive_of((300_000,))
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append(start)
        return data[start : min(stop, len(data) - 100)]

    with pytest.raises(RemoteError, match=r"the body ended at byte \d+, before byte \d+"):
        open_remote(fetch, size=len(data))
    assert len(asked) < 10


def test_more_bytes_than_asked_for_and_other_than_bytes_are_refused() -> None:
    data = archive_of((10,))
    with pytest.raises(RemoteError, match="more bytes"):
        open_remote(lambda start, stop: data + data, size=len(data))
    with pytest.raises(OptionError, match="return bytes"):
        open_remote(lambda start, stop: "text", size=len(data))  # type: ignore[arg-type, return-value]


def test_what_fetch_raises_passes_through() -> None:
    def fetch(start: int, stop: int) -> bytes:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        open_remote(fetch, size=1000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0}, "window=0"),
        ({"window": True}, "window=True"),
        ({"part_size": 10}, "part_size=10"),
        ({"suffix_size": 100}, "suffix_size=100"),
        ({"size": None}, "size=None"),
        ({"size": -1}, "size=-1"),
        ({"store": object()}, "store="),
        ({"region": "here"}, "options"),
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        open_remote(Fetch(b"x"), **{"size": 1, **options})


class Pattern(io.RawIOBase):
    """A file of any size, whose bytes say where they are."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def read(self, size: int | None = -1) -> bytes:
        left = self.size - self.at
        wanted = left if size is None or size < 0 else min(size, left)
        first, skipped = divmod(self.at, 8)
        words = struct.pack(f"<{wanted // 8 + 2}Q", *range(first, first + wanted // 8 + 2))
        self.at += wanted
        return words[skipped : skipped + wanted]

    @classmethod
    def between(cls, start: int, stop: int) -> bytes:
        file = cls(stop)
        file.seek(start)
        return file.read()


def test_an_archive_over_4_gib() -> None:
    size = 5 * (1 << 30)
    entries = [
        Entry("small", b"in front"),
        Entry("large", lambda: Pattern(size), size=size, crc32=0),  # not read as a whole
        Entry("behind", noise(70_000), crc32=None),
    ]
    layout = ZipLayout(entries)
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return b"".join(layout.iter_range(start, min(stop, start + MIB)))

    with open_remote(fetch, size=layout.size, window=1) as archive:
        assert archive.getinfo("large").file_size == size
        assert archive.getinfo("behind").header_offset > size
        assert archive.read("behind") == noise(70_000)
        assert archive.read("small") == b"in front"
        with archive.open("large") as large:
            for place in (size - 1000, 1 << 32, 12345):
                large.seek(place)
                assert large.read(1000) == Pattern.between(place, place + 1000)
    assert len(asked) < 12
