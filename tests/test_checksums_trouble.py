"""ChecksumCache: what becomes of it when its file is not what it should be."""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import noise
from zipstream_adapter import ChecksumCache, OptionError, StreamStateError, checksums
from zipstream_adapter.checksums import checksum_of

DATA = noise(1, 300_000)
CRC = zlib.crc32(DATA)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were made a moment ago are remembered as well."""
    monkeypatch.setattr(checksums, "_SETTLED", -(10**18))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


# A file that is something else.


def _foreign_database(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (a)")
    database.commit()
    database.close()


def _of_another_version(path: Path) -> None:
    ChecksumCache(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()


OTHERS: dict[str, Callable[[Path], object]] = {
    "a byte": lambda path: path.write_bytes(b"\0"),
    "text": lambda path: path.write_bytes(b"text\n" * 1000),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "a cut database": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(84)),
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a database of something else": _foreign_database,
    "a ChecksumCache of another version": _of_another_version,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_cache_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    OTHERS[kind](path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(OptionError, match=r"other' is .*, and stays as it is: give another path") as caught:
        ChecksumCache(path)
    assert "ChecksumCache" in str(caught.value) or "something else" in str(caught.value)
    assert before is None or path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("path", [5, None, b"cache"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(OptionError, match="path="):
        ChecksumCache(path)


def test_an_empty_file_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    ChecksumCache(tmp_path / "cache").close()
    assert (tmp_path / "cache").stat().st_size > 0


# A database that cannot be used.


def said(action: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    assert all(warning.category is RuntimeWarning for warning in caught)
    return [str(warning.message) for warning in caught]


def use(cache: ChecksumCache, file: Path) -> None:
    for _ in range(3):
        assert checksum_of(file, cache)[0] == CRC


@pytest.mark.usefixtures("settled")
def test_one_that_cannot_be_made_says_so_once(file: Path, tmp_path: Path) -> None:
    def all_of_it() -> None:
        with ChecksumCache(tmp_path / "missing" / "cache") as cache:
            use(cache, file)
            assert cache.get(file, os.stat(file)) is None

    messages = said(all_of_it)
    assert len(messages) == 1
    assert "missing/cache') cannot be used, and remembers nothing: unable to open" in messages[0]


@pytest.mark.usefixtures("settled")
def test_one_that_has_failed_is_not_tried_at_every_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(RuntimeWarning):
        cache = ChecksumCache(tmp_path / "missing" / "cache")
    (tmp_path / "missing").mkdir()
    use(cache, file)
    assert list((tmp_path / "missing").iterdir()) == []
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    use(cache, file)
    assert cache.get(file, os.stat(file)) == CRC
    cache.close()


@pytest.mark.usefixtures("settled")
def test_a_row_that_is_not_as_it_was_written_is_none(file: Path, tmp_path: Path) -> None:
    checksum_of(file, cache := ChecksumCache(tmp_path / "cache"))
    for change in ("crc32 = crc32 + 1", f"crc32 = '{CRC}x'", "seal = NULL", "facts = NULL"):
        database = sqlite3.connect(tmp_path / "cache")
        database.execute(f"UPDATE checksums SET {change}")
        database.commit()
        database.close()
        assert cache.get(file, os.stat(file)) is None
        assert checksum_of(file, cache)[0] == CRC
        assert cache.get(file, os.stat(file)) == CRC
    cache.close()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("at_first", [True, False])
def test_one_that_is_locked_helps_again_later(
    at_first: bool, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache"
    ChecksumCache(path).close()
    locker = sqlite3.connect(path, isolation_level=None)
    caches = [] if at_first else [ChecksumCache(path, timeout=0.01)]
    if at_first:
        locker.execute("PRAGMA locking_mode = EXCLUSIVE")  # against readers as well
    locker.execute("BEGIN IMMEDIATE")

    def all_of_it() -> None:
        if at_first:
            caches.append(ChecksumCache(path, timeout=0.01))
        use(caches[0], file)

    messages = said(all_of_it)
    assert len(messages) == 1
    assert "locked" in messages[0]
    locker.close()
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    use(caches[0], file)
    assert caches[0].get(file, os.stat(file)) == CRC
    caches[0].close()


@pytest.mark.usefixtures("settled")
def test_one_that_has_become_something_else_meanwhile_is_left_alone(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = ChecksumCache(path)
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        cache._failed(OSError("for a moment"))
    path.write_bytes(b"something else" * 100)
    cache._rests_until = 0
    assert said(lambda: use(cache, file)) == []
    assert path.read_bytes() == b"something else" * 100


@given(data=st.data())
def test_no_damage_makes_it_give_a_wrong_checksum(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("damage")
    info = os.stat(__file__)
    names = [f"/files/{number}" for number in range(40)]
    with ChecksumCache(place / "cache") as cache:
        for number, name in enumerate(names):
            cache.put(name, info, number, opened=1 << 62)
    content = bytearray((place / "cache").read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(1, 600))
    content[at : at + length] = data.draw(st.binary(min_size=length, max_size=length))
    (place / "cache").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with ChecksumCache(place / "cache") as cache:
                found = [cache.get(name, info) for name in names]
        except OptionError:
            return
    assert all(crc in (None, number) for number, crc in enumerate(found))


def test_damage_that_makes_no_text_of_a_message_is_damage(tmp_path: Path) -> None:
    info = os.stat(__file__)
    with ChecksumCache(tmp_path / "cache") as cache:
        cache.put("/a", info, 7, opened=1 << 62)
    content = (tmp_path / "cache").read_bytes()
    at = content.index(b"CREATE TABLE")
    for place in range(at - 40, at + 40):
        (tmp_path / "cache").write_bytes(content[:place] + b"\x80" + content[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with ChecksumCache(tmp_path / "cache") as cache:
                    assert cache.get("/a", info) in (None, 7)
            except OptionError:
                continue


def test_a_closed_one_is_refused(file: Path, tmp_path: Path) -> None:
    cache = ChecksumCache(tmp_path / "cache")
    cache.close()
    cache.close()
    with pytest.raises(StreamStateError, match=r"cache'\) was closed"):
        cache.get(file, os.stat(file))
