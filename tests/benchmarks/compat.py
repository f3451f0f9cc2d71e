"""Programs that move in: many small members with the original library, and with our module of its interface.

    python -m tests.benchmarks.compat [--runs N] [--modules zipstream,push] [--kinds stored-120,...] [--plain]

Each run is a process of its own, in an environment that pip makes on first use; originals and ours take turns. The
clock runs around all that the program does: adding members, too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import io
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

from tests.benchmarks.environments import CHECKOUT, cache_folder, make
from tests.benchmarks.pushed import ZipStreamer

_DATE = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC)
_SHORT, _LONG, _FILES = 20_000, 20_000, 5_000
_FILE_SIZE = 2048
_TIMEOUT = 300
_WORDS = [f"{word}{number}" for number in range(40) for word in ("alpha", "be", "gamma ", "-delta", "\nline", "e=")]


@dataclass(frozen=True)
class Kind:
    """What is put into the archive. size: bytes of each member; files: whether they come by path."""

    name: str
    count: int
    size: int
    deflated: bool
    files: bool = False

    @property
    def method(self) -> int:
        return ZIP_DEFLATED if self.deflated else ZIP_STORED

    def members(self) -> list[tuple[str, bytes]]:
        return [(f"folder {number % 50}/member {number}.txt", self.data(number)) for number in range(self.count)]

    def data(self, number: int) -> bytes:
        at = number * 7
        words = []
        size = 0
        while size < self.size:
            words.append(_WORDS[(at * at + 31 * at) % len(_WORDS)])
            size += len(words[-1])
            at += 1
        return "".join(words)[: self.size].encode()

    def folder(self, cache: Path) -> Path:
        """A directory of the files, made where it is not there."""
        folder = cache / f"compat-{self.count}-{self.size}"
        if not (folder / "made").exists():
            for name, data in self.members():
                place = folder / "tree" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            (folder / "made").touch()
        return folder / "tree"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("stored-120", _SHORT, 120, False),
        Kind("stored-2k", _LONG, 2048, False),
        Kind("deflate-120", _SHORT, 120, True),
        Kind("deflate-2k", _LONG, 2048, True),
        Kind("files-stored", _FILES, _FILE_SIZE, False, files=True),
        Kind("files-deflate", _FILES, _FILE_SIZE, True, files=True),
    )
}
# Members as a program has them: (name, data or path).
Given = list[tuple[str, Any]]
Program = Callable[[Any, Kind, Given], Iterable[bytes]]


def _one(data: bytes) -> Iterator[bytes]:
    yield data


async def _one_later(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _later(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _drained(chunks: AsyncIterator[bytes]) -> list[bytes]:
    async def drained() -> list[bytes]:
        return [chunk async for chunk in chunks]

    return asyncio.run(drained())


def _zipstream(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    archive = module.ZipFile(mode="w", compression=kind.method)
    for name, data in given:
        if kind.files:
            archive.write(data, name)
        else:
            archive.writestr(name, data)
    return list(archive)


def _zipstream_iter(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    archive = module.ZipFile(mode="w", compression=kind.method)
    for name, data in given:
        archive.write_iter(name, _one(data))
    return list(archive)


def _aio_files(kind: Kind, given: Given, one: Callable[[bytes], Any]) -> list[dict[str, Any]]:
    how = {"compression": "deflate"} if kind.deflated else {}
    if kind.files:
        return [{"file": data, "name": name, **how} for name, data in given]
    return [{"stream": one(data), "name": name, **how} for name, data in given]


def _aiozipstream(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    return list(module.ZipStream(_aio_files(kind, given, _one)).stream())


def _aiozipstream_async(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    return _drained(module.AioZipStream(_aio_files(kind, given, _one_later)).stream())


def _zipstreamer(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    def file(name: str, data: Any) -> Any:
        if kind.files:
            return module.ZipFile(name, _FILE_SIZE, lambda: open(data, "rb"), _DATE, None)
        return module.ZipFile(name, len(data), lambda: io.BytesIO(data), _DATE, None)

    return list(module.ZipStream([file(*each) for each in given]).generate())


def _zipstream_ng(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    archive = module.ZipStream(compress_type=kind.method)
    for name, data in given:
        if kind.files:
            archive.add_path(data, name)
        else:
            archive.add(data, name)
    return list(archive)


def _zipstream_ng_iter(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    archive = module.ZipStream(compress_type=kind.method)
    for name, data in given:
        archive.add(_one(data), name)
    return list(archive)


def _read(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(65536):
            yield chunk


def _stream_zip(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    method = module.ZIP_32 if kind.deflated else module.NO_COMPRESSION_32
    read = _read if kind.files else _one
    return list(module.stream_zip((name, _DATE, 0o600, method, read(data)) for name, data in given))


def _stream_zip_async(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    method = module.ZIP_32 if kind.deflated else module.NO_COMPRESSION_32
    files = ((name, _DATE, 0o600, method, _one_later(data)) for name, data in given)
    return _drained(module.async_stream_zip(_later(files)))


def _zipfly(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    files = [
        module.LocalFile(data, name, kind.method) if kind.files else module.GenFile(name, _one(data), kind.method)
        for name, data in given
    ]
    return list(module.ZipFly(files).stream())


def _zipfly_async(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    files = [module.GenFile(name, _one_later(data), kind.method) for name, data in given]
    return _drained(module.ZipFly(files).async_stream())


def _push(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    streamer = module.ZipStreamer()
    chunks = []
    for name, data in given:
        streamer.put_file(name)
        streamer.write(Path(data).read_bytes() if kind.files else data)
        streamer.flush()
        chunks.append(streamer.read())
    streamer.close()
    return [*chunks, streamer.read()]


def _spideroak(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    return list(module.ZipStream(str(Path(given[0][1]).parent.parent), compression=kind.method))


def _spideroak_anew(module: Any, kind: Kind, given: Given) -> Iterable[bytes]:
    """Theirs is for Python 2 only: its code lives on in zipstream, which is driven here as it drives itself."""
    top = Path(given[0][1]).parent.parent
    archive = module.ZipFile(mode="w", compression=kind.method)
    for place in sorted(path for path in top.rglob("*") if path.is_file()):
        archive.write(str(place), str(place.relative_to(top.parent)))
    return list(archive)


@dataclass(frozen=True, kw_only=True)
class Moving:
    """A program. theirs: what pip installs, separated by spaces, and the module, or None for code that is no package.

    ours: our module; original: the program for theirs, where it is another.
    """

    name: str
    theirs: tuple[str, str] | None
    ours: str
    program: Program
    original: Program | None = None
    kinds: tuple[str, ...] = tuple(KINDS)


_MEMBERS = tuple(name for name, kind in KINDS.items() if not kind.files)
_IN_FILES = tuple(name for name, kind in KINDS.items() if kind.files)
_STORED = tuple(name for name, kind in KINDS.items() if not kind.deflated)
_ZIPSTREAM, _NEW = ("zipstream==1.1.4", "zipstream"), ("zipstream-new==1.1.8", "zipstream")
_AIO, _NG = ("aiozipstream==0.4 aiofiles", "zipstream"), ("zipstream-ng==1.9.3", "zipstream.ng")
_STREAM_ZIP, _FLY = ("stream-zip==0.0.84", "stream_zip"), ("zipFly64==1.5.3", "zipFly")
MOVING = [
    Moving(name="zipstream", theirs=_ZIPSTREAM, ours="zipstream", program=_zipstream),
    Moving(name="zipstream-new", theirs=_NEW, ours="zipstream", program=_zipstream),
    Moving(name="zipstream-new, write_iter", theirs=_NEW, ours="zipstream", program=_zipstream_iter, kinds=_MEMBERS),
    Moving(name="aiozipstream", theirs=_AIO, ours="aiozipstream", program=_aiozipstream),
    Moving(name="aiozipstream, async", theirs=_AIO, ours="aiozipstream", program=_aiozipstream_async),
    Moving(
        name="zipstreamer",
        theirs=("zipstreamer==0.1.3", "zipstreamer"),
        ours="zipstreamer",
        program=_zipstreamer,
        kinds=_STORED,
    ),
    Moving(name="zipstream-ng", theirs=_NG, ours="zipstream_ng", program=_zipstream_ng),
    Moving(name="zipstream-ng, iterables", theirs=_NG, ours="zipstream_ng", program=_zipstream_ng_iter, kinds=_MEMBERS),
    Moving(name="stream-zip", theirs=_STREAM_ZIP, ours="stream_zip", program=_stream_zip),
    Moving(name="stream-zip, async", theirs=_STREAM_ZIP, ours="stream_zip", program=_stream_zip_async, kinds=_MEMBERS),
    Moving(name="zipFly64", theirs=_FLY, ours="zipfly64", program=_zipfly),
    Moving(name="zipFly64, async", theirs=_FLY, ours="zipfly64", program=_zipfly_async, kinds=_MEMBERS),
    Moving(name="push", theirs=None, ours="push", program=_push, kinds=_STORED),
    Moving(
        name="spideroak",
        theirs=_ZIPSTREAM,
        ours="spideroak",
        program=_spideroak,
        original=_spideroak_anew,
        kinds=_IN_FILES,
    ),
]


def measure(name: str, kind: Kind, side: str, cache: Path) -> dict[str, float]:
    """One run, here. Seconds of the wall, and of all cores."""
    moving = next(each for each in MOVING if each.name == name)
    module: Any = PUSHED if moving.theirs is None else None
    program = moving.program
    if side != "theirs":
        module = importlib.import_module(f"zipstream_adapter.compat.{moving.ours}")
    elif moving.theirs is not None:
        module = importlib.import_module(moving.theirs[1])
        program = moving.original or program
    given: Given = kind.members()
    if kind.files:
        folder = kind.folder(cache)
        given = [(name, str(folder / name)) for name, _ in given]
    if program not in (_spideroak, _spideroak_anew):
        program(module, kind, given[:3])  # so that everything is imported
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    chunks = program(module, kind, given)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "written": sum(map(len, chunks))}


class PUSHED:
    """What the answer has."""

    ZipStreamer = ZipStreamer


def _run(python: Path, moving: Moving, kind: Kind, side: str, cache: Path) -> dict[str, float]:
    job = json.dumps([moving.name, kind.name, side, str(cache)])
    command = [str(python), "-m", "tests.benchmarks.compat", "--job", job]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{moving.name}, {kind.name}, {side}:\n{done.stderr}")
    said: dict[str, float] = json.loads(done.stdout)
    return said


def compare(moving: Moving, kind: Kind, runs: int, cache: Path, extra: str) -> str:
    """A line of the table."""
    pythons = {
        "theirs": make(cache, tuple(moving.theirs[0].split()), False) if moving.theirs else Path(sys.executable),
        "ours": make(cache, (extra,), False),
    }
    found: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
    for _ in range(runs):
        for side, python in pythons.items():
            found[side].append(_run(python, moving, kind, side, cache / "data"))
    cells = [f"{moving.name:26}", f"{kind.name:13}"]
    for clock in ("wall", "cpu"):
        theirs, ours = (median(run[clock] for run in found[side]) for side in ("theirs", "ours"))
        each = 1e6 / kind.count
        cells += [f"{theirs * each:7.1f}", f"{ours * each:7.1f}", f"x{theirs / ours:5.2f}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--modules", help="of " + ", ".join(dict.fromkeys(each.ours for each in MOVING)))
    parser.add_argument("--kinds", help="of " + ", ".join(KINDS))
    parser.add_argument("--plain", action="store_true", help="ours without the extra")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        name, kind, side, folder = json.loads(arguments.job)
        print(json.dumps(measure(name, KINDS[kind], side, Path(folder))))
        return
    modules = (arguments.modules or "").split(",")
    kinds = (arguments.kinds or ",".join(KINDS)).split(",")
    print("microseconds per member, medians: theirs, ours, and how many times as fast; by the wall, then in CPU time")
    for moving in MOVING:
        if arguments.modules and moving.ours not in modules:
            continue
        for name in (each for each in moving.kinds if each in kinds):
            extra = "." if arguments.plain else ".[fast]"
            print(compare(moving, KINDS[name], arguments.runs, arguments.cache, extra), flush=True)


if __name__ == "__main__":
    main()
