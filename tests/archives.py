"""Some 300 archives by name: every option, form of source, facade and compat module, made of the same data at one date.

`tests.test_digests` holds each of them against a digest. They are made without an extra, so every machine makes them.
"""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from tests.support.strategies import noise, words
from zipstream_adapter import Entry, StreamingZipFile, ZipLayout, async_stream_zip, stream_zip, walk

EPOCH = 1_700_000_000
DATE = datetime.fromtimestamp(EPOCH, UTC)
# One size in the quick way, one beyond the lookahead, one beyond a block of the compressors.
DATA = {
    "empty": b"",
    "note": b"a note\n" * 9,
    "text": words(7, 90_000),
    "noise": noise(8, 70_001),
    "long": words(9, 700_000),
}
METHODS: dict[str, dict[str, Any]] = {
    "none": {"compression": "none", "engine": "zlib"},
    "stored": {"compression": "stored", "engine": "zlib"},
    "level0": {"compression": "deflate", "level": 0, "engine": "zlib"},
    "deflate": {"compression": "deflate", "engine": "zlib"},
    "deflate1": {"compression": "deflate", "level": 1, "engine": "zlib"},
    "bzip2": {"compression": "bzip2", "engine": "zlib"},
}
Make = Callable[[Path], bytes]


def pieces(data: bytes, size: int = 9_000) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def tree(place: Path) -> Path:
    """The data as files in directories, with fixed dates and modes; made once in `place`."""
    top = place / "tree"
    if not top.exists():
        (top / "sub" / "deep").mkdir(parents=True)
        (top / "void").mkdir()
        for number, (name, data) in enumerate(DATA.items()):
            path = top / ("sub" if number % 2 else ".") / f"{name}.bin"
            path.write_bytes(data)
            path.chmod(0o640 + number)
        (top / "sub" / "deep" / "é ü.txt").write_bytes(DATA["note"])
        (top / "link").symlink_to("sub/note.bin")
        for path in [*sorted(top.rglob("*")), top]:
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (EPOCH + 11, EPOCH + 11), follow_symlinks=False)
    return top


