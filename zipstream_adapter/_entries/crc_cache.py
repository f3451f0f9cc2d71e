"""ChecksumCache: keeps the CRC-32 of files from one archive to the next.

With it, a stored member from a file has a complete local file header however large it is, as its CRC-32 need not be
computed first. A cached CRC-32 is used only if `os.stat` shows that the file is unchanged, and is checked even then: if
the data has another CRC-32, the member fails and the cache forgets the file.
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
from itertools import repeat
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .._checks import shown_half_made
from .._compression.crc32 import fastest_crc32
from ..errors import OptionError, SourceChangedError, StreamStateError
from .entry import Entry
from .source import FILE_READ, FileFacts, OpenSource

if TYPE_CHECKING:
    import sqlite3
    from typing import Self

    from .types import StrPath

T = TypeVar("T")

_APPLICATION_ID = 0x7A636B73
_VERSION = 1
_SMALLEST = 512  # bytes of an SQLite database that is not empty
_CREATE = "CREATE TABLE checksums (path BLOB PRIMARY KEY, facts TEXT, crc32 INTEGER, seal INTEGER) WITHOUT ROWID"
_SCHEMA = [("table", "checksums", _CREATE)]
# Suffixes of the files that SQLite makes beside a database.
_BESIDE = ("-journal", "-wal", "-shm")
# Most bytes in a database row: a path and some numbers.
_MOST_BYTES = 1 << 20
# Limit of one query, in virtual machine steps: some tenths of a second. A normal query takes some hundred steps.
_STEPS, _MOST_TURNS = 1000, 1000
# Nanoseconds. A file modified less than this before it was read can be modified again without a change of its date:
# the coarsest file systems have a resolution of 2 seconds.
_SETTLED_NS = 2 * 10**9
# Seconds until a database that has failed is tried again.
_RETRY_AFTER_S = 30.0
# Connections made before a fork. This process must not close them.
_connections_of_parents: list[Any] = []


@shown_half_made
class ChecksumCache:
    """A cache of the CRC-32 of files, in a small SQLite database at `path`, which is created if missing.

    Each CRC-32 is stored under the file's absolute path. It is valid while the file's device, inode, size, modification
    time and change time (in nanoseconds) are the same. Files modified within the last 2 seconds before they were read
    are not cached, because a second change could leave the same date.

    Several threads and processes can use the same database. A process (with its forks) uses an object of its own, or
    an unpickled one. While the database is open, there are two more files beside `path`. When it is closed, it may be
    deleted. A database that is locked for more than `timeout` seconds, unwritable or damaged does not fail an archive:
    one RuntimeWarning is emitted, and nothing is cached until the database is tried again, after 30 seconds.

    Only its owner can open a new database, as it contains the paths of files. (To share it, first make an empty file
    with the mode wanted.) Others who can write to the database cannot use it to run code or to block this process: a
    database with anything but its own table is refused, and the length of queries is limited.

    Args:
        path: the database file.
        timeout: seconds to wait for a locked database.

    Raises:
        OptionError: `path` is another kind of file, or the database has other tables, views or triggers. The file is
            not changed.
        ImportError: Python has no sqlite3.
        StreamStateError: on use after `close`.
    """

    def __init__(self, path: StrPath, *, timeout: float = 1.0) -> None:
        import sqlite3

        if not isinstance(path, str | os.PathLike):
            raise OptionError(f"path={path!r}: give the path of the cache's file as a str or a path object")
        self.path: Any = os.path.abspath(path)
        self._timeout = timeout
        self._sqlite3 = sqlite3
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = self._has_warned = False
        self._retry_at = 0.0
        try:
            self._connection = self._connect()
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # a message of SQLite may quote damaged text
            self._failed(exc)

    def get(self, path: StrPath, info: os.stat_result) -> int | None:
        """Return the CRC-32 of the file at `path` if cached for the stat result `info`, else None."""
        key = _key(path)
        row = self._query(
            lambda db: db.execute("SELECT facts, crc32, seal FROM checksums WHERE path = ? LIMIT 1", (key,)).fetchone()
        )
        if row is None or row[0] != _facts(info) or row[2] != _seal(key, row[0], row[1]):
            return None
        return row[1] if type(row[1]) is int and 0 <= row[1] <= 0xFFFFFFFF else None

    def put(self, path: StrPath, info: os.stat_result, crc32: int, *, opened: int) -> None:
        """Cache the CRC-32 of the file at `path`, after all of its data was read.

        Args:
            info: the result of `os.fstat` for the opened file, the same before and after reading.
            opened: `time.time_ns()` when the file was opened, before reading.
        """
        if opened - max(info.st_mtime_ns, info.st_ctime_ns) <= _SETTLED_NS:
            return
        key, facts = _key(path), _facts(info)
        row = (key, facts, crc32, _seal(key, facts, crc32))
        self._query(lambda db: db.execute("INSERT OR REPLACE INTO checksums VALUES (?, ?, ?, ?)", row))

    def forget(self, path: StrPath) -> None:
        """Remove the file at `path` from the cache."""
        key = _key(path)
        self._query(lambda db: db.execute("DELETE FROM checksums WHERE path = ?", (key,)))

    def close(self) -> None:
        """Close the database. Any other use of the cache then raises StreamStateError."""
        self._reset_after_fork()
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

    def _query(self, question: Callable[[sqlite3.Connection], T]) -> T | None:
        """Return the result of `question`, or None if the database cannot be used."""
        self._reset_after_fork()
        with self._lock:
            if self._closed:
                raise StreamStateError(f"{self!r} was closed: make another one")
            if time.monotonic() < self._retry_at:
                return None
            try:
                if self._connection is None:
                    self._connection = self._connect()
                _limit_query(self._connection)
                return question(self._connection)
            except (self._sqlite3.Error, UnicodeDecodeError, OptionError) as exc:
                self._failed(exc)
                return None

    def _reset_after_fork(self) -> None:
        """After a fork, leave the connection, and a lock that may be held, to the parent process."""
        if self._process != os.getpid():
            _connections_of_parents.append(self._connection)  # keep a reference: dropping it would close it
            self._connection, self._lock, self._process = None, threading.Lock(), os.getpid()

    def _connect(self) -> sqlite3.Connection:
        self._check_file()
        connection = self._sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.setlimit(self._sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            _limit_query(connection)
            self._prepare(connection)
            connection.set_authorizer(_authorizer(self._sqlite3))
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_file(self) -> None:
        for name in _BESIDE:  # a named pipe would make SQLite wait
            beside = f"{os.path.realpath(self.path)}{name}"
            with suppress(OSError):
                if not stat.S_ISREG(os.stat(beside).st_mode):
                    raise OptionError(f"{beside!r} is in the way: SQLite needs a regular file there. Delete it")
        try:
            info = os.stat(self.path)
        except FileNotFoundError:
            _create_private(os.path.realpath(self.path))
            return
        except OSError:
            return  # SQLite raises the error
        # SQLite takes a file of a single byte for an empty database.
        if not stat.S_ISREG(info.st_mode) or 0 < info.st_size < _SMALLEST:
            raise self._not_a_cache()

    def _not_a_cache(self, what: str = "not a ChecksumCache") -> OptionError:
        return OptionError(f"{self.path!r} is {what}, and stays as it is: give another path")

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Check that the database is a ChecksumCache or empty, before writing to it."""
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        with _transaction(db, "DEFERRED"):
            is_new = self._is_new(db)
        if is_new:
            with _transaction(db, "IMMEDIATE"):
                if self._is_new(db):  # another process may have created it meanwhile
                    db.execute(_CREATE)
                    db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {_VERSION}")
        # If another process uses the file, this fails at once; that process sets the mode of the file anyway.
        with suppress(self._sqlite3.OperationalError):
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")

    def _is_new(self, db: sqlite3.Connection) -> bool:
        try:
            kind, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            # One row more than allowed is enough to refuse the database.
            found = db.execute(f"SELECT type, name, sql FROM sqlite_master LIMIT {len(_SCHEMA) + 1}").fetchall()
        except self._sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", None) != self._sqlite3.SQLITE_NOTADB:
                raise
            raise self._not_a_cache() from exc
        if (kind, version) == (_APPLICATION_ID, _VERSION):
            if found != _SCHEMA:
                raise self._not_a_cache("a ChecksumCache whose tables were changed")
            return False
        if kind or version or found:
            same = kind == _APPLICATION_ID
            raise self._not_a_cache("a ChecksumCache of another version" if same else "a database of something else")
        return True

    def _failed(self, exc: Exception) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._retry_at = time.monotonic() + _RETRY_AFTER_S
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{self!r} cannot be used, and remembers nothing: {exc}", RuntimeWarning, stacklevel=3)


