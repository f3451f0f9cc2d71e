"""A file that stands at its end gives an empty member, as it does in the other libraries."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.support import oracles
from zipstream_adapter.compat import aiozipstream, stream_zip, zipstream, zipstream_ng, zipstreamer

DATE = datetime(2021, 1, 1, 21, 1, 12)


def in_memory() -> Any:
    file = io.BytesIO()
    file.write(b"data")
    return file


def temporary() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(b"data")
    return file


def of_zipstream(file: Any) -> bytes:
    z = zipstream.ZipFile()
    z.write_iter("a", file)
    return b"".join(z)


def of_zipstream_ng(file: Any) -> bytes:
    z = zipstream_ng.ZipStream()
    z.add(file, "a")
    return bytes(z)


def of_zipstreamer(file: Any) -> bytes:
    return b"".join(zipstreamer.ZipStream([zipstreamer.ZipFile("a", None, lambda: file, None, None)]).generate())


def of_stream_zip(file: Any) -> bytes:
    return b"".join(stream_zip.stream_zip([("a", DATE, 0o600, stream_zip.ZIP_32, file)]))


def of_aiozipstream(file: Any) -> bytes:
    return b"".join(aiozipstream.ZipStream([{"stream": file, "name": "a"}]).stream())


WAYS = [of_zipstream, of_zipstream_ng, of_zipstreamer, of_stream_zip, of_aiozipstream]


@pytest.mark.parametrize("make", [in_memory, temporary])
@pytest.mark.parametrize("way", WAYS)
def test_a_file_at_its_end_is_an_empty_member(way: Callable[[Any], bytes], make: Callable[[], Any]) -> None:
    with make() as file:
        assert oracles.members(way(file)) == {"a": b""}
    with make() as file:
        file.seek(1)
        assert oracles.members(way(file)) == {"a": b"ata"}
