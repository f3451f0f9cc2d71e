"""A file that can be seeked beside another that is known to be right: the same calls, and what came of both.

``python -m tests.support.seeks SECONDS`` tries random ones for so long.
"""

from __future__ import annotations

import array
import io
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.remote_archives import Fetch, archive_of
from tests.support.strategies import noise
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.remote import open_remote

DATE = 1_700_000_000


class Pair(NamedTuple):
    """Two files, of which the first is known to be right.

    Attributes:
        is_raw: whether they have no buffer, so that they may give fewer bytes than they are asked for.
        is_member: whether the first is zipfile's, which takes numbers that are not whole, and then is lost.
    """

    right: Any
    ours: Any
    is_raw: bool = False
    is_member: bool = False


def layout_of(size: int) -> ZipLayout:
    entries = [Entry("a", noise(1, size), modified=DATE), Entry("b", [noise(2, 999)] * 9, size=8991, modified=DATE)]
    return ZipLayout([*entries, Entry("c/", modified=DATE)], chunk_size=5000)


def open_layout(place: Path, *, raw: bool = False) -> Pair:
    layout = layout_of(100_000)
    (place / "archive.zip").write_bytes(b"".join(layout.iter_range()))
    right = open(place / "archive.zip", "rb", buffering=0 if raw else -1)  # noqa: SIM115, closed by who asked
    ours = layout.open()
    return Pair(right, ours.detach() if raw else ours, is_raw=raw)


def open_raw_layout(place: Path) -> Pair:
    return open_layout(place, raw=True)


def open_stored_member(place: Path) -> Pair:
    data = archive_of((1 << 18, 5, 0))
    archive = open_remote(Fetch(data), size=len(data), part_size=1 << 16)
    return Pair(zipfile.ZipFile(io.BytesIO(data)).open("0.bin"), archive.open("0.bin"), is_member=True)


def open_small_member(place: Path) -> Pair:
    data = archive_of((3000, 5, 0))
    archive = open_remote(Fetch(data), size=len(data))
    archive.read("1.bin")
    return Pair(zipfile.ZipFile(io.BytesIO(data)).open("0.bin"), archive.open("0.bin"), is_member=True)


def open_deflated_member(place: Path) -> Pair:
    data = archive_of((1 << 18,), zipfile.ZIP_DEFLATED)
    archive = open_remote(Fetch(data), size=len(data))
    return Pair(zipfile.ZipFile(io.BytesIO(data)).open("0.bin"), archive.open("0.bin"), is_member=True)


PAIRS: list[Callable[[Path], Pair]] = [
    open_layout,
    open_raw_layout,
    open_stored_member,
    open_small_member,
    open_deflated_member,
]


class Calls:
    """Random calls of a file's methods."""

    def __init__(self, seed: int, *, well_formed: bool) -> None:
        self._random = random.Random(seed)
        self._well_formed = well_formed

    def _pick(self, good: list[Any], bad: list[Any]) -> Any:
        return self._random.choice(good if self._well_formed else [*good, *bad])

    def next(self) -> tuple[str, Callable[[Any], Any]]:
        pick = self._random
        kind = pick.choice(["seek", "seek", "read", "read", "readinto", "tell"])
        if kind == "seek":
            places = [0, 1, -1, pick.randrange(-400_000, 400_000), pick.randrange(120_000), 1 << 40, -(1 << 62)]
            offset = self._pick(places, [1.5, "5", None])
            whence = self._pick([0, 0, 0, 1, 1, 2, 2, -1, 5], [1.0, None])
            return f"seek({offset!r}, {whence!r})", lambda file: file.seek(offset, whence)
        if kind == "read":
            size = self._pick([0, 1, 30, 5000, 70_000, 300_000, -1], [-2, 1.5, "5"])
            return f"read({size!r})", lambda file: file.read(size)
        if kind == "readinto":
            make = self._pick([_bytearray, _array, _empty_array], [bytes, str])
            size = pick.choice([0, 4, 4000, 100_000])
            return f"readinto({make.__name__}({size}))", lambda file: _read_into(file, make(size))
        return "tell()", lambda file: file.tell()


def _bytearray(size: int) -> Any:
    return bytearray(size)


def _array(size: int) -> Any:
    return array.array("i", bytes(size))


def _empty_array(size: int) -> Any:
    return array.array("i")


def _read_into(file: Any, buffer: Any) -> Any:
    """What was read into the buffer."""
    count = file.readinto(buffer)
    return bytes(memoryview(buffer).cast("B")[:count]) if len(buffer) else b""


def outcome(call: Callable[[Any], Any], file: Any) -> Any:
    """What it gives, or the kind of exception that it raises."""
    try:
        return call(file)
    except (TypeError, ValueError, OSError, OverflowError, io.UnsupportedOperation) as exc:
        return TypeError if isinstance(exc, TypeError) else ValueError


def differences(pair: Pair, seed: int, count: int) -> list[str]:
    """The calls after which the files are not alike."""
    right, ours, is_raw, is_member = pair
    found, calls = [], Calls(seed, well_formed=is_member)
    for _ in range(count):
        name, call = calls.next()
        expected, got = outcome(call, right), outcome(call, ours)
        if is_raw and isinstance(got, bytes) and isinstance(expected, bytes) and got != expected:
            # It may give less at a time.
            if not got or not expected.startswith(got):
                found.append(f"{seed}: {name}")
            ours.seek(right.tell())
        elif expected != got:
            found.append(f"{seed}: {name}: {_brief(expected)} and {_brief(got)}")
        if found:
            break
    return found


def _brief(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)


def main(seconds: float) -> int:
    until, counts, bad = time.monotonic() + seconds, dict.fromkeys(PAIRS, 0), 0
    seed = random.randrange(1 << 30)
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < until:
            for opened in PAIRS:
                pair = opened(Path(place))
                for said in differences(pair, seed, 60):
                    bad += 1
                    sys.stdout.write(f"{opened.__name__} {said}\n")
                counts[opened] += 60
                pair.right.close()
                pair.ours.close()
                seed += 1
    sys.stdout.write(f"{ {opened.__name__: count for opened, count in counts.items()} } calls, {bad} differences\n")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(float(sys.argv[1]))))