def _create_private(path: str) -> None:
    """Make an empty file for SQLite that only its owner can open. SQLite gives the files beside it the same mode."""
    with suppress(OSError):  # made by another process; or impossible, and SQLite raises the error
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))


def _limit_query(db: sqlite3.Connection) -> None:
    """Limit the steps of the next query. A longer one fails with "interrupted".

    The handler runs no Python code, so that no KeyboardInterrupt is lost in it.
    """
    db.set_progress_handler(repeat(0, _MOST_TURNS).__next__, _STEPS)


def _authorizer(sqlite: Any) -> Callable[..., int]:
    """Return an authorizer that allows only our own queries, and nothing added by a view, a trigger or other table."""
    on_table = (sqlite.SQLITE_READ, sqlite.SQLITE_INSERT, sqlite.SQLITE_DELETE)

    def judge(action: int, first: str | None, second: str | None, database: str | None, inner: str | None) -> int:
        if action == sqlite.SQLITE_SELECT and inner is None:
            return int(sqlite.SQLITE_OK)
        ours = action in on_table and (first, database, inner) == ("checksums", "main", None)
        return int(sqlite.SQLITE_OK if ours else sqlite.SQLITE_DENY)

    return judge


@contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    """Run the queries of the block in one transaction."""
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
    # As text: a device or inode number may have more bits than an integer of SQLite.
    return f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"


