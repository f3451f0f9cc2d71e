"""StreamingZipFile: a `zipfile.ZipFile` for files that can only write. The only seam to ``zipfile``.

What is overridden here, and what is relied on without being documented, is pinned by
``tests/test_archive_seam.py`` for every supported Python:

- ``ZipFile._open_to_write`` is the one way in for ``open(name, "w")``, ``write`` and ``writestr``;
- ``ZipFile._write_end_record`` is what ``close`` calls for the central directory;
- ``ZipFile.mkdir`` writes a header of its own, so it is overridden too.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

from .coding import Coding
from .compress import METHODS, check_installed, method_for_zipfile, method_number
from .engines import Engine
from .errors import OptionError, PoisonedError, StreamStateError, Zip64RequiredError
from .fields import check_password
from .infos import check_fields, check_info, check_room, level_of
from .lookahead import DEFAULT_LOOKAHEAD, check_lookahead
from .member import MemberWriter
from .records import (
    AES_EXTRA_ROOM,
    DOS_DIRECTORY,
    ENCRYPTED_FLAG,
    LIMIT16,
    LZMA_EOS_FLAG,
    METHOD_FLAGS,
    Rows,
    directory_row,
    end_records,
    end_zip64_field,
)
from .sink import DEFAULT_CHUNK_SIZE, FileSink, StreamSink

if TYPE_CHECKING:
    from concurrent.futures import Executor

_DIRECTORY_ATTR = (stat.S_IFDIR | 0o755) << 16 | DOS_DIRECTORY


class StreamingZipFile(ZipFile):
    """A real `zipfile.ZipFile` that writes an archive front to back, for code that expects one.

    ``open(name, "w")``, ``write``, ``writestr``, ``mkdir``, ``infolist`` and ``comment`` work as ``zipfile``
    documents them. A failure inside an open member, or inside ``with`` on the archive, poisons it: not one more byte
    leaves, so a cut archive never looks whole. An archive or a member that is dropped without being closed is not
    finished either.

    Args:
        file: an object that can ``write`` (a pipe, a socket's file, a framework's response), which gets the bytes at
            once; a path; or None: `drain` hands out the bytes.
        mode: "w", or "x" to refuse a path that exists.
        compression: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma", "zstd", "auto" (see `stream_zip`).
        allowZip64: False refuses members and archives that need zip64, with Zip64RequiredError.
        compresslevel: 0 to 9 for deflate, 1 to 9 for bzip2, -131072 to 22 for zstd; no effect on the others.
        strict_timestamps: False moves file dates outside 1980 to 2107 to the nearest that fits.
        lookahead: bytes of a member's output that are held back (per member that is being written) so that a
            member which ends within them gets a complete header and no data descriptor.
        chunk_size: bytes that small pieces are joined to, without a file.
        engine, workers, executor: what deflates, and how much of it at a time: see `stream_zip`.
        password: what all members with data are encrypted with: see `stream_zip`.

    Raises:
        OptionError for a mode, level or keyword outside of these; NotImplementedError, as ``zipfile`` does, for an
        unknown compression, and ImportError for one whose extra is missing; OSError where the path cannot be opened.
    """

    def __init__(
        self,
        file: Any = None,
        mode: Literal["w", "x"] = "w",
        compression: int | str = ZIP_STORED,
        allowZip64: bool = True,
        compresslevel: int | None = None,
        *,
        strict_timestamps: bool = True,
        metadata_encoding: str | None = None,
        lookahead: int = DEFAULT_LOOKAHEAD,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        engine: Engine = "auto",
        workers: int | None = None,
        executor: Executor | None = None,
        password: str | bytes | None = None,
    ) -> None:
        self._own_file: Any = None
        self._member: MemberWriter | None = None
        self._aborted = self._untold = False
        self._reason = ""
        self._allow_zip64 = allowZip64
        self._lookahead = check_lookahead(lookahead)
        self.coding = Coding(engine, workers, executor)
        self._password = check_password(password)
        # Header offsets of the members whose local header is zip64: their directory rows have to be, too.
        self.zip64_offsets: set[int] = set()
        if mode not in ("w", "x"):
            raise OptionError(f"mode={mode!r}: an archive that is streamed can only be written: use 'w' or 'x'")
        number = method_number(compression) if isinstance(compression, str) else compression
        # All of it before a file is opened, and with it emptied. The types are zipfile's.
        if metadata_encoding is not None:
            raise ValueError("metadata_encoding is only supported for reading files")
        if number not in METHODS.values():
            raise NotImplementedError(f"compression={compression!r}: that compression method is not supported")
        check_installed(number)
        self.sink: StreamSink | FileSink = StreamSink(chunk_size) if file is None else self._file_sink(file, mode)
        try:
            super().__init__(  # type: ignore[call-overload]
                self.sink,
                mode,
                method_for_zipfile(number),
                allowZip64,
                compresslevel,
                strict_timestamps=strict_timestamps,
            )
        except BaseException:
            self._close_own_file()
            raise
        self.compression = number
        self.filename = os.fspath(file) if isinstance(file, str | os.PathLike) else getattr(file, "name", None)

    def _file_sink(self, file: Any, mode: str) -> FileSink:
        if isinstance(file, str | os.PathLike):
            file = self._own_file = open(file, mode + "b")  # noqa: SIM115, closed by close()
        return FileSink(file)

    # Members.

    def _open_to_write(self, zinfo: ZipInfo, force_zip64: bool = False) -> MemberWriter:
        """Begin a member as ``zipfile`` does: the caller's ZipInfo is kept, and its file_size is but a hint."""
        if force_zip64 and not self._allow_zip64:
            raise ValueError("force_zip64 is True, but allowZip64 was False when opening the ZIP file.")
        self._refuse_another_member()
        zinfo.compress_size = zinfo.CRC = zinfo.flag_bits = 0
        default = _DIRECTORY_ATTR if zinfo.filename.endswith("/") else 0o600 << 16
        zinfo.external_attr = zinfo.external_attr or default
        zinfo.header_offset = self.sink.tell()
        method = zinfo.compress_type
        zinfo.compress_type = method_for_zipfile(method)  # for its checks
        self._writecheck(zinfo)  # type: ignore[attr-defined]
        check_info(zinfo)
        check_fields(zinfo)
        zinfo.compress_type = method
        zip64 = True if force_zip64 else None
        return self._begin(zinfo, level=level_of(zinfo), zip64=zip64, password=self._password)

    def begin(
        self,
        info: ZipInfo,
        *,
        level: int | None = None,
        size: int | None = None,
        crc32: int | None = None,
        zip64: bool | None = None,
        pinned: bool = False,
        raw_size: int | None = None,
        password: bytes | None = None,
    ) -> MemberWriter:
        """Open a member for writing, with what `zipfile.ZipFile.open` cannot say of it.

        Args:
            info: its metadata; kept, completed, and listed once the member is closed.
            level: compression level, None for the method's default.
            size, crc32: promises that are checked; with both, stored data gets a complete header at once.
            zip64: True forces the zip64 header, False refuses zip64, None uses it where a known size needs it.
            pinned: `size` is what an opened file said, so data that does not fit means that the file changed.
            raw_size: what is written is compressed already, by the method of `info` and under bits 1 and 2 of its
                flags, and this is the size of what it was before; `crc32`, which has to be given, is of that, too.
            password: what its data is encrypted with, whatever the archive's is; None: it is not.
        """
        if raw_size is not None and crc32 is None:
            raise OptionError(f"entry {info.filename!r}: of data that is compressed already, crc32 has to be told")
        self._refuse_another_member()
        check_info(info)
        promises = {"size": size, "crc32": crc32, "raw_size": raw_size, "pinned": pinned}
        return self._begin(info, level=level, zip64=zip64, password=password, **promises)

    def _begin(
        self, info: ZipInfo, *, level: int | None, zip64: bool | None, password: bytes | None, **promises: Any
    ) -> MemberWriter:
        """The way in for all members, once their ZipInfo has been checked."""
        if not self._allow_zip64:
            zip64 = False
            if len(self.filelist) >= LIMIT16 - 1:
                raise Zip64RequiredError(
                    f"entry {info.filename!r} is member number {LIMIT16}, which needs zip64", "members"
                )
        if info.filename.endswith("/"):
            info.compress_type, password = ZIP_STORED, None
        own_flags = LZMA_EOS_FLAG if info.compress_type == ZIP_LZMA else 0
        info.flag_bits = own_flags if promises.get("raw_size") is None else info.flag_bits & METHOD_FLAGS
        if password is not None:
            check_room(info, AES_EXTRA_ROOM)
            info.flag_bits |= ENCRYPTED_FLAG
        self._member = MemberWriter(
            self, info, level=level, zip64=zip64, password=password, lookahead=self._lookahead, **promises
        )
        self._writing = self._didModify = True
        return self._member

    def mkdir(self, zinfo_or_directory_name: str | ZipInfo, mode: int = 511) -> None:
        """Add a directory, by name (with Unix permissions `mode`) or by ZipInfo."""
        if isinstance(zinfo_or_directory_name, ZipInfo):
            info = zinfo_or_directory_name
            if not info.is_dir():
                raise ValueError("The given ZipInfo does not describe a directory")
        elif isinstance(zinfo_or_directory_name, str):
            info = ZipInfo(zinfo_or_directory_name.removesuffix("/") + "/")
            info.external_attr = (stat.S_IFDIR | mode) << 16 & 0xFFFFFFFF | DOS_DIRECTORY
        else:
            raise TypeError("Expected type str or ZipInfo")
        with self._lock:  # type: ignore[attr-defined]
            self._open_to_write(info).close()

    def member_ended(self, info: ZipInfo | None) -> None:
        """Called by the open member, with its completed ZipInfo, or None where it is left out."""
        if info is not None:
            self.filelist.append(info)
            self.NameToInfo[info.filename] = info
            self.start_dir = self.sink.tell()
        self._member = None
        self._writing = False

    def _refuse_another_member(self) -> None:
        self._refuse_if_poisoned()
        if self._member is not None:
            raise ValueError(
                f"Can't write to the ZIP file while member {self._member.name!r} is open for writing. "
                "Close that handle first."
            )

    # The end.

    def finish(self) -> Iterator[None]:
        """`close`, a piece of the central directory at a time: what is pending can be taken in between."""
        self._refuse_if_poisoned()
        yield from self._directory()
        self._didModify = False  # nothing is left to write for close()
        self.close()

    def _write_end_record(self) -> None:
        for _ in self._directory():
            pass

    def _rows(self) -> Rows:
        """The central directory's rows; of ZipInfos as they are now, which is how callers amend them."""
        rows = Rows()
        for info in self.filelist:
            rows.add(directory_row(info, zip64=info.header_offset in self.zip64_offsets))
        return rows

    def _directory(self) -> Iterator[None]:
        sink, rows = self.sink, self._rows()
        start = sink.tell()
        blocks = rows.take()
        block = next(blocks)
        for following in blocks:
            sink.write(block)
            yield
            block = following
        size, count = sink.tell() + len(block) - start, rows.count
        field = None if self._allow_zip64 else end_zip64_field(count, size, start)
        if field is not None:
            what = f"the central directory ({count} members, {size} bytes, at byte {start})"
            raise Zip64RequiredError(f"{what} needs zip64, and zip64 was refused", field)
        zip64, end = end_records(count, size, start, self._comment)  # type: ignore[attr-defined]
        # In one piece: where it is cut in its comment, readers by the directory do not notice; where it is cut in the
        # rows, readers front to back do not.
        sink.write(block + zip64 + end, whole=True)
        sink.flush()

    def close(self) -> None:
        """Write the central directory and let go. On a poisoned archive: only let go.

        That raises PoisonedError only where nothing has told of the failure before.
        """
        if self.fp is None:
            return
        if self.sink.poisoned:
            self.fp = None
            self._let_go()
            if self._untold and sys.exception() is None:
                self._refuse_if_poisoned()
            return
        if self._member is not None:
            raise ValueError(
                f"Can't close the ZIP file while member {self._member.name!r} is open for writing. "
                "Close that handle before closing the zip."
            )
        try:
            super().close()
        except BaseException:
            self.sink.poison()
            raise
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self.coding.close()
        self._close_own_file()

    def _close_own_file(self) -> None:
        file, self._own_file = self._own_file, None
        if file is not None:
            file.close()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is not None:
            self.fail("its with block was left by an exception")
        elif self._member is not None:
            self.fail(f"its with block ended while member {self._member.name!r} was open for writing")
        self.close()
        if exc is None and self.sink.poisoned and not self._aborted:
            # A failure that was caught inside the block: its end must not pass for success.
            self._refuse_if_poisoned()

    def __del__(self) -> None:
        # zipfile would finish the archive here, and a failure would look like success.
        if getattr(self, "fp", None) is None:
            return
        unfinished = not self.sink.poisoned and (self.filelist or self._member)
        self.fail()
        self.close()
        if unfinished:
            warnings.warn(f"unclosed archive {self!r}: it was not finished", ResourceWarning, 2, source=self)

    # The poison.

    def abort(self) -> None:
        """Give the archive up: what is pending is dropped, and not one more byte leaves it."""
        self._aborted = True
        self.fail("it was aborted")

    def fail(self, reason: str = "", *, silent: bool = False) -> None:
        """Poison the archive, as any failure in it does. `silent`: no exception says so, so `close` will have to."""
        self._untold = silent and not self.sink.poisoned
        self._reason = self._reason or reason
        member, self._member = self._member, None
        self._writing = False
        self.sink.poison()
        try:
            if member is not None:
                member.drop()
        finally:
            self.coding.close()

    def _refuse_if_poisoned(self) -> None:
        if self.sink.poisoned:
            raise PoisonedError(f"this archive failed before: {self._reason or 'see the first error'}")

    def drain(self) -> bytes:
        """The bytes that are ready and were not handed out yet; for an archive without a file.

        What a member's lookahead holds back is not ready. Raises PoisonedError after a failure.
        """
        if isinstance(self.sink, FileSink):
            raise StreamStateError("drain() is for an archive without a file: this one's bytes went there already")
        self._refuse_if_poisoned()
        try:
            return b"".join(self.sink.take(everything=True))
        except BaseException:
            self.fail("an interrupt came while bytes were being handed out")
            raise

    @property
    def __class__(self) -> type[StreamingZipFile]:
        return type(self)

    @__class__.setter
    def __class__(self, other: type) -> None:
        # zipfile.Path makes an archive one of its own kinds. It becomes both, and keeps what is overridden here.
        both = type(other.__name__, (type(self), other), {})
        object.__dict__["__class__"].__set__(self, both)
