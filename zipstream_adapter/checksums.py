"""ChecksumCache: the CRC-32 of files, remembered from one archive to the next.

With it a stored member from a file has a complete header, however large it is: its checksum need not be found first.
What is remembered holds for a file that is exactly what it was, as `os.stat` tells. It is never trusted beyond that: a
file that gives another CRC-32 fails its member, and is forgotten.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .checksum import fastest_crc32
from .entry import Entry
from .errors import OptionError, SourceChangedError, StreamStateError
from .source import FILE_READ, FileFacts, OpenSource

if TYPE_CHECKING:
    import sqlite3
    from typing import Self

    from .entry import StrPath

T = TypeVar("T")

_APPLICATION_ID = 0x7A636B73
_VERSION = 1
_SMALLEST = 512  # bytes of an SQLite database that is not empty
_CREATE = "CREATE TABLE checksums (path BLOB PRIMARY KEY, facts TEXT, crc32 INTEGER, seal INTEGER) WITHOUT ROWID"
# What was modified less than this before it was read can be modified again without its date showing that: the
# coarsest file systems count in steps of 2 seconds.
_SETTLED = 2 * 10**9
# Seconds until a database that has failed is asked again.
_REST = 30.0
_of_other_processes: list[Any] = []


class ChecksumCache:
    """The CRC-32 of files, in a small SQLite database at `path`, which is made where there is none.

    Each is kept under the file's absolute path, and holds while its device, inode, size and dates (of modification and
    of change, in nanoseconds) are the same. Nothing is kept of a file that was modified within the last 2 seconds
    before it was read, since a second change could hide behind the same date.

    Several threads and processes can use the same database, each process (and what it forks) by its own object, or
    one that was pickled. Beside `path` there are two more files while it is open. It can be deleted at any time when
    it is not. A database that is locked for more than `timeout` seconds, unwritable or damaged is no failure: that is
    said once, by a RuntimeWarning, and nothing is remembered meanwhile; it is tried again after half a minute.

    Raises:
        OptionError where `path` is a file that is no such database: it is left as it is. ImportError where Python has
        no sqlite3. StreamStateError on use after `close`.
    """

    def __init__(self, path: StrPath, *, timeout: float = 1.0) -> None:
        import sqlite3

        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"path={path!r}: give the path of the cache's own file")
        self.path: Any = os.path.abspath(path)
        self._timeout = timeout
        self._sqlite3 = sqlite3
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = self._told = False
        self._rests_until = 0.0
        try:
            self._connection = self._connect()
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # where a message quotes what is damaged
            self._failed(exc)

    def get(self, path: StrPath, info: os.stat_result) -> int | None:
        """The CRC-32 of the file at `path`, if it is remembered as one of which `os.fstat` says `info`."""
        key = _key(path)
        row = self._asked(
            lambda db: db.execute("SELECT facts, crc32, seal FROM checksums WHERE path = ?", (key,)).fetchone()
        )
        if row is None or row[0] != _facts(info) or row[2] != _seal(key, row[0], row[1]):
            return None
        return row[1] if type(row[1]) is int else None

    def put(self, path: StrPath, info: os.stat_result, crc32: int, *, opened: int) -> None:
        """Remember the CRC-32 of the file at `path`, all of whose data was read.

        Args:
            info: what `os.fstat` said of the opened file, before it was read and after that.
            opened: when that was, before the first was read: `time.time_ns()`.
        """
        if opened - max(info.st_mtime_ns, info.st_ctime_ns) <= _SETTLED:
            return
        key, facts = _key(path), _facts(info)
        row = (key, facts, crc32, _seal(key, facts, crc32))
        self._asked(lambda db: db.execute("INSERT OR REPLACE INTO checksums VALUES (?, ?, ?, ?)", row))

    def forget(self, path: StrPath) -> None:
        """Remember nothing of the file at `path`."""
        key = _key(path)
        self._asked(lambda db: db.execute("DELETE FROM checksums WHERE path = ?", (key,)))

    def close(self) -> None:
        """Let go of the database."""
        self._mind_forks()
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (type(self), self.path, self._timeout)

    def __repr__(self) -> str:
        return f"ChecksumCache({self.path!r})"

    def _asked(self, question: Callable[[sqlite3.Connection], T]) -> T | None:
        """What the database says; None where it cannot be asked."""
        self._mind_forks()
        with self._lock:
            if self._closed:
                raise StreamStateError(f"{self!r} was closed")
            if time.monotonic() < self._rests_until:
                return None
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return question(self._connection)
            except (self._sqlite3.Error, UnicodeDecodeError, OptionError) as exc:
                self._failed(exc)
                return None

    def _mind_forks(self) -> None:
        """A connection, and a lock that may be held, stay with the process that has made them."""
        if self._process != os.getpid():
            _of_other_processes.append(self._connection)  # to drop it would close it here
            self._connection, self._lock, self._process = None, threading.Lock(), os.getpid()

    def _connect(self) -> sqlite3.Connection:
        self._check_file()
        connection = self._sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_file(self) -> None:
        try:
            info = os.stat(self.path)
        except OSError:
            return  # there is none; or what SQLite says of it
        # Of a single byte SQLite would think nothing.
        if not stat.S_ISREG(info.st_mode) or 0 < info.st_size < _SMALLEST:
            raise self._no_cache()

    def _no_cache(self, what: str = "no ChecksumCache") -> OptionError:
        return OptionError(f"{self.path!r} is {what}, and stays as it is: give another path")

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Check that the database is ours, or nobody's, before anything is written to it."""
        with _transaction(db, "DEFERRED"):
            is_new = self._is_new(db)
        if is_new:
            with _transaction(db, "IMMEDIATE"):
                if self._is_new(db):  # another process may have been faster
                    db.execute(_CREATE)
                    db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {_VERSION}")
        # Where another process is at it, this waits for nothing: the mode is the file's, and then changed anyway.
        with suppress(self._sqlite3.OperationalError):
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")

    def _is_new(self, db: sqlite3.Connection) -> bool:
        try:
            kind, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except self._sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode != self._sqlite3.SQLITE_NOTADB:
                raise
            raise self._no_cache() from exc
        if (kind, version) == (_APPLICATION_ID, _VERSION):
            return False
        if kind or version or tables:
            same = kind == _APPLICATION_ID
            raise self._no_cache("a ChecksumCache of another version" if same else "a database of something else")
        return True

    def _failed(self, exc: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._rests_until = time.monotonic() + _REST
        if not self._told:
            self._told = True
            warnings.warn(f"{self!r} cannot be used, and remembers nothing: {exc}", RuntimeWarning, stacklevel=3)


@contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    """All that is asked within is of one state of the database."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        db.rollback()
        raise
    db.execute("COMMIT")


def _opened(kind: type[ChecksumCache], path: str, timeout: float) -> ChecksumCache:
    return kind(path, timeout=timeout)


def _key(path: StrPath) -> bytes:
    return os.fsencode(os.path.abspath(path))


def _facts(info: os.stat_result) -> str:
    # As text: a device or an inode may have more bits than a number of SQLite's.
    return f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"


def _seal(key: bytes, facts: str, crc32: int) -> int:
    """What shows that a row is as it was written."""
    return zlib.crc32(f"{facts} {crc32}".encode(), zlib.crc32(key))


def is_unchanged(path: StrPath, info: os.stat_result) -> bool:
    """Whether the file of which `os.fstat` said `info` still is at `path`, and is what it was."""
    try:
        return _facts(os.stat(path)) == _facts(info)
    except OSError:
        return False


class Remembered:
    """What a cache knows of a file that is being read.

    Attributes:
        crc32: its CRC-32, or None.
    """

    def __init__(self, cache: ChecksumCache, path: StrPath, facts: FileFacts) -> None:
        self._cache = cache
        self._path = os.path.abspath(path)
        self._facts = facts
        self.crc32 = cache.get(self._path, facts.stat)

    def found(self, crc32: int) -> None:
        """The file was read whole, and has this CRC-32."""
        if is_unchanged(self._path, self._facts.stat):
            self._cache.put(self._path, self._facts.stat, crc32, opened=self._facts.opened)

    def refuted(self, name: str) -> SourceChangedError:
        """The file has given something else: forget it. name: its entry's."""
        self._cache.forget(self._path)
        return SourceChangedError(
            f"entry {name!r}: {self._path!r} has other data than when its CRC-32 was remembered, under the same size "
            "and dates. It is forgotten: the next archive reads the file anew"
        )


def checksum_of(path: StrPath, cache: ChecksumCache | None = None) -> tuple[int, os.stat_result]:
    """The CRC-32 of the file at `path`, and what `os.fstat` says of it. Read, where `cache` does not remember it.

    Raises SourceChangedError where it changes while it is read, NotAFileError where it is none, OSError.
    """
    name = os.path.abspath(path).rstrip("/") or "."  # no directory's: that it may be one is found by opening it
    source = OpenSource(Entry(name, PurePath(path)), FILE_READ)
    try:
        facts = source.facts
        assert facts is not None
        remembered = Remembered(cache, path, facts) if cache is not None else None
        if remembered is not None and remembered.crc32 is not None:
            return remembered.crc32, facts.stat
        crc32, crc, size = fastest_crc32(), 0, 0
        for chunk in source:
            crc = crc32(chunk, crc)
            size += len(memoryview(chunk))
    finally:
        source.close()
    if not is_unchanged(path, facts.stat) or size != facts.size:
        raise SourceChangedError(f"{os.fspath(path)!r} changed while its CRC-32 was computed")
    if remembered is not None:
        remembered.found(crc)
    return crc, facts.stat
