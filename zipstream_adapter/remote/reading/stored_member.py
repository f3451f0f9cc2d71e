"""Local file headers and stored members.

Stored members can be read from any offset at once. `zipfile` would read all data before the offset: before Python 3.13
on every seek, and since then on seeks backward.
"""

from __future__ import annotations

import io
from zipfile import ZipInfo

from ..._buffers import RangeFile, place_within
from ..._compression.crc32 import fastest_crc32
from ..._format.records import ENCRYPTED_FLAG, LOCAL, decoded_name
from ...errors import BadArchiveError, EncryptedMemberError
from .member_file import MemberFile

BUFFER_SIZE = 1 << 16


def too_long(label: str) -> BadArchiveError:
    """Return the error for a member that leaves no room for its data."""
    return BadArchiveError(f"{label} cannot be read: its data runs into the next member or the central directory")


def header_cut(label: str) -> BadArchiveError:
    """Return the error for a member whose local file header does not end before the next member."""
    return BadArchiveError(f"{label} cannot be read: its local file header is cut short")


def header_size(head: bytes, info: ZipInfo, label: str) -> int | None:
    """Return the size in bytes of the local file header (APPNOTE 4.3.7) at the beginning of `head`.

    Returns None if `head` does not contain the whole header. `label` names the member in errors.

    Raises: BadArchiveError if it is not the header of `info`'s member; EncryptedMemberError if its encryption flag is
    set.
    """
    if len(head) < LOCAL.size:
        return None
    signature, _, _, flags, *_, name_size, extra_size = LOCAL.unpack_from(head)
    if signature != b"PK\3\4":
        raise BadArchiveError(f"{label} cannot be read: no local file header at byte {info.header_offset}")
    if flags & ENCRYPTED_FLAG:
        raise EncryptedMemberError(f"{label} cannot be read: its local file header says that it is encrypted")
    end = int(LOCAL.size + name_size + extra_size)
    if len(head) < end:
        return None
    name = decoded_name(head[LOCAL.size : LOCAL.size + name_size], flags)
    if name != info.orig_filename:
        raise BadArchiveError(f"{label} cannot be read: its local file header has the name {name!r}")
    return end


def open_stored(file: MemberFile, info: ZipInfo, label: str) -> io.BufferedReader:
    """Return the data of a stored member as a file. `file` stands at the local file header."""
    head = file.read(LOCAL.size)
    if len(head) == LOCAL.size:
        head += file.read(sum(LOCAL.unpack(head)[-2:]))
    size = header_size(head, info, label)
    if size is None:
        raise header_cut(label)
    if info.header_offset + size + info.compress_size > file.limit:
        raise too_long(label)
    return io.BufferedReader(StoredFile(file, info, label, size), BUFFER_SIZE)


def open_in_memory(data: bytes, info: ZipInfo, label: str) -> BytesFile | None:
    """Return the data of a stored member as a file, from `data`, which begins at the local file header.

    Returns None if `data` is incomplete or does not match the CRC-32.
    """
    begin = header_size(data, info, label)
    size = info.file_size
    if begin is None or size > info.compress_size or len(data) < begin + info.compress_size:
        return None
    stored = data[begin : begin + size]
    if getattr(info, "CRC", None) not in (None, fastest_crc32()(stored, 0)):
        return None
    return BytesFile(stored, info.filename)


class BytesFile(io.BytesIO):
    """Complete data of a member, with a matching CRC-32, as a file with the member's name."""

    mode = "r"

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(place_within(offset, whence, self.tell(), self.getbuffer().nbytes))


class StoredFile(RangeFile):
    """File over the data of a stored member. Checks the CRC-32 if the data is read from beginning to end."""

    mode = "r"
    _find_place = staticmethod(place_within)
    _file: MemberFile | None = None

    def __init__(self, file: MemberFile, info: ZipInfo, label: str, header: int) -> None:
        # As zipfile: never more than the member's size. If it has less data than that, reading to the end fails.
        super().__init__(info.file_size)
        self.name = info.filename
        self._file = file
        self._label = label
        self._start = info.header_offset + header
        self._stored = info.compress_size
        self._expected = getattr(info, "CRC", None)
        self._crc = 0
        self._checked = 0  # bytes covered by `_crc`
        self._crc32 = fastest_crc32()

    def _read(self, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(self._start + self._at)
        wanted = min(size, min(self._size, self._stored) - self._at)
        if wanted <= 0 < min(size, self._size - self._at):
            raise BadArchiveError(
                f"{self._label} is broken: it is stored, but has {self._stored} bytes of data, and should have "
                f"{self._size}"
            )
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise too_long(self._label)
        if self._at == self._checked:
            self._crc = self._crc32(data, self._crc)
            self._checked += len(data)
            if self._checked == self._size and self._expected not in (None, self._crc):
                raise BadArchiveError(
                    f"{self._label} is broken: its CRC-32 is {self._crc:#010x}, not {self._expected:#010x}"
                )
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
