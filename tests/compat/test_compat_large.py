"""Gigabytes through the other libraries' interfaces, read front to back by bsdtar, and never held or stored."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator

import pytest

from tests.support.oracles import need
from zipstream_adapter.compat import aiozipstream, zipstream

pytestmark = [pytest.mark.large, pytest.mark.timeout(1800)]

GIB = 1 << 30
BLOCK = bytes(8 << 20)


def zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // len(BLOCK)):
        yield BLOCK


def size_of_all(chunks: Iterable[bytes]) -> int:
    """Bytes in all members, as bsdtar extracts them from a pipe."""
    command = f"{need('bsdtar')} -xOf - | wc -c"
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as counting:
        assert counting.stdin is not None and counting.stdout is not None
        for chunk in chunks:
            counting.stdin.write(chunk)
        counting.stdin.close()
        return int(counting.stdout.read())


@pytest.mark.parametrize(("gib", "allow_zip64"), [(2.0625, False), (2.0625, True), (4.25, False)])
def test_zipstream_from_an_iterable(gib: float, allow_zip64: bool) -> None:
    size = int(gib * GIB)
    z = zipstream.ZipFile(allowZip64=allow_zip64)
    z.write_iter("large", zeros(size))
    z.writestr("after", b"x")
    assert size_of_all(z) == size + 1
    assert [info.file_size for info in z.infolist()] == [size, 1]


def test_aiozipstream_past_4_gib() -> None:
    size = int(4.25 * GIB)
    files = [{"stream": zeros(size), "name": "large"}, {"stream": [b"x"], "name": "after"}]
    assert size_of_all(aiozipstream.ZipStream(files).stream()) == size + 1
