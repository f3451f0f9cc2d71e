"""For programs that carry one of two well-known answers: ``from zipstream_adapter.compat.push import ZipStreamer``.

`ZipStreamer` is pushed into and read from; `StreamFile` goes under a plain `zipfile.ZipFile`. Other than there:

- Data descriptors have the signature that Apple's tools need; members of up to 64 KiB need none, and are held for that.
- Members, offsets and numbers of members past the limits of 32 and 16 bits are right.
- What has been read is not kept.
- A member that is not ended when the next one begins, or at `close`, raises; there, it was missing without a word.
- After a failure nothing more leaves; under a plain ZipFile: after the target's, and where a ``with`` block is left.
- A target that takes less than it is given is given the rest; one that takes text is asked for its binary buffer.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipInfo

from ..dates import LocalTime
from ..describe import describe
from ..errors import OptionError, StreamStateError
from ..lookahead import DEFAULT_LOOKAHEAD
from ..names import is_storable
from ..sink import FileSink
from .clock import now_by_clock
from .small_members import ListedArchive, SmallOnes, about

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Buffer

    from ..member import MemberWriter

__all__ = ["StreamFile", "ZipStreamer"]

_MODE = 0o600
# APPNOTE 4.3.7, 4.3.9, 4.3.12 and 4.3.16.
_LOCAL, _DESCRIPTOR, _ENDS = b"PK\3\4", b"PK\7\x08", (b"PK\1\2", b"PK\5\6", b"PK\6\6")


class ZipStreamer:
    """An archive of stored members that are pushed in: ``put_file; write; flush; read`` for each, ``close; read``.

    Attributes:
        zipfile: the archive, a `zipfile.ZipFile`.
    """

    def __init__(self) -> None:
        self.zipfile = ListedArchive(compression=ZIP_STORED)
        self._small = SmallOnes(self.zipfile, DEFAULT_LOOKAHEAD)
        self._limit = min(self._small.limit(ZIP_STORED, None), DEFAULT_LOOKAHEAD)
        # What was begun and is small so far: its name, its date, its data, and the size of that.
        self._begun: tuple[str, dict[str, Any]] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._info: ZipInfo | None = None
        self._member: MemberWriter | None = None

    @property
    def current_file(self) -> ZipInfo | None:
        """The ZipInfo of the member that is being written, or None."""
        self._open_member()
        return self._info

    def put_file(self, name: str, date_time: tuple[int, ...] | None = None) -> None:
        """Begin a member. date_time: (year, month, day, hour, minute, second), kept as it is; None for now, by this
        machine's clock.
        """
        self._open_member()
        dated = now_by_clock() if date_time is None else {"modified": _date(date_time)}
        is_over = self._member is not None or self.zipfile.sink.poisoned
        if is_over or not isinstance(name, str) or name.endswith("/") or not is_storable(name):
            self._begin(name, dated)
        else:
            self._begun = name, dated

    def _begin(self, name: str, dated: dict[str, Any]) -> None:
        info = describe(name, dated["modified"], _MODE, ZIP_STORED, timestamps=True)
        info.extra += dated.get("extra", b"")
        self._member = self.zipfile.begin(info)
        self._info = info

    def _open_member(self) -> None:
        """Make a member of what was small until now."""
        begun, parts = self._begun, self._parts
        if begun is not None:
            self._begun, self._parts, self._size = None, [], 0
            self._begin(*begun)
            for part in parts:
                self._open("write()").write(part)

    def write(self, data: Buffer) -> None:
        """Add to the member."""
        if self._begun is not None and type(data) is bytes and self._size + len(data) < self._limit:
            self._parts.append(data)
            self._size += len(data)
            return
        self._open_member()
        self._open("write()").write(data)

    def flush(self) -> None:
        """End the member."""
        begun, parts = self._begun, self._parts
        if begun is None or self.zipfile.sink.poisoned or self.zipfile.is_writing:
            self._open_member()
            self._open("flush()").complete()
            self._member = self._info = None
            return
        self._begun, self._parts, self._size = None, [], 0
        name, dated = begun
        self._small.add(name, b"".join(parts), about(dated, _MODE))
        self._small.settle()  # whoever writes to `zipfile` goes on behind it

    def read(self) -> bytes:
        """The archive's bytes since the last time; b"" where there are none. Raises PoisonedError after a failure."""
        return self.zipfile.drain()

    def close(self) -> None:
        """Write the central directory, for a last `read`."""
        self._open_member()
        if self._member is not None and not self.zipfile.sink.poisoned:
            raise StreamStateError(f"close(): entry {self._member.name!r} has not been ended: call flush() before")
        self.zipfile.close()

    def __del__(self) -> None:
        self.zipfile.abort()  # or it would warn, where a failure has told of itself

    def _open(self, what: str) -> MemberWriter:
        if self._member is None:
            raise StreamStateError(f"{what}: no member has been begun: call put_file(name) before")
        return self._member


def _date(date_time: tuple[int, ...]) -> datetime:
    """Of a tuple nobody knows the zone, so that it is no instant."""
    try:
        year, month, day, hour, minute, second = date_time[:6]
        return LocalTime(year, month, day, hour, minute, second)
    except (TypeError, ValueError) as exc:
        raise OptionError(
            f"date_time={date_time!r}: give (year, month, day, hour, minute, second), or None for now"
        ) from exc


class StreamFile:
    """A file object for a plain `zipfile.ZipFile`, over `fileobj`, which need only be able to ``write``.

    For `sys.stdout`, a Django ``HttpResponse``, a Pylons response: ``ZipFile(StreamFile(response), "w")``. What zipfile
    would end while an exception is leaving a ``with`` block, or a ``finally``, stays unfinished.

    Attributes:
        fileobj: what was given.
        pos: bytes written; also `tell`.
    """

    def __init__(self, fileobj: Any) -> None:
        self.fileobj = fileobj
        self.pos = 0
        self._sink = FileSink(_binary(fileobj))
        self._handled = self._handled_at_member = sys.exception()

    def write(self, data: Buffer) -> int:
        """Hand `data` on, all of it, at once. Returns its size in bytes. Raises PoisonedError after a failure."""
        data = bytes(data)
        if self._is_left(data[:4]):
            self._sink.poison()
        if not self._sink.poisoned or not self._is_raised():  # else that tells of it
            self.pos += self._sink.write(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self.pos

    def flush(self) -> None:
        """Flush `fileobj`, where it can be."""
        self._sink.flush()

    def close(self) -> None:
        """Flush `fileobj`, which stays open."""
        self.flush()

    def _is_raised(self) -> bool:
        return sys.exception() not in (None, self._handled)

    def _is_left(self, signature: bytes) -> bool:
        """Whether this would make a member, or an archive, look whole that an exception has left."""
        if signature == _LOCAL:
            self._handled_at_member = sys.exception()
        if signature == _DESCRIPTOR:
            return sys.exception() not in (None, self._handled_at_member)
        return signature in _ENDS and self._is_raised()


def _binary(fileobj: Any) -> Any:
    """What takes bytes: of a text file, such as `sys.stdout`, the buffer under it."""
    if not isinstance(fileobj, io.TextIOBase):
        return fileobj
    if not hasattr(fileobj, "buffer"):
        raise OptionError(f"fileobj={fileobj!r} takes text: give a binary one, such as io.BytesIO")
    fileobj.flush()
    return fileobj.buffer
