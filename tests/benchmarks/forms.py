"""CPU time of a small member by the form in which its data is handed over, beside `zipfile.ZipFile.writestr`.

    python -m tests.benchmarks.forms [--members N] [--runs N] [--size BYTES] [--only TEXT] [--json FILE]

Data, files and entries are made before the clock starts, unless the form itself makes them. The figures are the
microseconds of CPU time per member, the least of several runs.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import resource
import tempfile
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.report import progress
from zipstream_adapter import Entry, async_stream_zip, stream_zip

DATE = 1_700_000_000
# Most files that are open at a time.
_OPEN = 400

Forms = dict[str, Callable[[list[bytes], Path], Iterable[Any]]]


def chunks_of(data: bytes) -> Iterator[bytes]:
    yield data


async def async_chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


class AsyncFile:
    """A file object with an asynchronous read method."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    async def close(self) -> None:
        self._file.close()


async def later(data: bytes) -> bytes:
    return data


def named(make: Callable[[bytes], Any]) -> Callable[[list[bytes], Path], list[Any]]:
    return lambda data, folder: [(f"folder/{number}.txt", make(each)) for number, each in enumerate(data)]


def entries(**options: Any) -> Callable[[list[bytes], Path], list[Entry]]:
    return lambda data, folder: [
        Entry(f"folder/{number}.txt", each, **options) for number, each in enumerate(data)
    ]  # fmt: skip


def dated(data: list[bytes], folder: Path) -> list[Entry]:
    return [Entry(f"folder/{number}.txt", each, modified=DATE + number, mode=0o600) for number, each in enumerate(data)]


def mappings(data: list[bytes], folder: Path) -> list[dict[str, Any]]:
    return [{"name": f"folder/{number}.txt", "source": each} for number, each in enumerate(data)]


def paths(data: list[bytes], folder: Path) -> list[tuple[str, Path]]:
    return [(f"folder/{number}.txt", folder / f"{number}.txt") for number in range(len(data))]


def walked(data: list[bytes], folder: Path) -> list[Path]:
    return [folder / f"{number}.txt" for number in range(len(data))]


def opened(data: list[bytes], folder: Path) -> list[tuple[str, Any]]:
    return [(f"folder/{number}.txt", (folder / f"{number}.txt").open("rb")) for number in range(min(len(data), _OPEN))]


SYNC: Forms = {
    "pair (name, bytes)": named(bytes),
    "Entry": entries(),
    "Entry, comment": entries(comment=b"remark"),
    "Entry, date and mode": entries(modified=DATE, mode=0o600),
    "Entry, another date each": dated,
    "Entry, extra field": entries(extra=b"\x34\x12\1\0x"),
    "Entry, size and CRC-32": lambda data, folder: [
        Entry(f"folder/{number}.txt", each, size=len(each), crc32=zlib.crc32(each)) for number, each in enumerate(data)
    ],
    "mapping": mappings,
    "bytearray": named(bytearray),
    "memoryview": named(memoryview),
    "BytesIO": named(io.BytesIO),
    "list of chunks": named(lambda data: [data[:60], data[60:]]),
    "generator": named(chunks_of),
    "lambda": named(lambda data: lambda: data),
    "unicode name": lambda data, folder: [(f"folder/{number} größe.txt", each) for number, each in enumerate(data)],
    "path": paths,
    "path alone": walked,
    "file object": opened,
    "directory": lambda data, folder: [(f"folder/{number}/", b"") for number in range(len(data))],
}
ASYNC: Forms = {
    "async: pair": named(bytes),
    "async: generator": named(async_chunks_of),
    "async: lambda": named(lambda data: partial(later, data)),
    "async: awaitable": named(later),
    "async: file object": named(AsyncFile),
    "async: bytearray": named(bytearray),
    "async: list of chunks": named(lambda data: [data[:60], data[60:]]),
    "async: path": paths,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "pair, on_progress": {"on_progress": lambda progress: None},
    "pair, on_error": {"on_error": lambda entry, error: None},
    "pair, password": {"password": "secret"},
}


