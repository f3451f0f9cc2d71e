"""The archive of a stream, and the short way into it for small members: bytes in memory, files of less than a block.

No object is made for each. They are read at once, gathered until there is a block's worth, and coded together, by a
worker where there are some. No byte differs from what the way of all others makes, to which everything is left that is
not plainly such a member: what is unsafe, taken, or wrong in any way fails there, with its name.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipInfo

from .archive import StreamingZipFile
from .checksum import fastest_crc32
from .coding import Coded
from .dates import EARLIEST, LocalTime, default_date
from .entry import Entry
from .errors import OptionError
from .lookahead import outlasts
from .parallel import BLOCK
from .records import DESCRIPTOR_FLAG, Rows, Template, directory_row
from .source import FileFacts, read_small

if TYPE_CHECKING:
    from datetime import datetime

    from .names import NameRegistry
    from .sink import StreamSink

Describe = Callable[[str, "datetime", int, int], ZipInfo]  # name, date, mode, method
_MOST_TEMPLATES = 64


# A member that has been read: its name, its data, its CRC-32, its date and its mode.
_Small = tuple[bytes, bytes, int, "datetime", int]


class StreamArchive(StreamingZipFile):
    """The archive of a stream, to which only the stream has access: of a member that is finished, its row is kept.

    That is some 60 bytes and the name, where a ZipInfo has half a kilobyte.
    """

    sink: StreamSink

    def __init__(self, **options: Any) -> None:
        self.rows = Rows()
        super().__init__(**options)

    def member_ended(self, info: ZipInfo | None) -> None:
        super().member_ended(None)
        if info is not None:
            self.rows.add(directory_row(info, zip64=info.header_offset in self.zip64_offsets))
            self.zip64_offsets.discard(info.header_offset)

    def _rows(self) -> Rows:
        return self.rows


class QuickMembers:
    """Adds what it can to `archive` by itself; `settle` before anybody else does.

    Args:
        describe: makes the ZipInfo of (name, date, mode, method).
        level, lookahead: of the archive, as `stream_zip` takes them.
    """

    def __init__(
        self, archive: StreamArchive, names: NameRegistry, describe: Describe, *, level: int | None, lookahead: int
    ) -> None:
        self._archive = archive
        self._sink = archive.sink
        self._take_name = names.take_plain
        self._describe = describe
        self._lookahead = lookahead
        self._crc32 = fastest_crc32()
        code = archive.coding.small(archive.compression, level)
        self._code = code
        # Larger stored data passes without a copy elsewhere; with chunk_size=0 every write is to be seen.
        limit = BLOCK if archive.compression != ZIP_STORED else self._sink.chunk_size
        self.limit = min(limit, BLOCK) if code is not None and self._sink.chunk_size else 0
        self._gathers = archive.compression != ZIP_STORED
        self._gathered: list[_Small] = []
        self._gathered_size = 0
        self._flying: deque[list[_Small]] = deque()
        self._results = archive.coding.in_order()
        self._chunk_size = self._sink.chunk_size
        self._held: list[bytes] = []
        self._held_size = self._offset = 0
        self._templates: dict[tuple[datetime, int, int, bool], Template] = {}
        self._second, self._now = -1, EARLIEST

    def add(self, item: Any, found: tuple[bytes, FileFacts] | None = None) -> bool:
        """Add the member that `item` stands for, where it can be done here. found: what its file was read to."""
        small = self._read(item, found)
        if small is None:
            return False
        if not self._gathers:
            self._write(small, ZIP_STORED, small[1])
            return True
        size = len(small[1])
        if self._gathered_size + size > BLOCK:
            self._send()
        self._gathered.append(small)
        self._gathered_size += size
        return True

    def path_in(self, item: Any) -> os.PathLike[Any] | None:
        """The path of the file that would be read to `add` the item, if any."""
        source = _source_of(item)
        return source if isinstance(source, os.PathLike) and self.limit else None

    def effort(self, item: Any = None, found: tuple[bytes, FileFacts] | None = None) -> int:
        """What it takes to `add` the item; without one: to `settle`. In bytes of stored data."""
        if item is None:
            return BLOCK if self._gathered or self._results else 0
        data = found[0] if found else _source_of(item)
        size = len(data) if type(data) is bytes else 0
        return BLOCK if self._gathers and self._gathered_size + size > BLOCK else size

    def settle(self) -> None:
        """Write all that has been added."""
        if self._results:
            self._land(self._results.finish())
        if self._gathered:
            gathered, self._gathered, self._gathered_size = self._gathered, [], 0
            assert self._code is not None
            self._write_all(gathered, self._code([small[1] for small in gathered]))
        self._pass_on()

    def close(self) -> None:
        """Give up what has not been written."""
        self._results.close()
        self._gathered, self._held = [], []
        self._flying.clear()

    def _read(self, item: Any, found: tuple[bytes, FileFacts] | None) -> _Small | None:
        kind = type(item)
        if kind is tuple and len(item) == 2:
            name, source = item
            date = mode = None
        elif kind is Entry and _is_plain(item):
            name, source, date, mode = item.name, item.source, item.modified, item.mode
        else:
            return None
        if type(source) is bytes:
            data, file_mode = source, 0o644
            date = date or self._default_date()
            if date is None:
                return None
        elif isinstance(source, os.PathLike) and self.limit:
            found = found or read_small(source, self.limit)
            if found is None:
                return None
            data, facts = found
            date, file_mode = date or facts.modified, facts.mode
        else:
            return None
        if len(data) >= self.limit or type(name) is not str or not self._take_name(name):
            return None
        return name.encode("ascii"), data, self._crc32(data, 0), date, file_mode if mode is None else mode

    def _default_date(self) -> datetime | None:
        second = int(time.time())
        if second != self._second:
            try:
                self._now = default_date()
            except OptionError:
                return None
            self._second = second
        return self._now

    def _send(self) -> None:
        gathered, self._gathered, self._gathered_size = self._gathered, [], 0
        self._flying.append(gathered)
        assert self._code is not None
        self._land(self._results.start(partial(self._code, [small[1] for small in gathered])))

    def _land(self, results: list[list[Coded]]) -> None:
        for result in results:
            self._write_all(self._flying.popleft(), result)

    def _write_all(self, members: list[_Small], coded: list[Coded]) -> None:
        for small, (method, out) in zip(members, coded, strict=True):
            self._write(small, method, out)

    def _write(self, small: _Small, method: int, out: bytes) -> None:
        name, data, crc, date, mode = small
        key = (date, mode, method, outlasts(self._lookahead, len(data), len(out)))
        template = self._templates.get(key) or self._template(key)
        if not self._held:
            self._offset = self._sink.tell()
        whole = template.member(name, crc, len(data), out)
        self._archive.rows.add(template.directory_row(name, crc, len(out), len(data), self._offset + self._held_size))
        self._held.append(whole)
        self._held_size += len(whole)
        if self._held_size >= self._chunk_size:
            self._pass_on()

    def _pass_on(self) -> None:
        held, self._held, self._held_size = b"".join(self._held), [], 0
        self._sink.write(held)

    def _template(self, key: tuple[datetime, int, int, bool]) -> Template:
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        date, mode, method, late = key
        info = self._describe("x", date, mode, method)
        info.flag_bits = DESCRIPTOR_FLAG if late else 0
        template = self._templates[key] = Template(info)
        return template


def _source_of(item: Any) -> Any:
    if type(item) is tuple and len(item) == 2:
        return item[1]
    return item.source if type(item) is Entry and _is_plain(item) else None


def _is_plain(entry: Entry) -> bool:
    """Whether nothing is said of `entry` but where its data is, its date and its mode."""
    return (
        entry.size is entry.crc32 is entry.compression is entry.level is entry.zip64 is entry.password is None
        and type(entry.modified) is not LocalTime
        and not entry.comment
        and not entry.extra
    )
