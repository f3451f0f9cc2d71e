"""Encrypted archives (AES-256, AE-2): how many times as fast as stream-zip and pyzipper, and what encryption takes.

    python -m tests.benchmarks.encryption [--runs N] [--cache DIR]

Each run is a process of its own, in an environment of its own, and they take turns. Where a library asks for sizes or
CRC-32s to store data, it gets them off the clock.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.benchmarks.corpora import CORPORA
from tests.benchmarks.environments import CHECKOUT, cache_folder, make

_MIB = 1 << 20
_DATE = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC)
_PASSWORD = "correct horse battery staple"


class Work(NamedTuple):
    """`members` of `size` bytes each; level: of deflate, None for stored."""

    members: int
    size: int
    level: int | None


WORKS = {
    "stored, 1 GiB": Work(1, 1024 * _MIB, None),
    "deflate 6, 32 MiB of text": Work(1, 32 * _MIB, 6),
    "stored, 2,000 x 120 bytes": Work(2000, 120, None),
}


def pieces(work: Work) -> list[bytes]:
    """What each member is made of."""
    if work.size < _MIB:
        return [bytes(range(work.size))]
    corpus = next(each for each in CORPORA if each.kind == "text")
    data = corpus.make(min(work.size, 32 * _MIB))
    return [data[at : at + _MIB] for at in range(0, len(data), _MIB)] * (work.size // len(data))


def ours(work: Work, data: list[bytes], crc: int, password: str | None = _PASSWORD) -> Iterator[bytes]:
    from zipstream_adapter import stream_zip

    method: Any = "stored" if work.level is None else "deflate"
    source: Any = data[0] if len(data) == 1 else data
    entries = [(str(number), source) for number in range(work.members)]
    return iter(stream_zip(entries, compression=method, level=work.level, password=password))


def without(work: Work, data: list[bytes], crc: int) -> Iterator[bytes]:
    return ours(work, data, crc, None)


def stream_zip(work: Work, data: list[bytes], crc: int) -> Iterator[bytes]:
    library = importlib.import_module("stream_zip")
    method = library.NO_COMPRESSION_64(work.size, crc) if work.level is None else library.ZIP_64
    files = [(str(number), _DATE, 0o600, method, data) for number in range(work.members)]
    made: Iterator[bytes] = library.stream_zip(
        files,
        chunk_size=_MIB,
        get_compressobj=lambda: zlib.compressobj(level=work.level or 0, wbits=-zlib.MAX_WBITS),
        password=_PASSWORD,
    )
    return made


class _Target:
    """A file that counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def pyzipper(work: Work, data: list[bytes], crc: int) -> Iterable[bytes]:
    library = importlib.import_module("pyzipper")
    method = library.ZIP_STORED if work.level is None else library.ZIP_DEFLATED
    target = _Target()
    with library.AESZipFile(target, "w", method, compresslevel=work.level, encryption=library.WZ_AES) as archive:
        archive.setpassword(_PASSWORD.encode())
        for number in range(work.members):
            with archive.open(str(number), "w", force_zip64=work.size > _MIB) as member:
                for piece in data:
                    member.write(piece)
    return [bytes(target.size)] if target.size < _MIB else []


Run = Callable[[Work, list[bytes], int], Iterable[bytes]]
CONTENDERS: dict[str, tuple[tuple[str, ...], Run]] = {
    "ours": ((".[fast,crypto]",), ours),
    "ours, without a password": ((".[fast,crypto]",), without),
    "stream-zip": (("stream-zip",), stream_zip),
    "pyzipper": (("pyzipper",), pyzipper),
}


def run_one(who: str, what: str) -> None:
    """In a process of its own: the seconds it takes."""
    work = WORKS[what]
    data = pieces(work)
    crc = 0
    for piece in data:
        crc = zlib.crc32(piece, crc)
    begun = time.perf_counter()
    for _ in CONTENDERS[who][1](work, data, crc):
        pass
    print(json.dumps(time.perf_counter() - begun))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(*arguments.one)
        return
    pythons = {who: make(arguments.cache, needs, fresh=False) for who, (needs, _) in CONTENDERS.items()}
    for what in WORKS:
        seconds: dict[str, list[float]] = {who: [] for who in CONTENDERS}
        for _ in range(arguments.runs):
            for who, python in pythons.items():
                command = [str(python), "-m", "tests.benchmarks.encryption", "--one", who, what]
                done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(done.stderr)
                seconds[who].append(json.loads(done.stdout))
        fastest = median(seconds["ours"])
        print(what)
        for who, taken in seconds.items():
            print(f"  {who:26} {median(taken):8.3f} s  x{median(taken) / fastest:5.2f}", flush=True)


if __name__ == "__main__":
    main()
