"""Members of archives that are there already: what they say of themselves, and their data as it is compressed.

Of an open `zipfile.ZipFile`, a member is read through its documented ``open``, which keeps all that read the same file
apart and checks the local header: asked for a stored member, it gives the bytes as they are. Of a path, a handle of
our own is opened when the member's turn comes.
"""

from __future__ import annotations

import copy
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from .dates import EARLIEST, EXTENDED_TIMESTAMP_ID, LocalTime
from .errors import BadArchiveError, EntryError, EntryTypeError, SourceChangedError
from .fields import described, extra_fields
from .records import ENCRYPTED_FLAG, LOCAL, METHOD_FLAGS, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG, decoded_name

if TYPE_CHECKING:
    from typing import Self

_PIECE = 1 << 18  # bytes that are read at a time
# Of a member under one of these bits (4.4.4) the data cannot be passed on as it is.
_REFUSED = {
    ENCRYPTED_FLAG: "is encrypted",
    PATCHED_FLAG: "is a patch",
    STRONGLY_ENCRYPTED_FLAG: "is encrypted",
    0x2000: "has masked headers",
}
_ZIP64_ID = 0x0001
_UNICODE_NAME_ID = 0x7075
_TIMES = {EXTENDED_TIMESTAMP_ID, 0x000A, 0x5855}  # the last two: NTFS's, and the older one of Unix


def find(zip_file: Any, member: Any) -> tuple[ZipInfo, FromZipFile | FromPath]:
    """The ZipInfo of `member`, and where its data comes from; see `Entry.copy`."""
    if not isinstance(member, str | ZipInfo):
        raise EntryTypeError(f"member={described(member)}: give the name of a member, or its ZipInfo")
    if isinstance(zip_file, ZipFile):
        if zip_file.mode in ("w", "x"):
            raise EntryError(f"{zip_file!r} is being written: open it again, to read, once it is whole")
        info = _info_of(zip_file, member)
        return info, FromZipFile(zip_file, info)
    if not isinstance(zip_file, str | os.PathLike):
        raise EntryTypeError(f"zip_file={described(zip_file)}: give an open zipfile.ZipFile, or a path")
    path = os.path.abspath(zip_file)
    with open(path, "rb") as file:
        pin = os.fstat(file.fileno())
        info = _info_in(file, path, member) if isinstance(member, str) else _checked(member)
    return info, FromPath(
        path, info.orig_filename, info.header_offset, info.compress_type, info.compress_size,
        pin.st_size, pin.st_mtime_ns,
    )  # fmt: skip


def _info_in(file: IO[bytes], path: Any, member: str) -> ZipInfo:
    try:
        with ZipFile(file) as archive:
            return _info_of(archive, member)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as exc:
        raise BadArchiveError(f"{path!r} cannot be read as a zip archive: {exc}") from exc


def _info_of(zip_file: ZipFile, member: str | ZipInfo) -> ZipInfo:
    if isinstance(member, ZipInfo):
        return _checked(member)
    try:
        return _checked(zip_file.getinfo(member))
    except KeyError as exc:
        raise EntryError(f"there is no member {member!r} in {zip_file.filename or zip_file!r}") from exc


def _checked(info: ZipInfo) -> ZipInfo:
    if not all(hasattr(info, field) for field in ("CRC", "header_offset", "orig_filename", "flag_bits")):
        raise EntryError(f"{info!r} comes from no archive: give one of those that ZipFile.infolist() returns")
    for bit, fault in _REFUSED.items():
        if info.flag_bits & bit:
            raise EntryError(f"member {info.filename!r} {fault}, and cannot be copied: extract it, and add what it was")
    if info.header_offset < 0:
        raise BadArchiveError(
            f"member {info.filename!r} is said to begin {-info.header_offset} bytes before the archive"
        )
    if info.filename.endswith("/") and info.file_size:
        raise EntryError(f"member {info.filename!r} is a directory with {info.file_size} bytes of data")
    return info


