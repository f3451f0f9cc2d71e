"""StreamingZipFile: a `zipfile.ZipFile` for write-only files. The only seam to ``zipfile`` when writing.

``tests/writer/test_archive_seam.py`` pins, for every supported Python, what is overridden and what is relied on
without being documented:

- ``open(name, "w")``, ``write`` and ``writestr`` all go through ``ZipFile._open_to_write``;
- ``close`` calls ``ZipFile._write_end_record`` for the central directory;
- ``ZipFile.mkdir`` writes a local file header itself, so it is overridden too.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from collections.abc import Iterator
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

from .._checks import whole
from .._compression.codecs import CodecFactory
from .._compression.engines import Engine
from .._compression.methods import AUTO, METHODS, UNCOMPRESSED, check_installed, method_for_zipfile, method_number
from .._compression.secret import hidden
from .._entries.validation import (
    check_archive_comment,
    check_password,
    check_seekable,
    check_seekable_coding,
    suggesting,
)
from .._format.central_directory import CentralDirectory
from .._format.records import (
    AES_EXTRA_ROOM,
    DOS_DIRECTORY,
    ENCRYPTED_FLAG,
    LIMIT16,
    LZMA_EOS_FLAG,
    METHOD_FLAGS,
    central_header,
    end_records,
    end_zip64_field,
)
from .._format.sozip import LEAST_MEMBER, Seeking
from ..errors import OptionError, PoisonedError, StreamStateError, Zip64RequiredError
from .lookahead import DEFAULT_LOOKAHEAD, check_lookahead
from .member import MemberWriter
from .sink import DEFAULT_CHUNK_SIZE, FileSink, StreamSink
from .zipinfo import check_ends, check_fields, check_room, validate_zipinfo

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .._compression.methods import Compression
    from .._entries.types import StrPath, SupportsWrite

_DIRECTORY_ATTR = (stat.S_IFDIR | 0o755) << 16 | DOS_DIRECTORY


class StreamingZipFile(ZipFile):
    """A `zipfile.ZipFile` subclass that writes an archive front to back, for code that expects a ZipFile.

    ``open(name, "w")``, ``write``, ``writestr``, ``mkdir``, ``infolist`` and ``comment`` work as ``zipfile`` documents
    them. A failure inside an open member, or inside a ``with`` block on the archive, poisons the archive: no further
    byte is written, so a truncated archive never looks complete. An archive or a member that is dropped without being
    closed is not finished either.

    Args:
        file: an object with a ``write`` method (a pipe, a socket's file, a framework's response), which gets the bytes
            at once; a path; or None: `drain` returns the bytes.
        mode: "w", or "x" to refuse an existing path.
        compression: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma", "zstd", "auto" (see `stream_zip`).
        allowZip64: False rejects members and archives that need zip64, with Zip64RequiredError.
        compresslevel: 0 to 9 for deflate, 1 to 9 for bzip2, -131072 to 22 for zstd; the other methods ignore it.
        strict_timestamps: False moves file dates outside of 1980 to 2107 to the nearest date inside.
        lookahead: bytes of output held back per open member, so that a member which ends within them gets a complete
            local file header and no data descriptor.
        chunk_size: size in bytes of the chunks that small pieces are joined into; only used without a file.
        engine, workers, executor: deflate implementation and its threads: see `stream_zip`.
        password: encrypts all members that have data: see `stream_zip`.
        seekable: gives deflated members an index, by which readers seek in them: see `stream_zip`.

    Raises:
        OptionError: for an invalid mode, level or keyword argument.
        NotImplementedError: for an unknown compression, as in ``zipfile``.
        ImportError: for a compression whose extra is not installed.
        OSError: if the path cannot be opened.
    """

    # Whether dropping it unfinished emits a ResourceWarning.
    _warns_if_dropped = True

    @suggesting
    def __init__(
        self,
        file: StrPath | SupportsWrite | None = None,
        mode: Literal["w", "x"] = "w",
        compression: Compression = ZIP_STORED,
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
        seekable: bool | int = False,
    ) -> None:
        password = hidden(password)
        self._own_file: Any = None
        self._member: MemberWriter | None = None
        self._aborted = self._untold = False
        self._reason = ""
        self._allow_zip64 = allowZip64
        self._lookahead = check_lookahead(lookahead)
        self.coding = CodecFactory(engine, workers, executor)
        self._password = check_password(password)
        # Offsets of the zip64 local file headers, whose data descriptors are zip64, too.
        self.zip64_offsets: set[int] = set()
        if mode not in ("w", "x"):
            raise OptionError(f"mode={mode!r}: a streamed archive can only be written: use 'w' or 'x'")
        number = method_number(compression) if isinstance(compression, str) else _number(compression)
        # Validate everything before the file is opened, which empties it. The exception types are zipfile's.
        if metadata_encoding is not None:
            raise ValueError("metadata_encoding is only supported for reading files")
        if number not in METHODS.values():
            raise NotImplementedError(f"compression={compression!r}: this compression method is not supported")
        check_installed(number)
        self._seek_chunk = check_seekable(seekable)
        if self._seek_chunk:
            check_seekable_coding(self._seek_chunk, number, compresslevel, is_encrypted=password is not None)
        self.sink: StreamSink | FileSink = StreamSink(chunk_size) if file is None else self._file_sink(file, mode)
        try:
            super().__init__(  # type: ignore[call-overload]
                self.sink,
                mode,
                method_for_zipfile(number),
                allowZip64,
                _number(compresslevel),
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
        """Begin a member as ``zipfile`` does: the caller's ZipInfo is kept, and its file_size is only a hint."""
        if force_zip64 and not self._allow_zip64:
            raise ValueError("force_zip64 is True, but allowZip64 was False when opening the ZIP file.")
        self._refuse_another_member()
        zinfo.compress_size = zinfo.CRC = zinfo.flag_bits = 0
        default = _DIRECTORY_ATTR if zinfo.filename.endswith("/") else 0o600 << 16
        zinfo.external_attr = zinfo.external_attr or default
        zinfo.header_offset = self.sink.tell()
        method = zinfo.compress_type
        zinfo.compress_type = method_for_zipfile(method)  # _writecheck rejects methods that zipfile does not know
        self._writecheck(zinfo)  # type: ignore[attr-defined]
        validate_zipinfo(zinfo)
        check_fields(zinfo)
        zinfo.compress_type = method
        zip64 = True if force_zip64 else None
        level = _level_of(zinfo)
        seeks = self._seek_chunk and level != 0 and not zinfo.filename.endswith("/")
        seeking = Seeking(self._seek_chunk, LEAST_MEMBER) if seeks and method in (ZIP_DEFLATED, AUTO) else None
        return self._begin(zinfo, level=level, zip64=zip64, password=self._password, seeking=seeking)

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
        seeking: Seeking | None = None,
    ) -> MemberWriter:
        """Open a member for writing, with options that `zipfile.ZipFile.open` does not have.

        Args:
            info: the member's metadata; kept, completed, and listed once the member is closed.
            level: compression level; None is the method's default.
            size, crc32: declared values, which are checked. With both, stored data gets a complete header at once.
            zip64: True forces a zip64 header, False rejects zip64, None uses zip64 if a known size needs it.
            pinned: whether `size` comes from an opened file, so that a mismatch means that the file changed.
            raw_size: uncompressed size, if the data written is already compressed by the method of `info`, with bits 1
                and 2 of its flags. `crc32` is then required, and is the CRC-32 of the uncompressed data.
            password: encrypts the member's data; None does not, even if the archive has a password.
            seeking: how the member is made seekable, if it is deflated.
        """
        if raw_size is not None and crc32 is None:
            raise OptionError(f"entry {info.filename!r}: data that is already compressed needs crc32: give it")
        self._refuse_another_member()
        validate_zipinfo(info)
        promises = {"size": size, "crc32": crc32, "raw_size": raw_size, "pinned": pinned, "seeking": seeking}
        return self._begin(info, level=level, zip64=zip64, password=password, **promises)

    def _begin(
        self, info: ZipInfo, *, level: int | None, zip64: bool | None, password: bytes | None, **promises: Any
    ) -> MemberWriter:
        """Open a member whose ZipInfo has been checked."""
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
        """Add a directory, given by name (with Unix permissions `mode`) or as a ZipInfo."""
        if isinstance(zinfo_or_directory_name, ZipInfo):
            info = zinfo_or_directory_name
            if not info.is_dir():
                raise ValueError("The given ZipInfo does not describe a directory")
        elif isinstance(zinfo_or_directory_name, str):
            info = ZipInfo(zinfo_or_directory_name.removesuffix("/") + "/")
            info.external_attr = (stat.S_IFDIR | index(mode)) << 16 & 0xFFFFFFFF | DOS_DIRECTORY
        else:
            raise TypeError("Expected type str or ZipInfo")
        with self._lock:  # type: ignore[attr-defined]
            self._open_to_write(info).close()

    def member_ended(self, info: ZipInfo | None) -> None:
        """Called by the open member when it ends: with its completed ZipInfo, or None if it is left out."""
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

    @property
    def comment(self) -> bytes:
        """The archive comment, as bytes. Longer than 65,535 bytes is cut, with a warning, as in ``zipfile``.

        Raises OptionError for a comment that contains the signature of an end record: readers would take that for the
        end of the archive.
        """
        return self._comment  # type: ignore[attr-defined, no-any-return]

    @comment.setter
    def comment(self, comment: bytes) -> None:
        if isinstance(comment, bytes):
            check_archive_comment(comment[:LIMIT16])
        ZipFile.comment.__set__(self, comment)  # type: ignore[attr-defined]

    def finish(self) -> Iterator[None]:
        """`close`, writing the central directory in pieces: pending bytes can be taken after each."""
        self._refuse_if_poisoned()
        yield from self._write_directory()
        self._didModify = False  # nothing is left to write for close()
        self.close()

    def _write_end_record(self) -> None:
        for _ in self._write_directory():
            pass

    def _central_directory(self) -> CentralDirectory:
        """Make the central directory headers now, at the end, because callers may change ZipInfos until then."""
        directory = CentralDirectory()
        for info in self.filelist:
            check_ends(info)
            directory.add(central_header(info))
        return directory

    def _write_directory(self) -> Iterator[None]:
        sink, directory = self.sink, self._central_directory()
        start = sink.tell()
        blocks = directory.take()
        block = next(blocks)
        for following in blocks:
            sink.write(block)
            yield
            block = following
        size, count = sink.tell() + len(block) - start, directory.count
        field = None if self._allow_zip64 else end_zip64_field(count, size, start)
        if field is not None:
            what = f"the central directory ({count} members, {size} bytes, at byte {start})"
            raise Zip64RequiredError(f"{what} needs zip64, and zip64 was refused", field)
        zip64, end = end_records(count, size, start, self._comment)  # type: ignore[attr-defined]
        # In one piece. Readers that start from the end record do not notice a cut within the archive comment; readers
        # that go front to back do not notice a cut within the central directory headers.
        sink.write(block + zip64 + end, pass_through=True)
        sink.flush()

    def close(self) -> None:
        """Write the central directory and release all resources; on a poisoned archive, only release them.

        Raises PoisonedError on a poisoned archive if no earlier exception reported the failure.
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
            # The failure was caught inside the block: leaving the block must not look like success.
            self._refuse_if_poisoned()

    def __del__(self) -> None:
        # zipfile's __del__ would finish the archive, and a failure would look like success.
        if getattr(self, "fp", None) is None:
            return
        unfinished = self._warns_if_dropped and not self.sink.poisoned and (self.filelist or self._member)
        self.fail()
        self.close()
        if unfinished:
            warnings.warn(f"unclosed archive {self!r}: it was not finished", ResourceWarning, 2, source=self)

    # Failures.

    def abort(self) -> None:
        """Abort the archive: drop pending bytes, and write no further byte."""
        self._aborted = True
        self.fail("it was aborted")

    def fail(self, reason: str = "", *, silent: bool = False) -> None:
        """Poison the archive, as any failure in it does.

        silent: whether no exception reports the failure, so that `close` has to raise.
        """
        self._untold = silent and not self.sink.poisoned
        self._reason = self._reason or reason
        member, self._member = self._member, None
        self._writing = False
        self.sink.poison()
        try:
            if member is not None:
                member.abort()
        finally:
            self.coding.close()

    def _refuse_if_poisoned(self) -> None:
        if self.sink.poisoned:
            raise PoisonedError(f"this archive failed before: {self._reason or 'see the first error'}")

    def drain(self) -> bytes:
        """Return the bytes that are ready and were not returned yet; only for an archive without a file.

        Bytes held back by a member's lookahead are not ready. Raises PoisonedError after a failure.
        """
        if isinstance(self.sink, FileSink):
            raise StreamStateError("drain() is for an archive without a file: this archive writes its bytes to a file")
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
        # zipfile.Path sets the class to a ZipFile subclass of its own. A class of both keeps our overrides.
        both = type(other.__name__, (type(self), other), {})
        object.__dict__["__class__"].__set__(self, both)


def _number(value: Any) -> Any:
    """Return `value` as an int; anything that is not an integer unchanged, for `zipfile` to judge."""
    return value if isinstance(value, bool) or (number := whole(value)) is None else number


def _level_of(info: ZipInfo) -> int | None:
    """Return the compression level of a ZipInfo; None for methods without levels, which ignore it, as in `zipfile`."""
    if info.compress_type in (ZIP_STORED, UNCOMPRESSED, ZIP_LZMA):
        return None
    # Public (compress_level) since Python 3.13, where the older name still works.
    level: int | None = info._compresslevel  # type: ignore[attr-defined]
    return None if level == -1 and info.compress_type == ZIP_DEFLATED else level
