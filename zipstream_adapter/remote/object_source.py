"""Objects in a store as entry sources (extra ``s3``).

The store states size, date and checksum before the object is read; the data can be read from any offset.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from .._buffers import ChunkedFile
from .._checks import shown_half_made
from .._format.timestamps import clamped
from ..errors import OptionError, RemotePermissionError
from .background import call_in_time, run_in_time
from .objects import NO_DATE, ObjectVersion, StoreObject
from .s3_client import S3Object, stored_crc32
from .stores import check_store, checked_path, import_obstore, map_errors, object_name
from .waiting import WAITING, Waiting, call_within


@shown_half_made
@dataclass(frozen=True)
class FromStore:
    """Callable source that opens an object as a seekable file, if the object is unchanged.

    Can be pickled if the store can.

    Attributes:
        store: the obstore store.
        path: the object's path in the store.
        size: bytes.
        etag: the object's strong ETag; None if the store has none, so that size and date identify the object.
        modified: date of the last modification.
        deadline: seconds that a read may wait for the store; None for no limit.
    """

    store: Any
    path: str
    size: int
    etag: str | None
    modified: datetime
    deadline: float | None = None

    def __call__(self) -> io.RawIOBase:
        return _ObjectFile(self)

    def __hash__(self) -> int:
        return hash((self.path, self.size, self.etag, self.modified))

    def table_row(self) -> tuple[Any, ...]:
        """Return (class, store, the other fields …), as a `MemberTable` pickles many of them."""
        return FromStore, self.store, self.path, self.size, self.etag, self.modified, self.deadline

    @property
    def where(self) -> str:
        """Name of the object in errors."""
        return object_name(self.store, self.path)

    @property
    def data_tag(self) -> bytes | None:
        """Bytes that identify this version of the object; None if it has no strong ETag."""
        return None if self.etag is None else f"{self.path}\0{self.etag}".encode("utf-8", "surrogatepass")

    def as_object(self) -> StoreObject:
        """Return the object for reading its ranges, if it is unchanged."""
        version = ObjectVersion(self.size, self.etag, self.modified)
        waiting = WAITING._replace(deadline=self.deadline)
        return StoreObject(
            self.store, self.path, self.where, version, "its entry was made", "Make a new entry", waiting
        )


class _ObjectFile(ChunkedFile):
    """File over a FromStore's data. Sends no request before the first read."""

    def __init__(self, source: FromStore) -> None:
        super().__init__(source.size)
        self._source = source

    @cached_property
    def _object(self) -> StoreObject:
        return self._source.as_object()

    def _open(self, wanted: int) -> Any:
        return self._object.chunks(self._at, self._size)

    def _read(self, size: int) -> memoryview:
        try:
            if not self._size:
                self._object.confirm()  # no bytes will show that the object is unchanged
            return super()._read(size)
        except BaseException:
            self._drop()  # the request may be in an undefined state: start anew
            raise


def find(store: Any, path: str, options: Mapping[str, Any]) -> tuple[FromStore, dict[str, Any]]:
    """Return the object at `path` as a source, and an Entry's options for it.

    The options come from the store; `options` take precedence over them.

    Raises: as `Entry.from_store`.
    """
    obstore = import_obstore()
    check_store(store, "head")
    path = checked_path(path, repr(path))
    where = object_name(store, path)
    with call_within(_deadline_of(options)):
        with map_errors(where):
            meta = call_in_time(lambda: obstore.head_async(store, path), where)
        return source_and_options(store, meta, options)


def _deadline_of(options: Mapping[str, Any]) -> float | None:
    return Waiting.checked(0, options.get("deadline")).deadline


def source_and_options(
    store: Any, meta: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[FromStore, dict[str, Any]]:
    """Like `find`, for an object whose `meta` (obstore's ObjectMeta) is known.

    Makes at most one request: for the checksum, unless `options` give it or decline it.
    """
    etag = meta["e_tag"]
    if etag and type(store).__name__ == "AzureStore" and not etag.endswith('"'):
        etag = f'"{etag}"'  # Azure's listings leave out the quotes that its responses have
    # Objects with equal weak ETags can differ, and If-Match never matches a weak one (RFC 9110, 13.1.1).
    strong = etag if etag and not etag.startswith("W/") else None
    source = FromStore(store, meta["path"], meta["size"], strong, meta["last_modified"], _deadline_of(options))
    known: dict[str, Any] = {"size": source.size, "modified": date_of_object(store, source.modified), **options}
    known.pop("deadline", None)
    if known.pop("checksum", True) and "crc32" not in known:
        with call_within(source.deadline):
            known["crc32"] = _crc32_of(source)
    return source, known


def date_of_object(store: Any, date: datetime) -> datetime | None:
    """Return an object's date for an entry, clamped to the dates of the format; None if the server states none."""
    # A file of 1970 has that date; any other object of 1970 is one without a date.
    is_missing = date == NO_DATE and type(store).__name__ != "LocalStore"
    return None if is_missing else clamped(date.timestamp())


def _crc32_of(source: FromStore) -> int | None:
    """Return the CRC-32 that S3 stores; None for other stores, which keep another checksum or none."""
    if type(source.store).__name__ != "S3Store":
        return None
    try:
        etag, found = run_in_time(lambda: stored_crc32(S3Object(source.store, source.path)), source.where)
    except (
        OptionError,
        RemotePermissionError,
    ):  # the request is not possible or not permitted: the CRC-32 is computed while the data is read
        return None
    return found if etag == source.etag else None
