"""Local headers, and members that are stored: read at any place, where `zipfile` reads all that is in front of it.

(So does its own file of a member before Python 3.13, and in later ones on the way back.)
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from zipfile import ZipInfo

from .checksum import fastest_crc32
from .errors import BadArchiveError, EncryptedMemberError
from .records import ENCRYPTED_FLAG, LOCAL, decoded_name
from .remote_member import MemberFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BUFFER = 1 << 16


def header_size(head: bytes, info: ZipInfo, what: str) -> int | None:
    """Bytes of the local header (4.3.7) that `head` begins with; None where it is not whole yet."""
    if len(head) < LOCAL.size:
        return None
    signature, _, _, flags, *_, name_size, extra_size = LOCAL.unpack_from(head)
    if signature != b"PK\3\4":
        raise BadArchiveError(f"{what} cannot be read: there is no local header at byte {info.header_offset}")
    if flags & ENCRYPTED_FLAG:
        raise EncryptedMemberError(f"{what} cannot be read: it is encrypted, by its local header")
    end = int(LOCAL.size + name_size + extra_size)
    if len(head) < end:
        return None
    name = decoded_name(head[LOCAL.size : LOCAL.size + name_size], flags)
    if name != info.orig_filename:
        raise BadArchiveError(f"{what} cannot be read: its local header is that of {name!r}")
    return end


def open_stored(file: MemberFile, info: ZipInfo, what: str) -> io.BufferedReader:
    """The data of a member that is stored. file: at its local header."""
    head = file.read(LOCAL.size)
    if len(head) == LOCAL.size:
        head += file.read(sum(LOCAL.unpack(head)[-2:]))
    size = header_size(head, info, what)
    if size is None:
        raise BadArchiveError(f"{what} cannot be read: its local header is cut short")
    return io.BufferedReader(StoredFile(file, info, what, size), _BUFFER)


def in_memory(data: bytes, info: ZipInfo, what: str) -> BytesFile | None:
    """The data of a member that is stored, and is all there; None where it is not, or broken.

    data: from its local header on.
    """
    begin = header_size(data, info, what)
    if begin is None or len(data) < begin + info.compress_size:
        return None
    stored = data[begin : begin + info.compress_size]
    if getattr(info, "CRC", None) not in (None, fastest_crc32()(stored, 0)):
        return None
    return BytesFile(stored, info.filename)


class BytesFile(io.BytesIO):
    """Data that is there, and right, under a name."""

    mode = "r"

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name

    def seek(self, offset: int, whence: int = 0) -> int:
        size = self.getbuffer().nbytes
        at = offset + {0: 0, 1: self.tell(), 2: size}[whence]
        return super().seek(min(max(0, at), size))  # as zipfile has it


class StoredFile(io.RawIOBase):
    """The data of a stored member. Its CRC-32 is checked where it is read from its beginning to its end."""

    def __init__(self, file: MemberFile, info: ZipInfo, what: str, header: int) -> None:
        self.name = info.filename
        self.mode = "r"
        self._file = file
        self._what = what
        self._start = info.header_offset + header
        self._size = info.compress_size
        self._at = 0
        self._expected = getattr(info, "CRC", None)
        self._crc = 0
        self._checked = 0  # bytes from the beginning that are in `_crc`
        self._crc32 = fastest_crc32()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + {0: 0, 1: self._at, 2: self._size}[whence]
        self._at = min(max(0, at), self._size)  # as zipfile has it
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._at)
        wanted = min(len(view), self._size - self._at)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise BadArchiveError(f"{self._what} cannot be read: its data runs into what follows it")
        view[: len(data)] = data
        if self._at == self._checked:
            self._crc = self._crc32(data, self._crc)
            self._checked += len(data)
            if self._checked == self._size and self._expected not in (None, self._crc):
                raise BadArchiveError(
                    f"{self._what} is broken: its CRC-32 is {self._crc:#010x}, and should be {self._expected:#010x}"
                )
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
