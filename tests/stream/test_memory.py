"""Memory does not grow with the data: measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest

from tests.support.peaks import PEAK
from zipstream_adapter import StreamingZipFile

pytest.importorskip("resource", reason="the peak is not told here")

MEGABYTE = 1_000_000

_PROBE = (
    PEAK
    + """
import io, zlib

from zipstream_adapter import StreamingZipFile, stream_zip

way, method, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
before = peak()
block = b"a line of text that compresses well, as logs do\\n" * 21845

def chunks():
    for _ in range(size // len(block) + 1):
        yield block[:-1] + b"."  # a fresh object each time

class Counter:
    total = 0
    def write(self, data):
        self.total += len(data)

target = Counter()
if way == "iterate":
    for chunk in stream_zip([("a", chunks())], compression=method, level=None if method == "stored" else 1):
        target.write(chunk)
elif way == "read":
    stream = stream_zip([("a", chunks())], compression=method, level=None if method == "stored" else 1)
    while chunk := stream.read(10_000):
        target.write(chunk)
elif way == "legacy":
    with StreamingZipFile(target, compression=method, compresslevel=1) as archive, archive.open("a", "w") as handle:
        for chunk in chunks():
            handle.write(chunk)
elif way == "hoard":
    hoard = list(stream_zip([("a", chunks())], compression=method, level=None if method == "stored" else 1))
    target.write(b"".join(hoard))
if method == "stored":
    assert target.total > size, target.total
sys.stdout.write(str(peak() - before))
"""
)


def growth(way: str, method: str, size: int, seconds: float = 100) -> int:
    """Bytes by which the peak of memory grew over the import."""
    command = [sys.executable, "-c", _PROBE, way, method, str(size)]
    # If threads wait for a core, glibc keeps up to 60 MB of freed memory, unless it is told how much to keep.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": str(1 << 17)}
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return int(done.stdout)


@pytest.mark.parametrize(
    ("way", "method"), [("iterate", "stored"), ("iterate", "deflate"), ("read", "stored"), ("legacy", "deflate")]
)
def test_peak_memory_does_not_grow_with_the_data(way: str, method: str) -> None:
    # On a busy machine more blocks wait for a core at a time; memory that grew with the data would grow in each try.
    assert any(growth(way, method, 300 * MEGABYTE) < 20 * MEGABYTE for _ in range(3))


def test_the_measurement_sees_memory_that_does_grow() -> None:
    assert growth("hoard", "stored", 50 * MEGABYTE) > 50 * MEGABYTE


@pytest.mark.large
@pytest.mark.timeout(600)
def test_peak_memory_over_8_gibibytes() -> None:
    assert growth("iterate", "stored", 8 << 30, seconds=500) < 20 * MEGABYTE


@pytest.mark.parametrize("method", ["deflate", "auto"])
def test_data_in_tiny_pieces_that_is_held_back_is_not_kept_twice(method: Any) -> None:
    archive = StreamingZipFile(compression=method, workers=0)
    piece = b"."
    with archive.open("a", "w") as member:
        tracemalloc.start()
        try:
            for _ in range(200_000):
                member.write(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    archive.close()
    assert peak < 5 * MEGABYTE
