"""MemberBatch: codes small members of a stream's archive together, if all of their data is there.

Members are gathered until they fill a block, compressed together (on a worker if there is one), and written with
prepared headers. No object is made per member. The output is identical to a `MemberWriter`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zipfile import ZIP_STORED, ZipInfo

from .._compression.block_deflate import BLOCK
from .._compression.codecs import Coded
from .._compression.crc32 import fastest_crc32
from .._compression.methods import UNCOMPRESSED
from .._format.records import DESCRIPTOR_FLAG
from .._format.templates import HeaderTemplate
from .lookahead import needs_descriptor
from .mimetype import MIMETYPE, extra_of, is_mark, lookahead_for
from .sink import Hole
from .stream_archive import StreamArchive, is_near_limit
from .zipinfo import extra_of_member, with_extra, zipinfo_of

if TYPE_CHECKING:
    from datetime import datetime

Code = Callable[[list[bytes]], list[Coded]]
_MOST_TEMPLATES = 64
_MIMETYPE = MIMETYPE.encode()


class About(NamedTuple):
    """A member's metadata.

    Attributes:
        is_local: whether `date` is a `DosDateTime`, which may equal another date.
    """

    date: datetime
    is_local: bool
    mode: int | None
    extra: bytes
    comment: bytes
    is_dir: bool


class RecordKey(NamedTuple):
    """The metadata that small members share, except for the method: the key of their prepared headers.

    Attributes:
        about: an `About`, or the metadata that the `describe` of a `MemberBatch` makes a ZipInfo from.
        zip64: whether the local file header is zip64.
        is_declared: whether size and CRC-32 were known before the data, so that stored data has no data descriptor.
    """

    about: Hashable
    zip64: bool = False
    is_declared: bool = False


# A member: its name in UTF-8, its data, its CRC-32, and its `RecordKey`.
_Small = tuple[bytes, bytes, int, RecordKey]


class MemberBatch:
    """Adds small members to `archive`. Call `settle` before anything else is written to it.

    Args:
        lookahead: lookahead of the archive, in bytes, as for `stream_zip`.
        timestamps: whether members get an extended timestamp field.
        make_zipinfo: makes a ZipInfo from (name, date, mode, method), in place of `zipinfo.zipinfo_of`.
        describe: makes a ZipInfo from (name, `about` of a RecordKey, method), if that is not an `About`. Everything in
            the ZipInfo that depends on the name is ignored.

    Attributes:
        code_in_use: compresses the members that are gathered; None if none are.
        gathered_size: bytes of data of the gathered members.
    """

    def __init__(
        self,
        archive: StreamArchive,
        lookahead: int,
        *,
        timestamps: bool = True,
        make_zipinfo: Callable[[str, datetime, int | None, int], ZipInfo] | None = None,
        describe: Callable[[str, Any, int], ZipInfo] | None = None,
    ) -> None:
        self._archive = archive
        self._sink = archive.sink
        self._timestamps = timestamps
        self._make_zipinfo = make_zipinfo
        self._describe = describe  # not `or self._info`: an archive is freed, with its directory, when it is dropped
        self._lookahead = lookahead
        self.crc32 = fastest_crc32()
        self._coders: dict[tuple[int, int | None], Code | None] = {}
        self.code_in_use: Code | None = None
        self._gathered: list[_Small] = []
        self.gathered_size = 0
        self._flying: deque[list[_Small]] = deque()
        self._results = archive.coding.in_order()
        self._chunk_size = self._sink.chunk_size
        self._held: list[bytes] = []
        self._held_size = self._offset = 0
        self._templates: dict[Any, HeaderTemplate] = {}  # by everything but the date
        self._last: tuple[Any, ...] = (None,)  # key and template of the last member

    def limit(self, method: int, level: int | None) -> int:
        """Return the size in bytes from which a member is too large for a batch; 0 if none can be added."""
        # MemberWriter passes larger stored data on without a copy. With chunk_size=0 each write has to become a chunk.
        if method == UNCOMPRESSED:  # within the lookahead it is stored
            return min(self._chunk_size, BLOCK, self._lookahead + 1)
        if not self._chunk_size or (method != ZIP_STORED and self.coder(method, level) is None):
            return 0
        if method == ZIP_STORED:
            return min(self._chunk_size, BLOCK)
        return self._archive.coding.small_limit(method, level)

    def coder(self, method: int, level: int | None) -> Code | None:
        """Return the function that codes members with this method and level in one call; None if there is none."""
        try:
            return self._coders[method, level]
        except KeyError:
            code = self._coders[method, level] = self._archive.coding.small(method, level)
            return code

    def store(self, name: bytes, data: bytes, crc: int, record_key: RecordKey) -> None:
        """Add a stored member."""
        if self.code_in_use is not None:
            self._settle_coded()
        self.write(name, len(data), crc, record_key, ZIP_STORED, data, len(data))

    def code(self, name: bytes, data: bytes, crc: int, record_key: RecordKey, code: Code) -> None:
        """Add a member to the batch that `code` compresses later."""
        size = len(data)
        if self.code_in_use is not code:
            if self.code_in_use is not None:
                self._settle_coded()
            self.code_in_use = code
        elif self.gathered_size + size > BLOCK:
            self._send()
        self._gathered.append((name, data, crc, record_key))
        self.gathered_size += size

    def code_now(self, name: bytes, data: bytes, crc: int, record_key: RecordKey, code: Code) -> None:
        """Compress a member with `code` and write it now."""
        if self.code_in_use is not None:
            self._settle_coded()
        ((method, out),) = code([data])
        self.write(name, len(data), crc, record_key, method, out, len(out))

    def skip(self, name: bytes, size: int, coded: int, crc: int, record_key: RecordKey, method: int) -> None:
        """Write a member with a `Hole` in place of its data: `size` bytes, `coded` bytes in the archive."""
        self.write(name, size, crc, record_key, method, cast("bytes", Hole(coded)), coded)

    @property
    def is_settled(self) -> bool:
        """Whether no member waits to be compressed."""
        return self.code_in_use is None

    @property
    def is_near_limit(self) -> bool:
        """Whether the next member may begin where zip64 is needed."""
        return is_near_limit(self._sink.tell())

    def tell(self) -> int:
        """Return the archive offset of the next member. This compresses pending members."""
        if self.code_in_use is not None:
            self._settle_coded()
        return self._offset + self._held_size if self._held else self._sink.tell()

    def settle(self) -> None:
        """Write all members that were added."""
        if self.code_in_use is not None:
            self._settle_coded()
        if self._held:
            self._pass_on()

    def close(self) -> None:
        """Discard all members that were not written."""
        self._results.close()
        self._gathered, self._held = [], []
        self._flying.clear()

    def _settle_coded(self) -> None:
        if self._results:
            self._land(self._results.finish())
        if self._gathered:
            gathered, self._gathered, self.gathered_size = self._gathered, [], 0
            assert self.code_in_use is not None
            self._write_all(gathered, self.code_in_use([small[1] for small in gathered]))
        self.code_in_use = None

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        size, self.gathered_size = self.gathered_size, 0
        self._flying.append(gathered)
        assert self.code_in_use is not None
        self._land(self._results.start(partial(self.code_in_use, [small[1] for small in gathered]), size))

    def _land(self, results: list[list[Coded]]) -> None:
        for result in results:
            self._write_all(self._flying.popleft(), result)

    def _write_all(self, members: list[_Small], coded: list[Coded]) -> None:
        for (name, data, crc, record_key), (method, out) in zip(members, coded, strict=True):
            self.write(name, len(data), crc, record_key, method, out, len(out))

    def write(
        self, name: bytes, size: int, crc: int, record_key: RecordKey, method: int, out: bytes, coded: int
    ) -> None:
        """Write a member of `size` bytes, whose data `out` has `coded` bytes in the archive. None may be pending."""
        late = (size > self._lookahead or coded > self._lookahead) and needs_descriptor(self._lookahead, size, coded)
        known = self._last
        if known[0] is record_key and known[1] == method and known[2] is late and name.isascii() is known[3]:
            template = known[4]
        else:
            # The archive's first member always comes here: `_last` is empty then.
            if name == _MIMETYPE and is_mark(MIMETYPE, method, self._held_size or self._sink.tell()):
                template = self._mark(record_key, size)
            else:
                template = self._template(name, record_key, method, late)
                self._last = record_key, method, late, name.isascii(), template
        held = self._held
        if not held:
            self._offset = self._sink.tell()
        header, descriptor, central = template.records(name, crc, coded, size, self._offset + self._held_size)
        self._archive.directory.add(central)
        held += (header, out, descriptor) if descriptor else (header, out)
        self._held_size += len(header) + coded + len(descriptor)
        if self._held_size >= self._chunk_size:
            self._pass_on()

    def _pass_on(self) -> None:
        held, size = self._held, self._held_size
        self._held, self._held_size = [], 0
        self._sink.write_all(held, size)

    def _template(self, name: bytes, record_key: RecordKey, method: int, late: bool) -> HeaderTemplate:
        is_ascii, about = name.isascii(), record_key.about
        if type(about) is not About or self._make_zipinfo is not None:
            key: Any = record_key, method, late, is_ascii
        else:
            key = about[1:], record_key.zip64, record_key.is_declared, method, late, is_ascii
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            info = self._described("x" if is_ascii else "é", record_key, method, late)
            template = self._templates[key] = HeaderTemplate(info, zip64=record_key.zip64)
        if type(about) is About and self._make_zipinfo is None:
            extra = extra_of_member(about.date, about.extra, self._timestamps)
            date = about.date
            return template.dated((date.year, date.month, date.day, date.hour, date.minute, date.second), extra)
        return template

    def _info(self, name: str, about: Any, method: int) -> ZipInfo:
        name += "/" if about.is_dir else ""
        if self._make_zipinfo is not None:
            info = self._make_zipinfo(name, about.date, about.mode, method)
        else:
            info = zipinfo_of(name, about.date, about.mode, method, timestamps=self._timestamps)
        info.comment = about.comment
        if about.extra:
            info.extra = with_extra(info.extra, about.extra)
        return info

    def _mark(self, record_key: RecordKey, size: int) -> HeaderTemplate:
        """Make the prepared headers of the ``mimetype`` member of an EPUB or similar file."""
        late = needs_descriptor(lookahead_for(MIMETYPE, 0, self._lookahead), size, size)
        info = self._described(MIMETYPE, record_key, ZIP_STORED, late)
        info.extra = extra_of(info)
        return HeaderTemplate(info, zip64=record_key.zip64)

    def _described(self, name: str, record_key: RecordKey, method: int, late: bool) -> ZipInfo:
        info = (self._describe or self._info)(name, record_key.about, method)
        info.compress_type, info.header_offset = method, 0
        info.flag_bits = DESCRIPTOR_FLAG if late and not (record_key.is_declared and method == ZIP_STORED) else 0
        return info
