"""What holds for any entries, cut into any chunks, at any chunk_size and lookahead."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.strategies import SOURCES, Recipe, comments, cuttings, recipes
from zipstream_adapter import Entry, stream_zip

CHUNK_SIZES = st.sampled_from([0, 1, 7, 100, 1000, 65536])
LOOKAHEADS = st.sampled_from([0, 1, 50, 500, 65536])
COMMENTS = comments()
KNOWS_ITS_SIZE = {"bytes", "bytearray", "memoryview", "callable for bytes"}
# The sizes of a list's chunks are added up if that decides on the form of a member.
KNOWS_ITS_FORM = {*KNOWS_ITS_SIZE, "list", "list of bytearrays"}


def archive_of(made: Sequence[Recipe], **options: Any) -> bytes:
    return b"".join(stream_zip([recipe.entry() for recipe in made], **options))


def assert_holds(archive: bytes, made: Sequence[Recipe], comment: bytes = b"") -> None:
    """The standard library reads back just what the recipes say, in their order."""
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        assert reader.comment == comment
        assert reader.testzip() is None
        assert [info.filename for info in reader.infolist()] == [recipe.name for recipe in made]
        for info, recipe in zip(reader.infolist(), made, strict=True):
            assert reader.read(info) == recipe.data
            assert info.compress_type == recipe.method
            assert info.date_time == (*recipe.date.timetuple()[:5], recipe.date.second // 2 * 2)
            assert info.comment == recipe.options.get("comment", b"")
            assert recipe.options.get("extra", b"") in info.extra
            mode = recipe.options.get("mode")
            assert mode is None or info.external_attr >> 16 & 0o777 == mode
            assert not (info.flag_bits & 8 and not recipe.data)


@given(recipes(), CHUNK_SIZES, LOOKAHEADS, COMMENTS)
def test_members_equal_the_entries(made: list[Recipe], chunk_size: int, lookahead: int, comment: bytes) -> None:
    stream = stream_zip(
        [recipe.entry() for recipe in made], chunk_size=chunk_size, lookahead=lookahead, comment=comment
    )
    chunks = list(stream)
    assert all(type(chunk) is bytes and chunk for chunk in chunks)
    archive = b"".join(chunks)
    assert_holds(archive, made, comment)
    assert [(info.filename, info.file_size, info.CRC) for info in stream.infolist()] == [
        (info.filename, info.file_size, info.CRC) for info in zipfile.ZipFile(io.BytesIO(archive)).infolist()
    ]


@given(recipes(most=3), st.data(), LOOKAHEADS)
def test_the_cutting_and_the_kind_of_source_do_not_show(
    made: list[Recipe], choose: st.DataObject, lookahead: int
) -> None:
    once, again = [], []
    for recipe in made:
        # What a source knows of its size is a promise, and promises may show in a header.
        kinds = st.sampled_from(
            [kind for kind in SOURCES if (kind in KNOWS_ITS_SIZE) == (recipe.source in KNOWS_ITS_SIZE)]
        )
        once.append(recipe.entry(recipe.source, ()))
        again.append(recipe.entry(choose.draw(kinds), choose.draw(cuttings)))
    assert b"".join(stream_zip(once, lookahead=lookahead)) == b"".join(stream_zip(again, lookahead=lookahead))


def uncompressed(recipe: Recipe, kind: str, sizes: Sequence[int]) -> Entry:
    entry = recipe.entry(kind, sizes)
    return entry if recipe.is_dir else entry.replace(compression="none")


# Around the ends of whole blocks.
_BLOCKS = st.lists(st.sampled_from([0, 1, 65_534, 65_535, 65_536, 131_070, 131_071]), max_size=4).map(tuple)


@settings(max_examples=settings().max_examples // 2)
@given(
    recipes(methods=(zipfile.ZIP_STORED,), largest=200_000, most=3),
    st.data(),
    st.sampled_from([0, 50, 500, 65_536, 131_070]),
    CHUNK_SIZES.filter(lambda size: size != 1),
)
@pytest.mark.patient
def test_uncompressed_members_have_the_same_form_however_they_are_cut(
    made: list[Recipe], choose: st.DataObject, lookahead: int, chunk_size: int
) -> None:
    once, again = [], []
    for recipe in made:
        kinds = [kind for kind in SOURCES if (kind in KNOWS_ITS_FORM) == (recipe.source in KNOWS_ITS_FORM)]
        once.append(uncompressed(recipe, recipe.source, ()))
        again.append(uncompressed(recipe, choose.draw(st.sampled_from(kinds)), choose.draw(cuttings | _BLOCKS)))
    stream = stream_zip(again, lookahead=lookahead, chunk_size=chunk_size)
    expected = stream.size
    archive = b"".join(stream)
    assert archive == b"".join(stream_zip(once, lookahead=lookahead))
    assert expected in (None, len(archive))
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        for info, recipe in zip(reader.infolist(), made, strict=True):
            assert reader.read(info) == recipe.data
            has_descriptor = bool(info.flag_bits & 8)
            assert has_descriptor == (info.compress_type == zipfile.ZIP_DEFLATED)
            assert not has_descriptor or info.file_size + info.file_size // 65_535 * 5 <= info.compress_size
            if recipe.options.get("size") is not None or recipe.source in KNOWS_ITS_FORM or recipe.is_dir:
                complete = len(recipe.data) <= lookahead or recipe.options.get("crc32") is not None
                assert has_descriptor != complete
            else:
                assert has_descriptor == (len(recipe.data) > lookahead)


@given(recipes(most=3), CHUNK_SIZES, CHUNK_SIZES, LOOKAHEADS)
@pytest.mark.patient
def test_chunk_size_does_not_show(made: list[Recipe], one: int, other: int, lookahead: int) -> None:
    first = archive_of(made, chunk_size=one, lookahead=lookahead)
    assert archive_of(made, chunk_size=other, lookahead=lookahead) == first


@given(recipes(most=3), CHUNK_SIZES, st.lists(st.integers(0, 700) | st.just(None), max_size=30))
@pytest.mark.patient
def test_reading_and_iterating_give_the_same_bytes(
    made: list[Recipe], chunk_size: int, sizes: list[int | None]
) -> None:
    stream = stream_zip([recipe.entry() for recipe in made], chunk_size=chunk_size)
    parts: list[bytes] = []
    for size in sizes:
        # None stands for one step of iteration between the reads.
        part = next(stream, b"") if size is None else stream.read(size)
        assert size is None or len(part) <= size
        parts.append(part)
    parts.append(stream.read())
    assert stream.read() == stream.read(5) == b""
    assert b"".join(parts) == archive_of(made)


@given(recipes(most=2), st.integers(1, 300))
def test_read_gives_fewer_bytes_only_at_the_end(made: list[Recipe], size: int) -> None:
    stream = stream_zip([recipe.entry() for recipe in made], chunk_size=64)
    parts = list(iter(lambda: stream.read(size), b""))
    assert all(len(part) == size for part in parts[:-1])
    assert b"".join(parts) == archive_of(made)


@pytest.fixture(scope="module")
def _utf8_locale() -> Iterator[None]:
    """bsdtar gives up on names that its locale cannot write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@settings(max_examples=30)
