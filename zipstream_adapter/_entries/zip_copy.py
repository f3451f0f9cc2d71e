"""Copy members of existing archives: their metadata, and their data without decompression.

With an open `zipfile.ZipFile`, its documented ``open`` is called for the member as if it were stored: that returns the
compressed bytes, checks the local file header, and is safe beside other readers of the file. With a path, the archive
is opened again when the member's turn comes.
"""

from __future__ import annotations

import copy
import io
import os
import struct
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from .._checks import shown_half_made, typed_repr
from .._format.extra_fields import extra_fields
from .._format.records import ENCRYPTED_FLAG, LOCAL, METHOD_FLAGS, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG, decoded_name
from .._format.timestamps import EARLIEST, EXTENDED_TIMESTAMP_ID, DosDateTime
from ..errors import BadArchiveError, EntryError, EntryTypeError, NotAFileError, SourceChangedError
from .files.regular import open_regular

if TYPE_CHECKING:
    from typing import Self

_CHUNK_SIZE = 1 << 18  # bytes per read
# A member with one of these general purpose flag bits (APPNOTE 4.4.4) cannot be copied.
_REFUSED = {
    ENCRYPTED_FLAG: "is encrypted",
    PATCHED_FLAG: "is a patch",
    STRONGLY_ENCRYPTED_FLAG: "is encrypted",
    0x2000: "has masked headers",
}
_ZIP64_ID = 0x0001
_UNICODE_NAME_ID = 0x7075
_TIMESTAMP_IDS = {EXTENDED_TIMESTAMP_ID, 0x000A, 0x5855}  # the last two: NTFS, and the older Unix field


def find(zip_file: Any, member: Any) -> tuple[ZipInfo, FromZipFile | FromPath]:
    """Return the ZipInfo of `member` and the source of its data. See `Entry.copy`."""
    if not isinstance(member, str | ZipInfo):
        raise EntryTypeError(f"member={typed_repr(member)}: give the name of a member, or its ZipInfo")
    if isinstance(zip_file, ZipFile):
        if zip_file.mode in ("w", "x"):
            raise EntryError(f"{zip_file!r} is being written: open it again for reading when it is complete")
        info = _info_of(zip_file, member)
        return info, FromZipFile(zip_file, info)
    if not isinstance(zip_file, str | os.PathLike):
        raise EntryTypeError(f"zip_file={typed_repr(zip_file)}: give an open zipfile.ZipFile, or a path")
    path = os.path.abspath(zip_file)
    with io.BufferedReader(open_regular(path)) as file:
        pin = os.fstat(file.fileno())
        info = _info_in(file, path, member) if isinstance(member, str) else _copyable(member)
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
        return _copyable(member)
    try:
        return _copyable(zip_file.getinfo(member))
    except KeyError as exc:
        raise EntryError(f"there is no member {member!r} in {zip_file.filename or zip_file!r}") from exc


def _copyable(info: ZipInfo) -> ZipInfo:
    if not all(hasattr(info, field) for field in ("CRC", "header_offset", "orig_filename", "flag_bits")):
        raise EntryError(f"{info!r} does not come from an archive: give a ZipInfo that ZipFile.infolist() returns")
    for bit, fault in _REFUSED.items():
        if info.flag_bits & bit:
            raise EntryError(f"member {info.filename!r} {fault}, and cannot be copied: extract it, and add its data")
    if info.header_offset < 0:
        raise BadArchiveError(
            f"member {info.filename!r} begins {-info.header_offset} bytes before the archive, by its header_offset"
        )
    if info.filename.endswith("/") and info.file_size:
        raise EntryError(f"member {info.filename!r} is a directory with {info.file_size} bytes of data")
    return info