def drain(items: Iterable[Any], options: dict[str, Any]) -> float:
    begun = time.process_time()
    for _ in stream_zip(items, workers=0, **options):
        pass
    return time.process_time() - begun


async def adrain(items: Iterable[Any], options: dict[str, Any]) -> float:
    begun = time.process_time()
    async for _ in async_stream_zip(items, workers=0, **options):
        pass
    return time.process_time() - begun


def by_zipfile(items: Iterable[tuple[str, bytes]], options: dict[str, Any]) -> float:
    method = zipfile.ZIP_DEFLATED if options["compression"] == "deflate" else zipfile.ZIP_STORED
    begun = time.process_time()
    with zipfile.ZipFile(io.BytesIO(), "w", method) as archive:
        for name, data in items:
            archive.writestr(name, data)
    return time.process_time() - begun


def files_by_zipfile(items: Iterable[tuple[str, Path]], options: dict[str, Any]) -> float:
    method = zipfile.ZIP_DEFLATED if options["compression"] == "deflate" else zipfile.ZIP_STORED
    begun = time.process_time()
    with zipfile.ZipFile(io.BytesIO(), "w", method) as archive:
        for name, path in items:
            archive.write(path, name)
    return time.process_time() - begun


class Bench:
    """Measures each form.

    Args:
        members: members of an archive, at most.
        size: bytes of data of a member.
    """

    def __init__(self, members: int, size: int, folder: Path) -> None:
        text = b"".join(b"%d bottles of beer on the wall, " % number for number in range(size * members // 8))
        self._data = [text[at * size : at * size + size] for at in range(members)]
        self._folder = folder
        for number, each in enumerate(self._data):
            (folder / f"{number}.txt").write_bytes(each)

    def forms(self) -> dict[str, Callable[[str], float]]:
        """Return, by name, functions that measure a form: compression -> seconds of CPU time per member."""
        found: dict[str, Callable[[str], float]] = {
            "zipfile: writestr": partial(self._measure, by_zipfile, named(bytes), {}),
            "zipfile: write": partial(self._measure, files_by_zipfile, paths, {}),
        }
        found |= {name: partial(self._measure, drain, make, {}) for name, make in SYNC.items()}
        found |= {name: partial(self._measure, drain, named(bytes), options) for name, options in OPTIONS.items()}
        run = lambda items, options: asyncio.run(adrain(items, options))  # noqa: E731
        return found | {name: partial(self._measure, run, make, {}) for name, make in ASYNC.items()}

    def _measure(self, run: Callable[..., float], make: Any, options: dict[str, Any], compression: str) -> float:
        takes_long = "password" in options or run is not drain
        data = self._data[: len(self._data) // 4] if takes_long else self._data
        items = make(data, self._folder)
        return run(items, {**options, "compression": compression}) / len(items) * 1e6


def table(figures: dict[str, list[float]]) -> str:
    """Return the figures as a Markdown table, with how often the pair's time each form takes."""
    lines = ["| form | stored, µs | x pair | deflate, µs | x pair |", "|---|---:|---:|---:|---:|"]
    pair = figures.get("pair (name, bytes)")
    for name, both in figures.items():
        ratio = [f"{each / first:.1f}" if pair else "" for each, first in zip(both, pair or both, strict=True)]
        lines.append(f"| {name} | {both[0]:.1f} | {ratio[0]} | {both[1]:.1f} | {ratio[1]} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=4000, help="default: 4000")
    parser.add_argument("--size", type=int, default=120, help="bytes of data; default: 120")
    parser.add_argument("--runs", type=int, default=7, help="default: 7")
    parser.add_argument("--only", default="", help="only forms that contain this text, and the pair")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * _OPEN) if hard > 0 else 4 * _OPEN, hard))
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.members, arguments.size, Path(folder))
        for number in range(arguments.runs):
            for name, measure in bench.forms().items():
                if arguments.only in name or name == "pair (name, bytes)":
                    now = [measure(compression) for compression in ("stored", "deflate")]
                    figures[name] = [*map(min, figures.get(name, now), now)]
            progress(f"run {number + 1} of {arguments.runs}")
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), "utf-8")


if __name__ == "__main__":
    main()