@given(recipes(methods=(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)), LOOKAHEADS)
@pytest.mark.usefixtures("_utf8_locale")
@pytest.mark.parametrize("reader", ["unzip", "7z", "bsdtar"])
def test_outsiders_accept_any_archive(
    reader: str, tmp_path_factory: pytest.TempPathFactory, made: list[Recipe], lookahead: int
) -> None:
    archive = archive_of(made, lookahead=lookahead)
    target = tmp_path_factory.getbasetemp() / f"law-{reader}.zip"
    target.write_bytes(archive)
    verdict = oracles.BY_DIRECTORY[reader](target)
    # unzip takes an archive of nothing for a mistake.
    assert verdict or (reader == "unzip" and not made), verdict.said


_FIXED = """
import hashlib, os, sys
from pathlib import Path
from datetime import datetime
from zipstream_adapter import Entry, stream_zip

path = Path(sys.argv[1])
entries = [
    Entry("naive.txt", b"data", modified=datetime(2024, 7, 1, 12, 30, 20)),
    Entry("tuple.txt", [b"da", b"ta"], modified=(1999, 12, 31, 23, 59, 58)),
    Entry("stamp-\\u00e9\\u6f22.bin", bytes(range(256)) * 600, modified=1_700_000_000),
    Entry("\\u00e7a/", modified=0x40000000),
    Entry("promised.bin", lambda: iter([b"x" * 5] * 4), size=20, crc32=CRC, modified=1_000_000_000),
    Entry("level 0", (b"y" * n for n in range(700)), compression="deflate", level=0, modified=1_000_000_000),
    path,
]
archive = b"".join(stream_zip(entries, compression="stored", chunk_size=int(sys.argv[2])))
sys.stdout.write(hashlib.sha256(archive).hexdigest())
""".replace("CRC", str(zlib.crc32(b"x" * 20)))

# Of the archive above. Changes only where the format that is written is meant to change.
_FIXED_HASH = "ffcc4fe7999ded178402d47cfd639e6c99b7ec5efc4258af53f75447add037ec"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "XYZ+11:30"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_zone_and_locale_and_python_version_do_not_show(tmp_path: Path, zone: str, locale: str) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"from a file")
    path.chmod(0o640)
    os.utime(path, (1_600_000_001, 1_600_000_001))
    surroundings = {**os.environ, "TZ": zone, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [sys.executable, "-c", _FIXED, path, "4096"], env=surroundings, capture_output=True, timeout=200, check=True
    )
    assert done.stdout.decode() == _FIXED_HASH


def test_source_date_epoch_dates_what_has_no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    dated = b"".join(stream_zip([Entry("a", b"1", modified=1_700_000_000)]))
    assert b"".join(stream_zip([("a", b"1")])) == dated
