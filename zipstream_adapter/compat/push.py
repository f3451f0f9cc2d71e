"""Two widely copied recipes: ``from zipstream_adapter.compat.push import ZipStreamer, StreamFile``.

Data is pushed into a `ZipStreamer` and read from it. A `StreamFile` is the target of a plain `zipfile.ZipFile`.

Differences from the recipes:

- Data descriptors have the signature that Apple's tools need. Members up to 64 KiB are buffered and have none.
- Zip64 is used for members and offsets over 4 GiB and for more than 65,535 members.
- Bytes are dropped once they are read.
- A member that is not ended when the next begins, or at `close`, raises an error. In the recipe it is silently lost.
- After a failure no more bytes are written. With a plain ZipFile: after a failure of the target, or if an exception
  leaves a ``with`` block.
- If a target writes fewer bytes than given, the rest is written, too. For a text target, its binary buffer is used.
"""

from __future__ import annotations

import io
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipInfo

from .._format.names import is_storable
from .._format.timestamps import EARLIEST, DosDateTime, default_date
from .._writer.lookahead import DEFAULT_LOOKAHEAD
from .._writer.member_batch import MemberBatch, RecordKey
from .._writer.sink import FileSink
from .._writer.stream_archive import StreamArchive
from ..errors import OptionError, StreamStateError
from ._local_clock import local_zipinfo

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._writer.member import MemberWriter

__all__ = ["StreamFile", "ZipStreamer"]

_MODE = 0o600
# APPNOTE 4.3.7, 4.3.9, 4.3.12 and 4.3.16.
_LOCAL, _DESCRIPTOR, _ENDS = b"PK\3\4", b"PK\7\x08", (b"PK\1\2", b"PK\5\6", b"PK\6\6")


class _Archive(StreamArchive):
    """A StreamArchive that lists its members like any `zipfile.ZipFile`. ZipInfos are made on demand."""

    @property
    def filelist(self) -> list[ZipInfo]:
        return self.directory.infolist()

    @filelist.setter
    def filelist(self, infos: list[ZipInfo]) -> None:
        pass  # ZipFile.__init__ assigns an empty list

    @property
    def NameToInfo(self) -> dict[str, ZipInfo]:
        return {info.filename: info for info in self.directory.infolist()}

    @NameToInfo.setter
    def NameToInfo(self, infos: dict[str, ZipInfo]) -> None:
        pass


class ZipStreamer:
    """An archive of stored members, which the caller pushes in.

    For each member, call `put_file`, `write`, `flush` and `read`; at the end, call `close` and `read`.

    Attributes:
        zipfile: the archive, a `zipfile.ZipFile`.
    """

    def __init__(self) -> None:
        self.zipfile = _Archive(compression=ZIP_STORED)
        self._batch = MemberBatch(self.zipfile, DEFAULT_LOOKAHEAD, describe=_zipinfo_of)
        self._limit = min(self._batch.limit(ZIP_STORED, None), DEFAULT_LOOKAHEAD)
        # The buffered member: its name and date, its data, and the size of the data.
        self._begun: tuple[str, datetime] | None = None
        self._key = RecordKey(None)  # of the last member that was not opened
        self._now: tuple[int, datetime] = -1, EARLIEST
        self._parts: list[bytes] = []
        self._size = 0
        self._info: ZipInfo | None = None
        self._member: MemberWriter | None = None

    @property
    def current_file(self) -> ZipInfo | None:
        """The ZipInfo of the member being written, or None."""
        self._open_member()
        return self._info

    def put_file(self, name: str, date_time: tuple[int, ...] | None = None) -> None:
        """Begin a member.

        date_time: (year, month, day, hour, minute, second), stored unchanged. Default: now, in local time.
        """
        self._open_member()
        date = self._default_date() if date_time is None else _date(date_time)
        is_over = self._member is not None or self.zipfile.sink.poisoned
        if is_over or not isinstance(name, str) or name.endswith("/") or not is_storable(name):
            self._begin(name, date)
        else:
            self._begun = name, date

    def _default_date(self) -> datetime:
        second = int(time.time())
        if second != self._now[0]:
            self._now = second, default_date().replace(microsecond=0)
        return self._now[1]

    def _begin(self, name: str, date: datetime) -> None:
        self._info = local_zipinfo(name, date, _MODE, ZIP_STORED)
        self._member = self.zipfile.begin(self._info)

    def _open_member(self) -> None:
        """Write the buffered member's header and data, if any: it cannot stay small."""
        begun, parts = self._begun, self._parts
        if begun is not None:
            self._begun, self._parts, self._size = None, [], 0
            self._begin(*begun)
            for part in parts:
                self._open("write()").write(part)

    def write(self, data: Buffer) -> None:
        """Add data to the member. Raises StreamStateError if no member has been begun."""
        if self._begun is not None and type(data) is bytes and self._size + len(data) < self._limit:
            self._parts.append(data)
            self._size += len(data)
            return
        self._open_member()
        self._open("write()").write(data)

    def flush(self) -> None:
        """End the member. Raises StreamStateError if no member has been begun."""
        begun, parts = self._begun, self._parts
        if begun is None or self.zipfile.sink.poisoned or self.zipfile.is_writing:
            self._open_member()
            self._open("flush()").finish()
            self._member = self._info = None
            return
        self._begun, self._parts, self._size = None, [], 0
        name, date = begun
        if self._key.about != (date, type(date)):
            self._key = RecordKey((date, type(date)))
        data = b"".join(parts)
        self._batch.store(name.encode(), data, self._batch.crc32(data, 0), self._key)
        self._batch.settle()  # the caller may write to `zipfile` next

    def read(self) -> bytes:
        """Return the bytes made since the last call, b"" if none. Raises PoisonedError after a failure."""
        return self.zipfile.drain()

    def close(self) -> None:
        """Write the central directory, for a last `read`. Raises StreamStateError if a member is not ended."""
        self._open_member()
        if self._member is not None and not self.zipfile.sink.poisoned:
            raise StreamStateError(f"close(): entry {self._member.name!r} has not been ended: call flush() first")
        self.zipfile.close()

    def __del__(self) -> None:
        if hasattr(self, "zipfile"):
            self.zipfile.abort()  # else ZipFile would warn about an unclosed archive, even after a failure

    def _open(self, what: str) -> MemberWriter:
        if self._member is None:
            raise StreamStateError(f"{what}: no member has been begun: call put_file(name) first")
        return self._member