def described_by(info: ZipInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the copy's Entry: the member's own values, replaced by `options`."""
    known = {"mode": info.external_attr >> 16 or None, "comment": info.comment, **options}
    known.setdefault("modified", _date_of(info))
    if "extra" not in options:
        known["extra"] = _kept_extra(info, dated="modified" in options)
    return known


def coding_of(info: ZipInfo) -> dict[str, Any]:
    """Return the arguments of `Entry.raw` that describe the compressed data."""
    return {
        "compression": info.compress_type,
        "size": info.file_size,
        "crc32": info.CRC,
        "compressed_size": info.compress_size,
        "flag_bits": info.flag_bits & METHOD_FLAGS,
    }


def _date_of(info: ZipInfo) -> DosDateTime:
    try:
        return DosDateTime(*info.date_time, tzinfo=EARLIEST.tzinfo)
    except ValueError:  # month or day 0, as archives without dates have; seconds above 59
        return DosDateTime(*EARLIEST.timetuple()[:6], tzinfo=EARLIEST.tzinfo)


def _kept_extra(info: ZipInfo, *, dated: bool) -> bytes:
    """The extra fields of the central directory header to keep. dated: whether the copy has a date of its own."""
    fields = []
    try:
        found = extra_fields(info.extra)
    except EntryError as exc:
        raise EntryError(f"member {info.filename!r}: {exc}: pass extra=b'' to leave it out") from exc
    for kind, data in found:
        if kind in (_ZIP64_ID, _UNICODE_NAME_ID) or (dated and kind in _TIMESTAMP_IDS):
            continue
        if kind == EXTENDED_TIMESTAMP_ID:
            data = _times_for_local_header(data)
            if not data:
                continue
        fields.append(struct.pack("<2H", kind, len(data)) + data)
    return b"".join(fields)


def _times_for_local_header(data: bytes) -> bytes:
    """Make an extended timestamp valid in both headers; b"" if it has no modification time.

    In a central directory header, the flags may name three times although only the first is present.
    """
    flags = data[0] if data else 0
    if len(data) == 1 + 4 * (flags & 7).bit_count():
        return data
    return b"\1" + data[1:5] if flags & 1 and len(data) >= 5 else b""


@shown_half_made
class _Source:
    """A source that equals another of its class with the same attributes. (The module dataclasses imports much.)"""

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class FromZipFile(_Source):
    """A callable source: the compressed data of a member of an open ZipFile."""

    def __init__(self, zip_file: ZipFile, info: ZipInfo) -> None:
        self.zip_file = zip_file
        self.info = info

    def __call__(self) -> Compressed:
        info = copy.copy(self.info)
        info.compress_type, info.file_size = ZIP_STORED, info.compress_size
        del info.CRC  # the CRC-32 of the uncompressed data
        what = f"member {info.filename!r} of {self.zip_file.filename or self.zip_file!r}"
        try:
            return Compressed(self.zip_file.open(info), info.compress_size, what)
        except (BadZipFile, UnicodeDecodeError) as exc:
            raise BadArchiveError(f"{what} cannot be read: {exc}") from exc

    def __reduce__(self) -> Any:
        raise TypeError(f"a copy from an open {self.zip_file!r} cannot be pickled: give Entry.copy the archive's path")


class FromPath(_Source):
    """A callable source: the compressed data of one member of the archive at `path`. Can be pickled.

    Calling it raises SourceChangedError if the archive has changed.

    Attributes:
        size, modified: size of the archive in bytes, and its modification time in nanoseconds since 1970.
    """

    def __init__(
        self, path: str, member: str, offset: int, method: int, compressed: int, size: int, modified: int
    ) -> None:
        self.path = path
        self.member = member
        self.offset = offset
        self.method = method
        self.compressed = compressed
        self.size = size
        self.modified = modified

    def __call__(self) -> Compressed:
        try:
            file = open_regular(self.path)
        except NotAFileError as exc:
            raise SourceChangedError(f"archive {self.path!r} has changed since Entry.copy looked at it: {exc}") from exc
        try:
            info = os.fstat(file.fileno())
            if (info.st_size, info.st_mtime_ns) != (self.size, self.modified):
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
        """Seek past the local file header. Its extra may have another length than in the directory (APPNOTE 4.3.7)."""
        file.seek(self.offset)
        head = file.read(LOCAL.size)
        if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
            raise BadArchiveError(f"{self._what} cannot be read: there is no local file header at byte {self.offset}")
        _, _, _, flags, method, *_, name_size, extra_size = LOCAL.unpack(head)
        name = decoded_name(file.read(name_size), flags)
        if (name, method) != (self.member, self.method):
            raise BadArchiveError(
                f"{self._what} cannot be read: its local file header is for {name!r}, by method {method} and not "
                f"{self.method}"
            )
        file.seek(extra_size, os.SEEK_CUR)


class Compressed:
    """An iterator of the next `size` bytes of `file`. Raises BadArchiveError if the file ends early."""

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
            data: bytes = self._file.read(min(_CHUNK_SIZE, self._left))
        except (EOFError, BadZipFile) as exc:
            raise self._cut() from exc
        if not data:
            raise self._cut()
        self._left -= len(data)
        return data

    def _cut(self) -> BadArchiveError:
        return BadArchiveError(f"{self._what} cannot be read: its data ends {self._left} bytes early")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