def described_by(info: ZipInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a copy of the member is to be, as an Entry's options: what it was, but for `options`."""
    known = {"mode": info.external_attr >> 16 or None, "comment": info.comment, **options}
    known.setdefault("modified", _date_of(info))
    if "extra" not in options:
        known["extra"] = _kept_extra(info, dated="modified" in options)
    return known


def coding_of(info: ZipInfo) -> dict[str, Any]:
    """How its data is compressed, as `Entry.raw` takes it."""
    return {
        "compression": info.compress_type,
        "size": info.file_size,
        "crc32": info.CRC,
        "compressed_size": info.compress_size,
        "flag_bits": info.flag_bits & METHOD_FLAGS,
    }


def _date_of(info: ZipInfo) -> LocalTime:
    try:
        return LocalTime(*info.date_time, tzinfo=EARLIEST.tzinfo)
    except ValueError:  # month or day 0, as where no date was known; seconds past 59
        return LocalTime(*EARLIEST.timetuple()[:6], tzinfo=EARLIEST.tzinfo)


def _kept_extra(info: ZipInfo, *, dated: bool) -> bytes:
    """The extra fields of a directory's row that are true of a copy. dated: which has a date of its own."""
    fields = []
    try:
        found = extra_fields(info.extra)
    except EntryError as exc:
        raise EntryError(f"member {info.filename!r}: {exc}: pass extra=b'' to leave it out") from exc
    for kind, data in found:
        if kind in (_ZIP64_ID, _UNICODE_NAME_ID) or (dated and kind in _TIMES):
            continue
        if kind == EXTENDED_TIMESTAMP_ID:
            data = _whole_times(data)
            if not data:
                continue
        fields.append(struct.pack("<2H", kind, len(data)) + data)
    return b"".join(fields)


def _whole_times(data: bytes) -> bytes:
    """An extended timestamp for both headers: in a row it may have its first time only, and flags for all three."""
    flags = data[0] if data else 0
    if len(data) == 1 + 4 * (flags & 7).bit_count():
        return data
    return b"\1" + data[1:5] if flags & 1 and len(data) >= 5 else b""


@dataclass(frozen=True)
class FromZipFile:
    """Opens a member of a ZipFile that is open, for its data as it is compressed."""

    zip_file: ZipFile
    info: ZipInfo

    def __call__(self) -> Compressed:
        info = copy.copy(self.info)
        info.compress_type, info.file_size = ZIP_STORED, info.compress_size
        del info.CRC  # it is not that of these bytes
        what = f"member {info.filename!r} of {self.zip_file.filename or self.zip_file!r}"
        try:
            return Compressed(self.zip_file.open(info), info.compress_size, what)
        except (BadZipFile, UnicodeDecodeError) as exc:
            raise BadArchiveError(f"{what} cannot be read: {exc}") from exc

    def __reduce__(self) -> Any:
        raise TypeError(f"a copy from an open {self.zip_file!r} cannot be pickled: give Entry.copy the archive's path")


@dataclass(frozen=True)
class FromPath:
    """Opens an archive for the data of one member as it is compressed, if it is what it was. Picklable.

    size, modified: of the archive, in bytes and in nanoseconds since 1970.
    """

    path: str
    member: str
    offset: int
    method: int
    compressed: int
    size: int
    modified: int

    def __call__(self) -> Compressed:
        file = open(self.path, "rb", buffering=0)  # noqa: SIM115, closed by whom it is handed to
        try:
            info = os.fstat(file.fileno())
            if (info.st_size, info.st_mtime_ns) != (self.size, self.modified) or not stat.S_ISREG(info.st_mode):
                raise SourceChangedError(f"archive {self.path!r} has changed since Entry.copy looked at it")
            self._skip_header(file)
            return Compressed(file, self.compressed, self._what)
        except BaseException:
            file.close()
            raise

    @property
    def _what(self) -> str:
        return f"member {self.member!r} of {self.path!r}"

    def _skip_header(self, file: Any) -> None:
        """Go past the local header, whose name and extra have lengths of their own (4.3.7)."""
        file.seek(self.offset)
        head = file.read(LOCAL.size)
        if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
            raise BadArchiveError(f"{self._what} cannot be read: there is no local header at byte {self.offset}")
        _, _, _, flags, method, *_, name_size, extra_size = LOCAL.unpack(head)
        name = decoded_name(file.read(name_size), flags)
        if (name, method) != (self.member, self.method):
            raise BadArchiveError(
                f"{self._what} cannot be read: its local header is that of {name!r}, by method {method} and not "
                f"{self.method}"
            )
        file.seek(extra_size, os.SEEK_CUR)


class Compressed:
    """An iterator of the next `size` bytes of `file`; what is cut short says so."""

    def __init__(self, file: Any, size: int, what: str) -> None:
        self._file = file
        self._left = size
        self._what = what

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        try:
            data: bytes = self._file.read(min(_PIECE, self._left))
        except (EOFError, BadZipFile) as exc:
            raise self._cut() from exc
        if not data:
            raise self._cut()
        self._left -= len(data)
        return data

    def _cut(self) -> BadArchiveError:
        return BadArchiveError(f"{self._what} cannot be read: its data ends {self._left} bytes early")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
