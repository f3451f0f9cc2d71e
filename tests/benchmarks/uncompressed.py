"""The time of compression="none" beside "stored" for members of unknown CRC-32, and its size.

    python -m tests.benchmarks.uncompressed [--size MIB] [--runs N]

Both ways run in turn, in one process and one thread; each figure is the median of the wall times. The generator yields
chunks of 1 MiB that are new objects, as a program that reads a socket has them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from zipstream_adapter import Entry, ZipLayout, async_stream_zip, stream_zip

_CHUNK = 1 << 20
_METHODS: tuple[Literal["stored", "none"], ...] = ("stored", "none")
_MODIFIED = 1_700_000_000


def _generated(chunks: int) -> Iterator[bytes]:
    data = bytearray(os.urandom(_CHUNK))
    for _ in range(chunks):
        yield bytes(data)


def _consume(pieces: Iterator[bytes]) -> tuple[int, int]:
    size = least = 0
    for piece in pieces:
        size += len(piece)
        least = len(piece) if not least else min(least, len(piece))
    return size, least


def _stream(source: Callable[[], Any], method: Any) -> int:
    return _consume(stream_zip([Entry("a", source(), modified=_MODIFIED)], compression=method, workers=0))[0]


def _asynchronous(source: Callable[[], Any], method: Any) -> int:
    async def consume() -> int:
        entries = [Entry("a", source(), modified=_MODIFIED)]
        return sum([len(piece) async for piece in async_stream_zip(entries, compression=method, workers=0)])

    return asyncio.run(consume())


def _range(source: Callable[[], Any], method: Any) -> int:
    """All of the data of a layout's member but its first and last bytes."""
    entry = ZipLayout([Entry("a", source(), modified=_MODIFIED)], compression=method)
    return _consume(entry.iter_range(100, entry.size - 1000))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of data; default: 1024")
    parser.add_argument("--runs", type=int, default=5, help="runs of each; default: 5")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data")
        with path.open("wb") as file:
            file.writelines(_generated(arguments.size))

        def chunks() -> Iterator[bytes]:
            return _generated(arguments.size)

        rows: dict[str, tuple[Callable[[Callable[[], Any], Any], int], Callable[[], Any]]] = {
            "generator": (_stream, chunks),
            "file": (_stream, lambda: path),
            "generator, asynchronous": (_asynchronous, chunks),
            "file, asynchronous": (_asynchronous, lambda: path),
            "range of a layout": (_range, lambda: path),
        }
        print(f"| {arguments.size} MiB | stored | none | ratio | size |\n|---|---|---|---|---|")
        for name, (make, source) in rows.items():
            seconds: dict[str, list[float]] = {method: [] for method in _METHODS}
            sizes = {}
            for _ in range(arguments.runs):
                for method in _METHODS:
                    begun = time.perf_counter()
                    sizes[method] = make(source, method)
                    seconds[method].append(time.perf_counter() - begun)
            stored, none = (statistics.median(seconds[method]) for method in _METHODS)
            more = f"{sizes['none'] / sizes['stored'] - 1:+.4%}"
            print(f"| {name} | {stored:.3f} s | {none:.3f} s | x{none / stored:.2f} | {more} |", flush=True)


if __name__ == "__main__":
    main()
