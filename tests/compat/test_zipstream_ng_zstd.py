"""compat.zipstream_ng with ZIP_ZSTANDARD: as zipstream-ng has it on Python 3.14, on every Python."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

import pytest

from tests.support import oracles
from tests.support.strategies import cut, words
from zipstream_adapter.compat import zipstream_ng
from zipstream_adapter.compat.zipstream_ng import ZIP_ZSTANDARD, ZSTANDARD_VERSION, ZipStream

TEXT = words(3, 400_000)


@pytest.fixture(autouse=True)
def _library() -> None:
    oracles.need_zstd()


def test_the_constants() -> None:
    assert (ZIP_ZSTANDARD, ZSTANDARD_VERSION) == (93, 63)
    assert {"ZIP_ZSTANDARD", "ZSTANDARD_VERSION"} <= set(zipstream_ng.__all__)


@pytest.mark.parametrize("level", [None, -7, 0, 22])
def test_a_program_of_its_documentation(level: int | None, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text").write_bytes(TEXT[:9000])
    stream = ZipStream.from_path(tmp_path / "files", compress_type=ZIP_ZSTANDARD, compress_level=level)
    stream.add(iter(cut(TEXT, [70_000])) if level != 22 else TEXT[:9000], "generated")
    stream.add(None, "empty")
    stream.mkdir("folder")
    stream.add(b"stored", "stored", compress_type=ZIP_STORED)
    stream.add(TEXT, "deflated", compress_type=ZIP_DEFLATED, compress_level=1)
    queued = {each["name"]: each for each in stream.info_list()}
    assert (queued["generated"]["compress_type"], queued["generated"]["compress_level"]) == (93, level)
    assert not stream.sized
    archive = bytes(stream)
    with oracles.zstd_zipfile().ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        found = {info.filename: (info.compress_type, info.extract_version) for info in opened.infolist()}
        assert opened.read("files/text") == TEXT[:9000]
    assert {name: method for name, (method, _) in found.items()} == {
        "files/text": 93, "generated": 93, "empty": 93, "folder/": 0, "stored": 0, "deflated": 8,
    }  # fmt: skip
    assert found["files/text"][1] == ZSTANDARD_VERSION
    assert [each["compress_type"] for each in stream.info_list()] == [method for method, _ in found.values()]


@pytest.mark.parametrize("level", [-131073, 23, 100])
@pytest.mark.parametrize(
    "make",
    [
        lambda level: ZipStream(compress_type=ZIP_ZSTANDARD, compress_level=level),
        lambda level: ZipStream().add(b"", "a", compress_type=ZIP_ZSTANDARD, compress_level=level),
        lambda level: ZipStream(compress_type=ZIP_ZSTANDARD).add(b"", "a", compress_level=level),
        lambda level: ZipStream().add_path(".", compress_type=ZIP_ZSTANDARD, compress_level=level),
    ],
)
def test_a_level_that_there_is_not(make: Callable[[int], Any], level: int) -> None:
    with pytest.raises(ValueError, match="use -131072 to 22"):
        make(level)


def test_a_sized_stream_cannot_have_it() -> None:
    with pytest.raises(ValueError, match="Cannot use compression"):
        ZipStream(sized=True, compress_type=ZIP_ZSTANDARD)
    with pytest.raises(ValueError, match="Cannot use compression"):
        ZipStream(sized=True).add(b"", "a", compress_type=ZIP_ZSTANDARD)