def _seal(key: bytes, facts: str, crc32: int) -> int:
    """The checksum of a database row, which shows damage."""
    return zlib.crc32(f"{facts} {crc32}".encode(), zlib.crc32(key))


def is_unchanged(path: StrPath, info: os.stat_result) -> bool:
    """Whether the file at `path` still has the stat result `info`."""
    try:
        return _facts(os.stat(path)) == _facts(info)
    except OSError:
        return False


class Remembered:
    """The cache entry of a file that is being read.

    Attributes:
        crc32: the cached CRC-32, or None.
    """

    def __init__(self, cache: ChecksumCache, path: StrPath, facts: FileFacts) -> None:
        self._cache = cache
        self._path = os.path.abspath(path)
        self._facts = facts
        self.crc32 = cache.get(self._path, facts.stat)

    def found(self, crc32: int) -> None:
        """Cache the CRC-32, after the whole file was read."""
        if is_unchanged(self._path, self._facts.stat):
            self._cache.put(self._path, self._facts.stat, crc32, opened=self._facts.opened)

    def refuted(self, name: str) -> SourceChangedError:
        """Forget the file, as its data has another CRC-32. Returns the error for the entry `name`."""
        self._cache.forget(self._path)
        return SourceChangedError(
            f"entry {name!r}: {self._path!r} has other data than when its CRC-32 was remembered, with the same size "
            "and dates. It is forgotten: the next archive reads the file again"
        )


def checksum_of(path: StrPath, cache: ChecksumCache | None = None) -> tuple[int, os.stat_result]:
    """Return the CRC-32 of the file at `path`, and its stat result. The file is read if it is not in `cache`.

    Raises: SourceChangedError if the file changes while it is read; NotAFileError if it is not a regular file; OSError.
    """
    name = os.path.abspath(path).rstrip("/") or "."  # without the slash of a directory: opening one raises the error
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
        raise SourceChangedError(f"{os.fspath(path)!r} changed while its CRC-32 was computed: try again")
    if remembered is not None:
        remembered.found(crc)
    return crc, facts.stat