def _zipinfo_of(name: str, about: tuple[datetime, type], method: int) -> ZipInfo:
    return local_zipinfo(name, about[0], _MODE, method)


def _date(date_time: tuple[int, ...]) -> datetime:
    """Convert a tuple, whose time zone is unknown, to a date that is written unchanged."""
    try:
        year, month, day, hour, minute, second = date_time[:6]
        return DosDateTime(year, month, day, hour, minute, second)
    except (TypeError, ValueError) as exc:
        raise OptionError(
            f"date_time={date_time!r}: give (year, month, day, hour, minute, second), or None for now"
        ) from exc


class StreamFile:
    """A target for a plain `zipfile.ZipFile` that writes to `fileobj`, which only needs ``write``.

    Works for `sys.stdout` and for Django and Pylons responses: ``ZipFile(StreamFile(response), "w")``. Members and
    archives that zipfile would finish while an exception leaves a ``with`` block or a ``finally`` stay incomplete.

    Attributes:
        fileobj: the object given by the caller.
        pos: number of bytes written; same as `tell`.
    """

    def __init__(self, fileobj: Any) -> None:
        self.fileobj = fileobj
        self.pos = 0
        self._sink = FileSink(_binary(fileobj))
        self._handled = self._handled_at_member = sys.exception()

    def write(self, data: Buffer) -> int:
        """Write all of `data` at once. Returns its size in bytes. Raises PoisonedError after a failure."""
        data = bytes(data)
        if self._completes_abandoned(data[:4]):
            self._sink.poison()
        if not self._sink.poisoned or not self._is_raised():  # else the caller gets that exception
            self.pos += self._sink.write(data)
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.pos

    def flush(self) -> None:
        """Flush `fileobj`, if it has ``flush``."""
        self._sink.flush()

    def close(self) -> None:
        """Flush `fileobj`. Does not close it."""
        self.flush()

    def _is_raised(self) -> bool:
        return sys.exception() not in (None, self._handled)

    def _completes_abandoned(self, signature: bytes) -> bool:
        """Return whether this record would complete a member or archive that an exception is leaving."""
        if signature == _LOCAL:
            self._handled_at_member = sys.exception()
        if signature == _DESCRIPTOR:
            return sys.exception() not in (None, self._handled_at_member)
        return signature in _ENDS and self._is_raised()


def _binary(fileobj: Any) -> Any:
    """Return `fileobj`, or the binary buffer of a text file such as `sys.stdout`."""
    if not isinstance(fileobj, io.TextIOBase):
        return fileobj
    if not hasattr(fileobj, "buffer"):
        raise OptionError(f"fileobj={fileobj!r} takes text: give a binary file, such as io.BytesIO")
    fileobj.flush()
    return fileobj.buffer
