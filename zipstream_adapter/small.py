"""The archive of a stream, and the small members of one: those whose data is there.

They are gathered until there is a block's worth, coded together, by a worker where there are some, and written from
templates. No object is made for each, and no byte differs from what a `zipstream_adapter.member.MemberWriter` makes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from .archive import StreamingZipFile
from .checksum import fastest_crc32
from .coding import Coded, Coding
from .lookahead import outlasts
from .parallel import BLOCK
from .records import DESCRIPTOR_FLAG, LIMIT32, Rows, Template, WideTemplate, directory_row

if TYPE_CHECKING:
    from .sink import StreamSink

Code = Callable[[list[bytes]], list[Coded]]
_MOST_TEMPLATES = 64
# More than what is gathered, in flight and held can have: before here, an offset that nobody has worked out fits.
_NEAR_LIMIT32 = LIMIT32 - (1 << 28)


def is_near_limit(made: int) -> bool:
    """Whether, of an archive of which so many bytes are made, the next member might begin where zip64 is needed."""
    return made > _NEAR_LIMIT32


class StreamArchive(StreamingZipFile):
    """The archive of a stream, to which only the stream has access: of a member that is finished, its row is kept.

    That is some 60 bytes and the name, where a ZipInfo has half a kilobyte. coding: what codes its members, in place
    of what the other options say.
    """

    sink: StreamSink

    def __init__(self, *, coding: Coding | None = None, **options: Any) -> None:
        self.rows = Rows()
        super().__init__(**options)
        if coding is not None:
            self.coding = coding

    def member_ended(self, info: ZipInfo | None) -> None:
        super().member_ended(None)
        if info is not None:
            self.rows.add(directory_row(info, zip64=info.header_offset in self.zip64_offsets))
            self.zip64_offsets.discard(info.header_offset)

    def _rows(self) -> Rows:
        return self.rows

    @property
    def is_writing(self) -> bool:
        """Whether a member is open for writing."""
        return self._member is not None


class Look(NamedTuple):
    """What small members have in common with others, but for their method.

    Attributes:
        about: whatever `describe` makes a ZipInfo of.
        zip64: whether the header is zip64; is_declared: whether size and CRC-32 were known before the data, so that
            stored data has no descriptor.
    """

    about: Hashable
    zip64: bool = False
    is_declared: bool = False


# A member: its name in UTF-8, its data, its CRC-32, and its look.
_Small = tuple[bytes, bytes, int, Look]


class SmallMembers:
    """Adds small members to `archive`; `settle` before anybody else does.

    Args:
        describe: makes the ZipInfo of (a name, the `about` of a look, a method); what it says of the name is not used.
        lookahead: of the archive, as `stream_zip` takes it.
    """

    def __init__(self, archive: StreamArchive, describe: Callable[[str, Any, int], ZipInfo], lookahead: int) -> None:
        self._archive = archive
        self._sink = archive.sink
        self._describe = describe
        self._lookahead = lookahead
        self._crc32 = fastest_crc32()
        self._coders: dict[tuple[int, int | None], Code | None] = {}
        self._code: Code | None = None  # of what is gathered
        self._gathered: list[_Small] = []
        self._gathered_size = 0
        self._flying: deque[list[_Small]] = deque()
        self._results = archive.coding.in_order()
        self._chunk_size = self._sink.chunk_size
        self._held: list[bytes] = []
        self._held_size = self._offset = 0
        self._templates: dict[Any, Template] = {}
        self._last: tuple[Any, ...] = (None,)  # key and template of the last member

    def limit(self, method: int, level: int | None) -> int:
        """How many bytes are too many, of a member that is coded so; 0 where none can be."""
        # Larger stored data passes without a copy elsewhere; with chunk_size=0 every write is to be seen.
        if not self._chunk_size or (method != ZIP_STORED and self.coder(method, level) is None):
            return 0
        return min(self._chunk_size, BLOCK) if method == ZIP_STORED else BLOCK

    def coder(self, method: int, level: int | None) -> Code | None:
        """What codes members so, at once; None where that cannot be."""
        try:
            return self._coders[method, level]
        except KeyError:
            code = self._coders[method, level] = self._archive.coding.small(method, level)
            return code

    def checksum(self, data: bytes) -> int:
        """The CRC-32 of `data`."""
        return self._crc32(data, 0)

    def store(self, name: bytes, data: bytes, look: Look) -> None:
        """Add a stored member."""
        if self._code is not None:
            self._settle_coded()
        self._write(name, data, self._crc32(data, 0), look, ZIP_STORED, data)

    def code(self, name: bytes, data: bytes, look: Look, code: Code) -> None:
        """Add a member that `code` codes, by and by."""
        size = len(data)
        if self._code is not code:
            if self._code is not None:
                self._settle_coded()
            self._code = code
        elif self._gathered_size + size > BLOCK:
            self._send()
        self._gathered.append((name, data, self._crc32(data, 0), look))
        self._gathered_size += size

    def code_now(self, name: bytes, data: bytes, look: Look, code: Code) -> None:
        """Add a member that `code` codes, at once."""
        if self._code is not None:
            self._settle_coded()
        ((method, out),) = code([data])
        self._write(name, data, self._crc32(data, 0), look, method, out)

    @property
    def is_settled(self) -> bool:
        """Whether all has been coded."""
        return self._code is None

    @property
    def is_near_limit(self) -> bool:
        """Whether the next member might begin where zip64 is needed."""
        return is_near_limit(self._sink.tell())

    def codes_before(self, size: int, code: Code | None) -> bool:
        """Whether, before a member of `size` bytes that `code` codes is added, what is gathered has to be coded."""
        return self._code is not None and (self._code is not code or self._gathered_size + size > BLOCK)

    def tell(self) -> int:
        """Where in the archive the next member will begin."""
        if self._code is not None:
            self._settle_coded()
        return self._offset + self._held_size if self._held else self._sink.tell()

    def settle(self) -> None:
        """Write all that has been added."""
        if self._code is not None:
            self._settle_coded()
        if self._held:
            self._pass_on()

    def close(self) -> None:
        """Give up what has not been written."""
        self._results.close()
        self._gathered, self._held = [], []
        self._flying.clear()

    def _settle_coded(self) -> None:
        if self._results:
            self._land(self._results.finish())
        if self._gathered:
            gathered, self._gathered, self._gathered_size = self._gathered, [], 0
            assert self._code is not None
            self._write_all(gathered, self._code([small[1] for small in gathered]))
        self._code = None

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
            self._write(*small, method, out)

    def _write(self, name: bytes, data: bytes, crc: int, look: Look, method: int, out: bytes) -> None:
        size, coded = len(data), len(out)
        late = outlasts(self._lookahead, size, coded)
        known = self._last
        if known[0] is look and known[1] == method and known[2] is late and name.isascii() is known[3]:
            template = known[4]
        else:
            key = look, method, late, name.isascii()
            template = self._templates.get(key) or self._template(name, look, method, late)
            self._last = *key, template
        held = self._held
        if not held:
            self._offset = self._sink.tell()
        header, descriptor, row = template.records(name, crc, coded, size, self._offset + self._held_size)
        self._archive.rows.add(row)
        held += (header, out, descriptor) if descriptor else (header, out)
        self._held_size += len(header) + coded + len(descriptor)
        if self._held_size >= self._chunk_size:
            self._pass_on()

    def _pass_on(self) -> None:
        held, size = self._held, self._held_size
        self._held, self._held_size = [], 0
        self._sink.write_all(held, size)

    def _template(self, name: bytes, look: Look, method: int, late: bool) -> Template:
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        is_ascii = name.isascii()
        info = self._describe("x" if is_ascii else "é", look.about, method)
        info.compress_type = method
        info.flag_bits = DESCRIPTOR_FLAG if late and not (look.is_declared and method == ZIP_STORED) else 0
        kind = WideTemplate if look.zip64 else Template
        template = self._templates[look, method, late, is_ascii] = kind(info)
        return template
