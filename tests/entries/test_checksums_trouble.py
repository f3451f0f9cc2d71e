"""ChecksumCache: what becomes of it when its file is not what it should be."""

from __future__ import annotations

import os
import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cached_files import CRC
from zipstream_adapter import ChecksumCache, OptionError, StreamStateError
from zipstream_adapter._entries import crc_cache as checksums
from zipstream_adapter._entries.crc_cache import checksum_of

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


def _changed(*statements: str) -> Callable[[Path], None]:
    """A ChecksumCache whose tables somebody else has changed."""

    def make(path: Path) -> None:
        ChecksumCache(path).close()
        _change(path, *statements)

    return make


def _change(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


ENDLESS = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT n FROM x"
ENDLESS_VIEW = f"CREATE VIEW checksums AS SELECT n AS path, n AS facts, n AS crc32, n AS seal FROM ({ENDLESS})"
ENDLESS_TRIGGER = f"CREATE TRIGGER t BEFORE INSERT ON checksums BEGIN SELECT max(n) FROM ({ENDLESS}); END"
CHANGED = {
    "an endless view": ("ALTER TABLE checksums RENAME TO t", ENDLESS_VIEW),
    "a view alone": ("DROP TABLE checksums", ENDLESS_VIEW),
    "an endless trigger": (ENDLESS_TRIGGER,),
    "another table": ("CREATE TABLE other (a)",),
    "another index": ("CREATE INDEX other ON checksums (seal)",),
    "a column that is computed": (
        "DROP TABLE checksums",
        "CREATE TABLE checksums (path BLOB PRIMARY KEY, facts TEXT, crc32 INTEGER, seal AS (crc32)) WITHOUT ROWID",
    ),
    "no table": ("DROP TABLE checksums",),
}

OTHERS: dict[str, Callable[[Path], object]] = {
    "a byte": lambda path: path.write_bytes(b"\0"),
    "text": lambda path: path.write_bytes(b"text\n" * 1000),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "a cut database": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(84)),
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a database of something else": _foreign_database,
    "a ChecksumCache of another version": _of_another_version,
    "a link to a pipe": _link_to_a_pipe,
    **{f"a ChecksumCache with {kind}": _changed(*statements) for kind, statements in CHANGED.items()},
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
    assert {item.name for item in tmp_path.iterdir()} <= {"other", "pipe"}


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("kind", CHANGED)
def test_what_is_put_into_a_cache_that_is_open_is_never_run(kind: str, file: Path, tmp_path: Path) -> None:
    """Neither is a question answered by it, nor does one take long."""
    path = tmp_path / "cache"
    info = os.stat(file)
    with ChecksumCache(path) as cache:
        cache.put(file, info, CRC, opened=1 << 62)
        assert cache.get(file, info) == CRC
        _change(path, *CHANGED[kind])
        answers: list[int | None] = []

        def use_it() -> None:
            answers.append(cache.get(file, info))
            cache.put(file, info, CRC + 1, opened=1 << 62)
            cache.forget(file)
            answers.append(cache.get(file, info))

        messages = said(use_it)
        assert set(answers) <= {None, CRC}
    if kind in ("another table", "another index"):
        return  # of these nothing is asked
    assert len(messages) == 1
    assert "cannot be used, and remembers nothing" in messages[0]


def test_a_question_that_would_take_for_ever_is_interrupted() -> None:
    database = sqlite3.connect(":memory:")
    for _ in range(2):
        checksums._limit_query(database)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            database.execute(f"SELECT max(n) FROM ({ENDLESS})").fetchone()
    database.close()


@pytest.mark.parametrize("name", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_stands_where_sqlite_puts_its_own_files_is_said(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    """SQLite waits for the other end of a named pipe."""
    path = tmp_path / "cache"
    ChecksumCache(path).close()
    make(tmp_path / f"cache{name}")
    with pytest.raises(OptionError, match=f"cache{name}' is in the way"):
        ChecksumCache(path)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "change",
    [
        "facts = hex(zeroblob(5000000))",
        "facts = zeroblob(5000000)",
        "facts = CAST(x'ff80' AS TEXT)",
        "crc32 = 1 << 40",
        "crc32 = -1",
        "crc32 = 1.5",
        "crc32 = x'00', seal = 'text'",
    ],
)
def test_a_row_of_anything_else_is_none(change: str, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with ChecksumCache(path) as cache:
        checksum_of(file, cache)
        database = sqlite3.connect(path)
        database.create_function("seal_of", 3, lambda key, facts, crc: checksums._seal(key, str(facts), crc))
        database.execute(f"UPDATE checksums SET {change}")
        if change.startswith("crc32") and "seal" not in change:  # by somebody who knows how to seal
            database.execute("UPDATE checksums SET seal = seal_of(path, facts, crc32)")
        database.commit()
        database.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert cache.get(file, os.stat(file)) is None
            assert checksum_of(file, cache)[0] == CRC


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("link", [False, True])
def test_a_new_database_is_private_and_an_empty_file_keeps_its_mode(link: bool, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    if link:
        path.symlink_to("elsewhere")
    shared = tmp_path / "shared"
    mask = os.umask(0)
    try:
        shared.touch(0o660)
        for place, mode in ((path, 0o600), (shared, 0o660)):
            with ChecksumCache(place) as cache:
                checksum_of(file, cache)
                beside = [it for it in tmp_path.iterdir() if it.name.startswith(place.resolve().name)]
                assert len(beside) > 1
                assert {it.stat().st_mode & 0o777 for it in beside} == {mode}
    finally:
        os.umask(mask)


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
    cache._retry_at = 0
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