async def _asynchronous(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class _Reader:
    """A file object that can only read."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


# Each form takes a member's name, its data and the tree.
SOURCES: dict[str, Callable[[str, bytes, Path], Any]] = {
    "pair": lambda name, data, top: (name, data),
    "entry": lambda name, data, top: Entry(name, data),
    "dated": lambda name, data, top: Entry(name, data, modified=DATE, mode=0o600),
    "commented": lambda name, data, top: Entry(name, data, comment=b"a comment", extra=b"\xfe\xca\x02\x00hi"),
    "mapping": lambda name, data, top: {"name": name, "data": data, "mode": 0o755},
    "bytearray": lambda name, data, top: (name, bytearray(data)),
    "memoryview": lambda name, data, top: (name, memoryview(data)),
    "file": lambda name, data, top: (name, io.BytesIO(data)),
    "reader": lambda name, data, top: (name, _Reader(data)),
    "chunks": lambda name, data, top: (name, pieces(data)),
    "generator": lambda name, data, top: (name, (piece for piece in pieces(data))),
    "empty chunks": lambda name, data, top: (name, iter([b"", *pieces(data), b""])),
    "sized": lambda name, data, top: Entry(name, iter(pieces(data)), size=len(data)),
    "promised": lambda name, data, top: Entry(name, iter(pieces(data)), size=len(data), crc32=zlib.crc32(data)),
    "function": lambda name, data, top: (name, lambda: data),
    "opener": lambda name, data, top: (name, lambda: io.BytesIO(data)),
    "path": lambda name, data, top: (name, next(top.rglob(f"{name.partition('-')[0]}.bin"))),
    "zip64": lambda name, data, top: Entry(name, data, zip64=True),
    "zip64 generator": lambda name, data, top: Entry(name, iter(pieces(data)), zip64=True),
    "no zip64": lambda name, data, top: Entry(name, iter(pieces(data)), zip64=False),
    "unicode name": lambda name, data, top: (f"ü/{name}-日本", data),
    "raw": lambda name, data, top: Entry.raw(
        name, _deflated(data), compression="deflate", size=len(data), crc32=zlib.crc32(data)
    ),
    "stored raw": lambda name, data, top: Entry.raw(
        name, iter(pieces(data)), compression="stored", size=len(data), crc32=zlib.crc32(data)
    ),
    "stored among": lambda name, data, top: Entry(name, data, compression="stored"),
    "deflated among": lambda name, data, top: Entry(name, data, compression="deflate", level=9),
    "progress": lambda name, data, top: (name, data),
}
ASYNC_SOURCES: dict[str, Callable[[str, bytes, Path], Any]] = {
    "async generator": lambda name, data, top: (name, _asynchronous(pieces(data))),
    "async function": lambda name, data, top: (name, lambda: _asynchronous(pieces(data))),
}
# Each set goes with all data, plain and compressed.
OPTIONS: dict[str, dict[str, Any]] = {
    "chunks of 1000": {"chunk_size": 1000},
    "chunk by chunk": {"chunk_size": 0},
    "no lookahead": {"lookahead": 0},
    "lookahead of a megabyte": {"lookahead": 1 << 20},
    "comment": {"comment": b"of the archive"},
    "no extended timestamps": {"extended_timestamps": False},
    "no workers": {"workers": 0},
    "three workers": {"workers": 3},
    "prefetch": {"prefetch": 3},
}


def _deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(level=6, wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _options(source: str, method: str) -> dict[str, Any]:
    heard = {"on_progress": lambda progress: None} if source == "progress" else {}
    return {**METHODS[method], **heard}


def _items(source: str, top: Path) -> Iterator[Any]:
    form = {**SOURCES, **ASYNC_SOURCES}[source]
    for name, data in DATA.items():
        yield form(f"{name}-{source}", data, top)


def _plain(source: str, method: str, **options: Any) -> Make:
    return lambda place: b"".join(stream_zip(_items(source, tree(place)), **_options(source, method), **options))


def _asynchronously(source: str, method: str, **options: Any) -> Make:
    async def gathered(place: Path) -> bytes:
        entries = _items(source, tree(place))
        return b"".join([c async for c in async_stream_zip(entries, **_options(source, method), **options)])

    return lambda place: asyncio.run(gathered(place))


def _seekable(chunk: int, place: Path) -> bytes:
    entries: list[Any] = [Entry("entry", pieces(DATA["long"]), seekable=chunk), ("archive", pieces(DATA["long"] * 2))]
    return b"".join(stream_zip(entries, seekable=chunk, **METHODS["deflate"]))


def _walked(method: str, **options: Any) -> Make:
    return lambda place: b"".join(stream_zip(walk(tree(place), **options), **METHODS[method]))


def _mixed(top: Path) -> list[Any]:
    """Entries that a layout takes."""
    return [
        ("note", DATA["note"]),
        Entry.directory("d", mode=0o700),
        Entry.symlink("d/link", "../note"),
        ("d/path", top / "noise.bin" if (top / "noise.bin").exists() else next(top.rglob("noise.bin"))),
        Entry("function", lambda: pieces(DATA["long"]), size=len(DATA["long"]), crc32=zlib.crc32(DATA["long"])),
        Entry("later", lambda: pieces(DATA["text"]), size=len(DATA["text"])),
        Entry("level0", DATA["text"], compression="deflate", level=0),
        SOURCES["raw"]("raw", DATA["text"], top),
        *walk(top, prefix="walked", symlinks="store"),
    ]


def _layout(place: Path, **options: Any) -> ZipLayout:
    return ZipLayout(_mixed(tree(place)), **options)


def _range(start: int, stop: int, **options: Any) -> Make:
    return lambda place: b"".join(_layout(place, **options).iter_range(start, stop))


async def _async_range(layout: ZipLayout, start: int) -> bytes:
    return b"".join([chunk async for chunk in layout.aiter_range(start)])


def _pushed(method: int) -> Make:
    def made(place: Path) -> bytes:
        out = io.BytesIO()
        with StreamingZipFile(out, compression=method) as archive:
            for name, data in DATA.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.str", (2020, 2, 2, 2, 2, 2)), data)
                with archive.open(zipfile.ZipInfo(f"{name}.open", (2020, 2, 2, 2, 2, 2)), "w") as member:
                    for piece in pieces(data):
                        member.write(piece)
            archive.write(tree(place) / "sub" / "note.bin", "written")
            archive.mkdir(zipfile.ZipInfo("made/", (2020, 2, 2, 2, 2, 2)))
            archive.comment = b"pushed"
        return out.getvalue()

    return made


def _stream_zip(method: str, **options: Any) -> Make:
    def made(place: Path) -> bytes:
        from zipstream_adapter.compat import stream_zip as module

        methods: dict[str, Any] = {
            "ZIP_32": lambda data: module.ZIP_32,
            "ZIP_64": lambda data: module.ZIP_64,
            "NO_COMPRESSION_32": lambda data: module.NO_COMPRESSION_32(len(data), zlib.crc32(data)),
            "NO_COMPRESSION_64": lambda data: module.NO_COMPRESSION_64(len(data), zlib.crc32(data)),
            "stored": lambda data: module.NO_COMPRESSION_32,
        }
        files = ((name, DATE, 0o644, methods[method](data), iter(pieces(data))) for name, data in DATA.items())
        deflate = partial(zlib.compressobj, level=9, wbits=-zlib.MAX_WBITS)
        return b"".join(module.stream_zip(files, get_compressobj=deflate, **options))

    return made


def _zipstream_ng(compress_type: int, sized: bool = False) -> Make:
    def made(place: Path) -> bytes:
        from zipstream_adapter.compat import zipstream_ng

        # Data and directories that are added have the machine's date there: only paths have one of their own.
        stream = zipstream_ng.ZipStream(compress_type=compress_type, sized=sized)
        stream.add_path(tree(place), "tree")
        for name in DATA:
            stream.add_path(next(tree(place).rglob(f"{name}.bin")), f"other/{name}")
        stream.comment = "ng"
        return b"".join(stream)

    return made


def _spideroak(compression: int) -> Make:
    def made(place: Path) -> bytes:
        from zipstream_adapter.compat import spideroak

        return b"".join(spideroak.ZipStream(tree(place), "around", compression))

    return made


def archives() -> dict[str, Make]:
    """Every archive by name; each is made in a directory that is its own or that others used before."""
    found: dict[str, Make] = {}
    for source, method in product(SOURCES, METHODS):
        found[f"stream {source} {method}"] = _plain(source, method)
        if method in ("stored", "deflate"):
            found[f"async {source} {method}"] = _asynchronously(source, method)
    for source, method in product(ASYNC_SOURCES, METHODS):
        found[f"async {source} {method}"] = _asynchronously(source, method)
    for (name, options), method in product(OPTIONS.items(), ("stored", "level0", "deflate")):
        found[f"stream {name} {method}"] = _plain("generator", method, **options)
        found[f"async {name} {method}"] = _asynchronously("chunks", method, **options)
        found[f"pairs {name} {method}"] = _plain("pair", method, **options)
    for links, method in product(("follow", "store", "skip"), ("stored", "deflate")):
        found[f"walk {links} {method}"] = _walked(method, symlinks=links)
    found["walk with a prefix"] = _walked("stored", prefix="a/b")
    found["walk without *.bin"] = _walked("stored", exclude=["*.bin"])
    found["repaired names"] = lambda place: b"".join(
        stream_zip([(name, b"data") for name in ("/a", "../b", "C:\\c", "d//e", "./f")], names="repair")
    )
    found["renamed duplicates"] = lambda place: b"".join(
        stream_zip([("a.txt", b"1"), ("a.txt", b"2"), ("a.txt", b"3")], duplicates="rename")
    )
    found["allowed duplicates"] = lambda place: b"".join(stream_zip([("a", b"1"), ("a", b"2")], duplicates="allow"))
    for name, chunk in {"seekable": True, "seekable by 64 KiB": 65536}.items():
        found[name] = partial(_seekable, chunk)
    found["mimetype first"] = lambda place: b"".join(
        stream_zip([("mimetype", b"application/epub+zip"), ("a", b"b")], compression="stored")
    )
    found["nothing"] = lambda place: b"".join(stream_zip([]))
    found["70000 members"] = lambda place: b"".join(stream_zip((f"{number}", b"x") for number in range(70_000)))
    for name, options in {
        "layout": {},
        "layout, no lookahead": {"lookahead": 0},
        "layout, level 0": METHODS["level0"],
    }.items():
        options = {key: value for key, value in options.items() if key != "engine"}
        found[name] = lambda place, options=options: b"".join(_layout(place, **options).iter_range())  # type: ignore[misc]
        for start, stop in ((0, 10), (100, 70_000), (80_000, 900_000), (700_000, 1_500_000)):
            found[f"{name}, from {start} to {stop}"] = _range(start, stop, **options)
    found["layout, async"] = lambda place: asyncio.run(_async_range(_layout(place), 5))
    found["layout, as a file"] = lambda place: _layout(place).open().read()
    found["layout, comment"] = lambda place: b"".join(_layout(place, comment=b"of it").iter_range())
    for number in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2):
        found[f"StreamingZipFile {number}"] = _pushed(number)
    for method in ("ZIP_32", "ZIP_64", "NO_COMPRESSION_32", "NO_COMPRESSION_64", "stored"):
        found[f"compat.stream_zip {method}"] = _stream_zip(method)
    found["compat.stream_zip, no extended timestamps"] = _stream_zip("ZIP_32", extended_timestamps=False)
    found["compat.stream_zip, chunks of 1000"] = _stream_zip("ZIP_32", chunk_size=1000)
    for number in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2):
        found[f"compat.zipstream_ng {number}"] = _zipstream_ng(number)
    found["compat.zipstream_ng sized"] = _zipstream_ng(zipfile.ZIP_STORED, sized=True)
    found["compat.spideroak"] = _spideroak(zipfile.ZIP_STORED)
    return found
