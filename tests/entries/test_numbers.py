"""Numbers are whatever `operator.index` takes, such as numpy's; and `python -bb` has nothing to say."""

from __future__ import annotations

import asyncio
import io
import pickle
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.loops import module
from zipstream_adapter import (
    Entry,
    EntryTypeError,
    OptionError,
    StreamingZipFile,
    ZipLayout,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter.compat import stream_zip as compat_stream_zip

DATA = b"data" * 50_000
DATE = 1_000_000_000


class Number:
    """A whole number that is no int."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


KINDS: dict[str, Callable[[int], Any]] = {
    "own": Number,
    "int64": lambda value: module("numpy").int64(value),
    "array": lambda value: module("numpy").array(value),
}
every_kind = pytest.mark.parametrize("number", KINDS.values(), ids=KINDS)


@every_kind
def test_of_an_entry(number: Any) -> None:
    def entry(number: Any) -> Entry:
        known = {"size": number(len(DATA)), "crc32": number(zlib.crc32(DATA)), "mode": number(0o600)}
        date = tuple(number(part) for part in (2001, 2, 3, 4, 5, 6))
        return Entry("a", DATA, **known, modified=date, compression=number(8), level=number(3))

    assert entry(number) == entry(int)
    assert all(
        type(getattr(entry(number), field)) is int for field in ("size", "crc32", "mode", "compression", "level")
    )
    assert Entry("a", DATA, modified=number(DATE)) == Entry("a", DATA, modified=DATE)
    assert pickle.loads(pickle.dumps(entry(number))) == entry(int)

    def raw(number: Any) -> Entry:
        known = {"size": number(5), "crc32": number(6), "compressed_size": number(7), "flag_bits": number(2)}
        return Entry.raw("a", b"x" * 7, compression=number(8), **known)

    assert raw(number) == raw(int)
    assert Entry.symlink("a", "b", mode=number(0o700)).mode == stat.S_IFLNK | 0o700


@every_kind
@pytest.mark.parametrize("prefetch", [0, 2])
def test_of_a_stream(number: Any, prefetch: int) -> None:
    def options(number: Any) -> dict[str, Any]:
        sizes = {"chunk_size": number(5000), "lookahead": number(1000), "workers": number(2)}
        return {"compression": number(8), "level": number(4), "prefetch": number(prefetch), **sizes}

    def entries() -> list[Entry]:
        return [Entry(name, lambda: io.BytesIO(DATA), modified=DATE) for name in "abc"]

    async def asynchronous() -> list[bytes]:
        return [chunk async for chunk in async_stream_zip(entries(), **options(number))]

    expected = list(stream_zip(entries(), **options(int)))
    assert list(stream_zip(entries(), **options(number))) == expected
    assert b"".join(asyncio.run(asynchronous())) == b"".join(expected)


@every_kind
def test_of_layouts(number: Any) -> None:
    layout = ZipLayout([Entry("a", DATA, modified=DATE)])
    whole = b"".join(layout.iter_range(0))
    assert b"".join(layout.iter_range(number(5), number(1000))) == whole[5:1000]
    assert b"".join(part.read() for part in layout.parts(number(70_000))) == whole
    with layout.open() as file:
        assert file.seek(number(10)) == 10
        assert file.read(20) == whole[10:30]


@every_kind
def test_of_archives(number: Any) -> None:
    target = io.BytesIO()
    sizes = {"lookahead": number(1000), "workers": number(0)}
    with StreamingZipFile(target, compression=number(8), compresslevel=number(1), **sizes) as archive:
        archive.writestr("a", DATA)
        archive.mkdir("b", number(0o700))
    assert oracles.members(target.getvalue()) == {"a": DATA, "b/": b""}
    assert zipfile.ZipFile(target).getinfo("b/").external_attr >> 16 == stat.S_IFDIR | 0o700


@every_kind
def test_of_a_target_that_says_how_much_it_took(number: Any) -> None:
    class Target(io.BytesIO):
        def write(self, data: Any) -> Any:
            return number(super().write(data))

    target = Target()
    with StreamingZipFile(target) as archive:
        archive.writestr("a", DATA)
    assert oracles.members(target.getvalue()) == {"a": DATA}


@every_kind
def test_of_compat(number: Any) -> None:
    from datetime import datetime

    member = ("a", datetime(2001, 2, 3), number(stat.S_IFREG | 0o600), compat_stream_zip.ZIP_32, (DATA,))
    assert oracles.members(b"".join(compat_stream_zip.stream_zip([member]))) == {"a": DATA}


@pytest.mark.parametrize("value", [True, 1.0, "1", 1.5, [1]])
@pytest.mark.parametrize("field", ["size", "crc32", "mode", "level"])
def test_what_is_no_whole_number_is_refused(field: str, value: Any) -> None:
    with pytest.raises((EntryTypeError, OptionError), match=field):
        Entry("a", b"x", **{field: value})


@pytest.mark.parametrize("value", [True, 1.0, "1"])
@pytest.mark.parametrize("option", ["chunk_size", "lookahead", "prefetch", "workers", "level"])
def test_nor_is_it_an_option(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=option):
        stream_zip([], **{option: value})


# python -bb: every comparison of bytes with str is an error.

BYTES_WARNINGS = """
import asyncio, io, os, pathlib, sys, tempfile, zipfile
from zipstream_adapter import *
from zipstream_adapter import compat
bad = []
def attempt(label, work, *expected):
    try:
        work()
    except BytesWarning as exc:
        bad.append(f"{label}: {exc}")
    except expected:
        pass
def archive(entries, **options):
    return b"".join(stream_zip(entries, **options))
async def asynchronous(entries, **options):
    async with async_stream_zip(entries, **options) as stream:
        return await stream.read()
root = pathlib.Path(tempfile.mkdtemp())
(root / "file").write_bytes(b"x" * 100_000)
os.mkdir(root / "folder")
entries = lambda: [("a", b"x"), Entry("b", root / "file", comment=b"c"), {"name": "c", "stream": [b"x"]}, root / "file",
                   Entry("d", lambda: io.BytesIO(b"x" * 200_000), compression="deflate"), Entry.directory("e")]
for options in ({}, {"compression": "deflate"}, {"compression": "auto"}, {"compression": "zstd"}, {"prefetch": 2},
                {"on_progress": repr}, {"comment": b"c"}, {"password": "p"}, {"password": b"p"}):
    attempt(f"stream_zip {options}", lambda: archive(entries(), **options), ImportError)
    attempt(f"async_stream_zip {options}", lambda: asyncio.run(asynchronous(entries(), **options)), ImportError)
attempt("walk", lambda: archive(walk(root)))
attempt("layout", lambda: b"".join(ZipLayout(walk(root)).iter_range(0)))
attempt("layout of all", lambda: b"".join(ZipLayout([("a", b"x"), Entry("b", root / "file")]).iter_range(0)))
attempt("size", lambda: stream_zip(entries()).size)
def zipped():
    with StreamingZipFile(root / "a.zip", "w") as file:
        file.writestr("a", "text")
        file.writestr("b", b"text")
        file.comment = b"c"
attempt("StreamingZipFile", zipped)
attempt("copy", lambda: archive([Entry.copy(root / "a.zip", "a")]))
for field in ("comment", "extra", "zip64", "password", "mode", "size", "crc32", "level", "compression", "modified"):
    for value in ("text", b"text", 5, [], bytearray(b"x")):
        attempt(f"Entry {field}={value!r}", lambda: repr(Entry("a", b"x", **{field: value})), Exception)
        attempt(f"stream {field}={value!r}", lambda: archive([], **{field: value}), Exception)
for name in ("a", b"a", 5, ""):
    for source in ("text", b"text", 5, [], ["text"], [b"x", "text"], io.StringIO("text"), {b"a": "b"}, {b"a"},
                   lambda: "text", lambda: ["text"], None, iter(["text"]), object()):
        for attempted in (lambda: archive([(name, source)]), lambda: asyncio.run(asynchronous([(name, source)])),
                          lambda: repr(Entry(name, source)), lambda: archive([{"name": name, "file": source}]),
                          lambda: archive([Entry(name, source)], on_error=lambda entry, exc: None)):
            attempt(f"{name!r} {source!r}", attempted, Exception)
        for other in ("text", b"text", pathlib.Path("text"), None):
            attempt(f"== {source!r} {other!r}", lambda: Entry("a", source) == Entry("a", other), TypeError)
            attempt(f"set {source!r} {other!r}", lambda: {Entry("a", source), Entry("a", other)}, TypeError)
for policy in ("names", "duplicates", "engine", "grown"):
    attempt(f"{policy}=b''", lambda: archive([("a", b"x")], **{policy: b"text"}), Exception)
for key in (b"name", b"password", b"x", 5):
    attempt(f"mapping {key!r}", lambda: archive([{key: b"x"}], on_error=lambda entry, exc: repr(entry) and None))
attempt("skipped", lambda: repr(stream_zip([{"name": b"a", "x": 1}], on_error=lambda entry, exc: None).read()))
print("\\n".join(bad))
"""


def test_nothing_compares_bytes_with_text() -> None:
    done = subprocess.run(
        [sys.executable, "-bb", "-c", BYTES_WARNINGS],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_entries_of_bytes_and_of_text_differ() -> None:
    assert Entry("a", b"x") != Entry("a", "x")  # type: ignore[arg-type]
    assert Entry("a", b"x") == Entry("a", b"x")
    assert Entry("a", b"x", size=1) != Entry("a", b"x")
    assert repr(Entry("a", b"", size=0)) == "Entry('a', b'', size=0)"
    with pytest.raises(ZipStreamError, match="comment='text'"):
        Entry("a", b"x", comment="text")  # type: ignore[arg-type]
