"""Seekable members: their size, the CPU time that they take, and what a read in the middle costs, beside others.

    python -m tests.benchmarks.seekable [--size MiB] [--large MiB] [--latency 0.05] [--rate MB/s]

sozipfile and remotezip take part if they are installed. The server is a thread of this process; it takes `--latency`
seconds before it answers, gives each connection `--rate`, and counts.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.remote_archives import MIB
from tests.support.remote_servers import Objects, serving
from tests.support.seekable import table
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter.remote import open_remote

NAME, PART = "table.csv", 1 << 16
_PIECE = 16 * MIB


def pieces(size: int) -> Iterator[bytes]:
    """Data of `size` bytes: 16 MiB of text, again and again."""
    text = table(_PIECE)
    for at in range(0, size, MIB):
        yield text[at % _PIECE :][: min(MIB, size - at)]


def by_us(path: Path, size: int, **options: Any) -> None:
    with path.open("wb") as file:
        for chunk in stream_zip([Entry(NAME, pieces(size))], compression="deflate", **options):
            file.write(chunk)


def by_sozipfile(module: Any, path: Path, size: int) -> None:
    with module.ZipFile(path, "w", module.ZIP_DEFLATED) as archive, archive.open(NAME, "w", force_zip64=True) as file:
        for piece in pieces(size):
            file.write(piece)


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def write(folder: Path, size: int) -> None:
    table(_PIECE)
    ways: dict[str, Callable[[Path, int], None]] = {
        "zlib, not seekable": partial(by_us, engine="zlib", workers=0),
        "zlib, chunks of 32 KiB": partial(by_us, engine="zlib", workers=0, seekable=True),
        "zlib, chunks of 256 KiB": partial(by_us, engine="zlib", workers=0, seekable=1 << 18),
        "auto, not seekable": partial(by_us, workers=0),
        "auto, chunks of 32 KiB": partial(by_us, workers=0, seekable=True),
    }
    sozipfile = installed("sozipfile.sozipfile")
    if sozipfile is not None:
        ways["sozipfile"] = partial(by_sozipfile, sozipfile)
    print(f"\n| {size // MIB} MiB of text, level 6 | bytes | CPU seconds |\n|---|---:|---:|")
    for name, way in ways.items():
        path, before = folder / "made.zip", cpu_seconds()
        way(path, size)
        print(f"| {name} | {path.stat().st_size:,} | {cpu_seconds() - before:.2f} |", flush=True)


def served(path: Path) -> tuple[int, Callable[[int, int], bytes]]:
    descriptor = os.open(path, os.O_RDONLY)
    return path.stat().st_size, lambda start, stop: os.pread(descriptor, stop - start, start)


def row(objects: Objects, what: str, opener: Callable[[str], Any], name: str, size: int) -> None:
    objects.forget()
    began = time.monotonic()
    with opener(objects.url + name) as archive, archive.open(NAME) as member:
        member.seek(size // 2)
        data = member.read(PART)
    seconds = time.monotonic() - began
    assert data == next(pieces(MIB))[:PART]
    print(f"| {what} | {len(objects.asked)} | {objects.sent:,} | {seconds:.2f} |", flush=True)


def read(folder: Path, size: int, latency: float, rate: float) -> None:
    size -= size % (2 * _PIECE)
    by_us(folder / "plain.zip", size, level=1)
    by_us(folder / "seekable.zip", size, level=1, seekable=True)
    print(
        f"\n| open, and 64 KiB in the middle of {size // MIB} MiB | requests | bytes | seconds |\n|---|---:|---:|---:|"
    )
    with serving(**{name: served(folder / name) for name in ("plain.zip", "seekable.zip")}) as objects:
        objects.latency, objects.rate = latency, rate * 1e6
        row(objects, "open_remote, seekable", open_remote, "seekable.zip", size)
        row(objects, "open_remote, not seekable", open_remote, "plain.zip", size)
        remotezip = installed("remotezip")
        if remotezip is not None:
            row(objects, "remotezip, seekable", remotezip.RemoteZip, "seekable.zip", size)
            row(objects, "remotezip, not seekable", remotezip.RemoteZip, "plain.zip", size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--large", type=int, default=1024)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rate", type=float, default=25.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), arguments.size * MIB)
        read(Path(folder), arguments.large * MIB, arguments.latency, arguments.rate)


if __name__ == "__main__":
    main()
