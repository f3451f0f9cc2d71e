"""Objects in a store as sources: what one says before it is read, and its data from any place on (extra ``s3``)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import OptionError, RemoteConnectionError, RemotePermissionError, SourceChangedError
from .remote_store import check_store, checked_path, import_obstore, shown_in, translated, translating
from .upload_s3 import Signer, stored_crc32

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Bytes that a piece of a body has at least, but for the last.
_PIECE = 1 << 18
# How often a body that breaks off is asked for again, each time it does so without having given anything.
_TRIES = 3


@dataclass(frozen=True)
class FromStore:
    """Opens an object, if it is what it was: a seekable file of its data. Can be pickled where its store can.

    etag: as the store has it; None where it has none by which it would refuse another object.
    """

    store: Any
    path: str
    size: int
    etag: str | None
    modified: datetime

    def __call__(self) -> io.RawIOBase:
        return _ObjectFile(self)

    def __hash__(self) -> int:
        return hash((self.path, self.size, self.etag, self.modified))

    @property
    def where(self) -> str:
        """The object, as an error shows it."""
        return shown_in(self.store, self.path)

    @property
    def tag(self) -> bytes | None:
        """What names these very bytes of this very object; None where nothing does."""
        return None if self.etag is None else f"{self.path}\0{self.etag}".encode("utf-8", "surrogatepass")

    def opened(self, start: int) -> Iterator[Buffer]:
        """Its data from `start` on."""
        options: dict[str, Any] = {}
        if self.etag is not None:
            options["if_match"] = self.etag
        if start:
            options["range"] = {"offset": start}
        try:
            found = import_obstore().get(self.store, self.path, options=options)
        except Exception as exc:
            raise self.failed(exc) from None
        meta = found.meta
        if meta["size"] != self.size or (self.etag is None and meta["last_modified"] != self.modified):
            raise self._changed()
        chunks: Iterator[Buffer] = found.stream(min_chunk_size=_PIECE)
        return chunks

    def failed(self, exc: Exception) -> Exception:
        """What obstore has raised, as an error of this package."""
        error = translated(exc, self.where)
        # It asks by itself for what is left of a body that has broken off, and says then what If-Match made of it.
        replaced = isinstance(error, SourceChangedError) or "412 Precondition" in str(error)
        return self._changed() if replaced else error

    def _changed(self) -> SourceChangedError:
        return SourceChangedError(
            f"{self.where} has changed since its entry was made: another has taken its place. Make the entry anew"
        )


class _ObjectFile(io.RawIOBase):
    """A FromStore's data. Nothing is asked for before it is read; a body that breaks off is asked for again."""

    def __init__(self, source: FromStore) -> None:
        self._source = source
        self._at = 0
        self._chunks: Iterator[Buffer] | None = None
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if base + offset != self._at:
            self._drop()
            self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        if not self._left:
            self._left = self._next()
        with memoryview(buffer) as view, view.cast("B") as target:
            count = min(len(target), len(self._left))
            target[:count] = self._left[:count]
        self._left = self._left[count:]
        self._at += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, as they come; b"" at the end."""
        if size is None or size < 0:
            return self.readall()
        if not self._left:
            self._left = self._next()
        part, self._left = bytes(self._left[:size]), self._left[size:]
        self._at += len(part)
        return part

    def _next(self) -> memoryview:
        """The next piece; nothing at the end."""
        failure: Exception | None = None
        for _ in range(_TRIES):
            if self._at and self._at >= self._source.size:
                break
            try:
                if self._chunks is None:
                    self._chunks = self._source.opened(self._at)
                piece = next(self._chunks, None)
            except Exception as exc:
                failure = self._source.failed(exc)
                self._drop()
                if not isinstance(failure, RemoteConnectionError):
                    break
            else:
                return memoryview(b"" if piece is None else piece)
        if failure is not None:
            raise failure from None
        return memoryview(b"")

    def _drop(self) -> None:
        """Let go of the connection, in the midst of the body."""
        self._chunks = None
        self._left = memoryview(b"")

    def close(self) -> None:
        self._drop()
        super().close()


def find(store: Any, path: str, options: Mapping[str, Any]) -> tuple[FromStore, dict[str, Any]]:
    """The object at `path`, as a source, and an Entry's options: what the store says of it, but for `options`.

    Raises as `Entry.from_store`.
    """
    obstore = import_obstore()
    check_store(store, "head")
    path = checked_path(path, repr(path))
    with translating(shown_in(store, path)):
        meta = obstore.head(store, path)
    return described(store, meta, options)


def described(store: Any, meta: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[FromStore, dict[str, Any]]:
    """Likewise, of an object whose `meta` is at hand. One request is made: for the checksum, if it is wanted."""
    etag = meta["e_tag"]
    # A weak one may be that of other bytes, and never is what If-Match asks for (RFC 9110, 13.1.1).
    strong = etag if etag and not etag.startswith("W/") else None
    source = FromStore(store, meta["path"], meta["size"], strong, meta["last_modified"])
    known: dict[str, Any] = {"size": source.size, "modified": source.modified, **options}
    if known.pop("checksum", True) and "crc32" not in known:
        known["crc32"] = _crc32_of(source)
    return source, known


def _crc32_of(source: FromStore) -> int | None:
    """The CRC-32 that S3 keeps; None for all other stores, which keep another one, or none."""
    if type(source.store).__name__ != "S3Store":
        return None
    try:
        etag, found = stored_crc32(Signer(source.store, source.path))
    except (OptionError, RemotePermissionError):  # it may not be asked so: what is not known is found by reading
        return None
    return found if etag == source.etag else None
