"""Streams whose small members are written whole, and streams of which each member is streamed: all that can be seen."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.strategies import noise, words
from zipstream_adapter import Entry
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._stream.sync import stream_with

LONG_WAY: dict[str, Any] = {"batch_limit": 0}
DATE = 1_700_000_001
DATA = {"noise": noise(1, BLOCK + 1), "text": words(2, BLOCK + 1), "zeros": bytes(BLOCK + 1)}
# Deflate makes it smaller by about a twentieth: "auto" goes either way.
DATA["between"] = b"".join(DATA["noise"][at : at + 940] + bytes(60) for at in range(0, BLOCK + 1, 1000))[: BLOCK + 1]


class Outcome(NamedTuple):
    """What came of a stream: its chunks, and all that it said."""

    chunks: list[bytes]
    error: tuple[Any, ...] | None
    heard: list[tuple[Any, ...]]
    skipped: list[tuple[Any, ...]]
    listed: list[tuple[Any, ...]]

    @property
    def archive(self) -> bytes:
        return b"".join(self.chunks)


def said(entry: Any, exc: Exception) -> tuple[Any, ...]:
    name = entry.name if isinstance(entry, Entry) else type(entry)
    return name, type(exc), str(exc), getattr(exc, "__notes__", []), type(exc.__cause__)


def fields(infos: list[zipfile.ZipInfo]) -> list[tuple[Any, ...]]:
    """All that a central directory says of members."""
    return [
        (
            info.filename, info.date_time, info.compress_type, info.comment, info.extra, info.create_system,
            info.create_version, info.extract_version, info.flag_bits, info.internal_attr, info.external_attr,
            info.header_offset, info.CRC, info.compress_size, info.file_size,
        )
        for info in infos
    ]  # fmt: skip


def outcome(items: Any, *, replacement: Any = None, forgive: bool = False, **options: Any) -> Outcome:
    """A stream of `items`; what fails is left out with `forgive`, or `replacement()` takes its place."""
    heard: list[tuple[Any, ...]] = []
    chunks: list[bytes] = []
    error = None

    def on_error(entry: Any, exc: Exception) -> Any:
        heard.append(said(entry, exc))
        return replacement() if replacement is not None and len(heard) == 1 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(DATE))
        stream = stream_with(items, on_error=on_error if forgive else None, **options)
        try:
            chunks.extend(stream)
        except Exception as exc:
            error = said(None, exc)
    listed = fields(stream.infolist()) if error is None else []
    return Outcome(chunks, error, heard, [said(*skipped) for skipped in stream.skipped], listed)


def assert_same(make: Callable[[], list[Any]], **options: Any) -> Outcome:
    """Both ways give the same, of entries that `make` makes afresh; returns what the short one gives."""
    short, long = outcome(make(), **options), outcome(make(), **options, **LONG_WAY)
    assert short[1:] == long[1:]
    if short.error is None:
        assert short.archive == long.archive
        with zipfile.ZipFile(io.BytesIO(short.archive)) as reader:
            assert fields(reader.infolist()) == short.listed
    else:  # what has been read ahead when it fails may stay behind
        assert long.archive.startswith(short.archive) or short.archive.startswith(long.archive)
    return short


class Odd(os.PathLike[Any]):
    """A path object that gives, or raises, `what`."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __fspath__(self) -> Any:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what
