"""Members of a deflated archive passed on as they are, against compressing them anew.

    python -m tests.benchmarks.copy [--size MIB] [--runs N]

Throughput is in bytes of the data as it was before it was compressed.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.corpora import CORPORA
from zipstream_adapter import Entry, stream_zip

_MIB = 1 << 20


def archive_of(size: int, path: Path) -> int:
    """An archive of up to `size` bytes of text in members of 4 MiB, by the standard library; returns what it holds."""
    total = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for corpus in (each for each in CORPORA if each.kind == "text"):
            data = corpus.make(size // 4)
            for at in range(0, len(data), 4 * _MIB):
                archive.writestr(f"{corpus.name}/{at}", data[at : at + 4 * _MIB])
            total += len(data)
            if total >= size:
                break
    return total


def drained(chunks: Iterable[bytes]) -> int:
    return sum(map(len, chunks))


def by_copy(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return drained(stream_zip([Entry.copy(archive, info) for info in archive.infolist()]))


def by_copy_from_path(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    return drained(stream_zip([Entry.copy(path, info) for info in infos]))


def anew(path: Path, **options: Any) -> int:
    with zipfile.ZipFile(path) as archive:
        entries = ((name, archive.open(name)) for name in archive.namelist())
        return drained(stream_zip(entries, compression="deflate", level=6, **options))


def anew_by_zipfile(path: Path) -> int:
    file = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as twin:
        for name in archive.namelist():
            twin.writestr(name, archive.read(name))
    return len(file.getvalue())


WAYS: dict[str, Callable[[Path], int]] = {
    "Entry.copy, of an open ZipFile": by_copy,
    "Entry.copy, of a path": by_copy_from_path,
    "compressed anew, all cores": anew,
    "compressed anew, one core": lambda path: anew(path, workers=0),
    "compressed anew by zipfile": anew_by_zipfile,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="MiB of data; default: 64")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zipstream-benchmark-") as folder:
        path = Path(folder, "a.zip")
        total = archive_of(arguments.size * _MIB, path)
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        sizes = {}
        for _ in range(arguments.runs):
            for way, run in WAYS.items():
                begun = time.perf_counter()
                sizes[way] = run(path)
                seconds[way].append(time.perf_counter() - begun)
        print(f"{total / _MIB:.0f} MiB of text in an archive of {path.stat().st_size / _MIB:.1f} MiB")
        fastest = median(seconds["Entry.copy, of an open ZipFile"])
        for way, taken in seconds.items():
            middle = median(taken)
            print(
                f"{way:32} {middle:8.4f} s {total / 1e6 / middle:10,.0f} MB/s  x{middle / fastest:6.1f}  "
                f"{sizes[way] / _MIB:6.2f} MiB"
            )


if __name__ == "__main__":
    main()
