"""stream_zip and ZipStream: an iterator of an archive's bytes, made from entries on request."""

from __future__ import annotations

import io
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .._buffers import target_of
from .._checks import size_to_take
from .._compression.engines import Engine
from .._compression.secret import hidden
from .._entries.files.growing import GrownPolicy
from .._entries.inspection import check_entries
from .._entries.one_pass import refuse_begun
from .._entries.validation import suggesting
from .._format.names import DuplicatePolicy, NamePolicy
from .._writer.lookahead import DEFAULT_LOOKAHEAD
from .._writer.options import Options, SpelledOut, StreamOptions
from .._writer.progress import OnError, OnProgress
from .._writer.sink import DEFAULT_CHUNK_SIZE
from ..errors import OptionError, PoisonedError, StreamStateError
from . import sync_driver
from .base import StreamBase
from .producer import Producer

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from types import GeneratorType
    from typing import Self, Unpack

    from typing_extensions import Buffer

    from .._compression.methods import Compression
    from .._entries.coercion import EntryLike
    from .._entries.crc_cache import ChecksumCache
    from .._entries.types import StrPath


@suggesting
def stream_zip(
    entries: Iterable[EntryLike],
    *,
    compression: Compression | None = "none",
    level: int | None = None,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    lookahead: int = DEFAULT_LOOKAHEAD,
    comment: bytes = b"",
    names: NamePolicy = "strict",
    duplicates: DuplicatePolicy = "error",
    on_error: OnError | None = None,
    on_progress: OnProgress | None = None,
    extended_timestamps: bool = True,
    engine: Engine = "auto",
    workers: int | None = None,
    executor: Executor | None = None,
    prefetch: int = 0,
    checksums: ChecksumCache | None = None,
    password: str | bytes | None = None,
    grown: GrownPolicy = "error",
    seekable: bool | int = False,
) -> ZipStream:
    """Return a zip archive of `entries` as an iterator of bytes. Nothing is read before the first bytes are requested.

    Args:
        entries: iterable (such as a generator) of entries: an `Entry`, a path, ``(name, source)``, or a mapping with
            ``name``, one of ``file``, ``stream``, ``source`` or ``data``, and the options of an `Entry`.
        compression: default method of the members: a `zipfile` constant or a name. "none" (default; None means the
            same) does not compress: a member is stored if its size and CRC-32 are known in time (within `lookahead`,
            declared, or cached), else it is deflate in stored blocks (RFC 1951, section 3.2.4), which have 5 bytes more
            per 65,535 bytes. Readers take both front to back. "stored" always stores, with a data descriptor if the
            CRC-32 is not known in time: many readers reject such members in archives that they read front to back.
            "deflate", "bzip2", "lzma" or "zstd" (Zstandard, method 93; fewer readers support it; before Python 3.14 it
            needs the extra ``zstd``) compress. "auto" uses deflate if it makes a member's first 256 KiB at least 5 %
            smaller, else stored.
        level: default level of the members: 0 to 9 (bzip2: 1 to 9; zstd: -131072 to 22, where 0 means its default, 3).
            None means the method's default. A zstd member over 256 KiB takes about 3 MiB of memory at level 3, 15 MiB
            at 9, 90 MiB at 19 and 770 MiB at 22; its reader takes 2 to 8 MiB, above level 19 up to 128 MiB. A smaller
            zstd member takes up to 5 MiB.
        chunk_size: size in bytes of the chunks that small pieces are joined into. Larger stored ``bytes`` are passed on
            without a copy; all other output is cut to this size. 0 hands over output after every write.
        lookahead: bytes of a member's output (or 16 times as many bytes of its data) that are held back until the
            member ends, so that its local file header can be complete. 0 gives every member with data a data
            descriptor.
        comment: archive comment, at most 65,535 bytes.
        names: policy for member names. "strict" rejects names that are unsafe to extract or look like such names.
            "repair" makes them safe and percent-encodes bytes that are not UTF-8. "portable" also rejects names that
            Windows or macOS cannot extract (reserved names and characters, trailing dots and spaces, direction control
            characters, components of more than 255 bytes); "repair-portable" repairs them. "allow" stores any name.
            All except "allow" reject members whose path leads through a symbolic link of the archive.
        duplicates: policy for names already in the archive: "error" rejects them, "rename" numbers them, "allow" stores
            them again. Under the portable policies of `names`, names that differ only in case or Unicode normalization
            are equal. A directory already in the archive is left out, except under "allow".
        on_error: called as ``on_error(entry, exception)`` if an entry fails before any of its bytes are in the archive.
            It returns None to leave the entry out (see `ZipStream.skipped`), returns an Entry to replace it, or raises.
            Without `on_error`, or once bytes of the entry are in the archive, a failure ends the stream. Exception: for
            a file that grew while it was read (see `grown`), of which bytes are in the archive, returning None keeps
            the data that the file had when it was opened.
        on_progress: called with a `Progress` after each chunk of data and at the end of each member.
        extended_timestamps: whether members also store their date as UTC seconds (extra field 0x5455).
        engine: deflate implementation. "zlib"; "zlib-ng", "isal" or "libdeflate" (extra ``fast``), which take the level
            as their own (ISA-L: 3 at most; libdeflate: for members up to 512 KiB, longer ones as "auto"); or "auto": at
            each level, the fastest installed one whose output is at most 1 % larger than zlib's on average over each of
            three collections of files. Single files can be up to 3 % larger.
        workers: number of 256 KiB blocks to deflate at a time, in threads: None for one per usable core, 0 for no
            threads. Output is the same for any number. Members smaller than a block, including "zstd" members, are
            compressed in batches of one block; less than a block uses no thread. A larger zstd member uses one thread.
            Memory: up to 1 MiB * (workers + 4).
        executor: a `concurrent.futures.Executor` to compress on; the caller shuts it down. Default: threads shared by
            all streams of the process, which end with the last stream.
        prefetch: number of upcoming entries to open in advance, one thread each, while the entry before them is
            written. The first 256 KiB of each are read (and the rest of the chunk that reaches them). For slow
            sources; data in memory is not prefetched. Closing waits 1 second for sources that hang, and then issues a
            RuntimeWarning. A forked child cannot continue with prefetched sources (StreamStateError).
        checksums: a `ChecksumCache` that stores the CRC-32 of files. Stored members from files larger than `lookahead`
            get complete headers if their CRC-32 is cached; if not, it is cached once the file was read whole. The
            caller closes the cache.
        password: encrypts all members that have data (str: as UTF-8) with AES-256 as defined by WinZip (AE-2; extra
            ``crypto``). 7z and pyzipper read such members; bsdtar does if the data is stored or deflated; Info-ZIP's
            unzip, Java and `zipfile` do not. Names, sizes and dates stay readable. Data takes 28 bytes more, and each
            of its two headers 11. Stored members of a known size have complete headers. Salts are random: no two such
            archives are equal. If the process forks in the middle of a member, only one of the processes may continue
            the stream: both would encrypt the rest of that member with one key.
        grown: policy for a file that grows while it is read, such as a log. "error" fails, because its size was already
            known. "cut" stores the data that the file had when it was opened and lists it in `ZipStream.grown`. An
            Entry's own `grown` takes precedence. A file that shrinks always fails.
        seekable: whether deflated members of 1 MiB of data or more get an index (SOZip, https://sozip.org), so that
            readers such as `open_remote` and GDAL seek in them. They are deflated in chunks of 32,768 bytes (True), or
            of as many bytes as given: a multiple of that, up to 16 MiB. No chunk needs another one, which makes the
            output larger. The index is a member, ``dir/.name.sozip.idx``, that is not in the central directory: only
            readers of a pipe see it. It takes 8 bytes for each chunk, also in memory: 256 KiB for 1 GiB of data. Up to
            1 MiB of a member is held at first. A chunk of more than 256 KiB takes up to 2 * (workers + 3) times its
            size. Under "auto", members that are deflated get an index. Members of other methods or of level 0, raw and
            encrypted ones get none. An Entry's own `seekable` takes precedence, and applies to any size over a chunk.
            GDAL and sozipfile find no index behind a data descriptor: see "Seekable members" in the documentation.

    Raises:
        OptionError, LimitError, EntryTypeError, ImportError: at the call, for invalid arguments.
        ZipStreamError: while iterating; its message names the entry. An exception of a source or a callback is raised
            as it is, with a note that names the entry.
    """
    password = hidden(password)
    return ZipStream(
        entries,
        compression=compression,
        level=level,
        chunk_size=chunk_size,
        lookahead=lookahead,
        comment=comment,
        names=names,
        duplicates=duplicates,
        on_error=on_error,
        on_progress=on_progress,
        extended_timestamps=extended_timestamps,
        engine=engine,
        workers=workers,
        executor=executor,
        prefetch=prefetch,
        checksums=checksums,
        password=password,
        grown=grown,
        seekable=seekable,
    )


class ZipStream(StreamBase):
    """An iterator of an archive's bytes (non-empty ``bytes``), made on request. It can be iterated over once.

    Iterating over a stream that is finished, failed or closed raises StreamStateError, so that no client sends an empty
    body in place of the archive. A stream is also a file object that can be read but not seeked: HTTP clients that
    would send it a second time (a retry, a redirect) raise instead. It has no ``len()``; see `size`. Use it from one
    thread at a time. After an interrupt (an exception raised by a signal handler), a stream continues with the next
    byte, or raises PoisonedError if a step was interrupted. `options` are those of `stream_zip`.
    """

    __signature__ = SpelledOut(StreamOptions)

    def __init__(self, entries: Iterable[EntryLike], **options: Unpack[StreamOptions]) -> None:
        self._fill(entries, Options.given_to("ZipStream", options, StreamOptions))

    def _fill(self, entries: Iterable[Any], checked: Options) -> None:
        for name in ("on_error", "on_progress"):
            if (callback := getattr(checked, name)) is not None:
                _check_plain(name, callback)
        producer = Producer(check_entries(entries), checked)
        super().__init__(entries, checked, producer)
        self._chunks = cast("GeneratorType[bytes, None, None]", sync_driver.run(producer))

    def __iter__(self) -> Self:
        self._refuse_if_used_up()
        return self

    def __next__(self) -> bytes:
        if self._left_over:
            return self.read(len(self._left_over))
        if self._failure is not None:
            self._refuse_if_failed()
        if self._over:
            raise StopIteration
        if self._chunks.gi_running:
            self._refuse_if_running()
        self._begun = True
        try:
            chunk = next(self._chunks, b"")
            self._taken += len(chunk)
            if chunk:
                return chunk
            self._end()
        except BaseException as exc:
            # An interrupt may have lost a chunk that was already made: no later byte may be returned.
            self._fail(self._failure or exc)
            raise
        raise StopIteration

    def _end(self) -> None:
        """Mark the stream as read to its end. Raises PoisonedError if an interrupt hid the exception that ended it."""
        if not self._producer.is_whole:
            raise PoisonedError("this stream was interrupted before, and its archive is incomplete")
        self._over = True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end; -1 or None returns all the rest. b"" means the end."""
        self._refuse_if_running()
        wanted = size_to_take(size)
        parts = []
        try:
            while wanted and (chunk := self._left_over or memoryview(next(self, b""))):
                part = chunk if wanted < 0 else chunk[:wanted]
                self._left_over = chunk[len(part) :]
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
            return b"".join(parts)
        except BaseException as exc:
            # The bytes read by this call are lost: no later byte may be returned.
            self._fail(self._failure or exc)
            raise

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer` and return the number of bytes read, fewer than its size only at the end."""
        self._refuse_if_running()
        with target_of(buffer) as view:
            try:
                data = self.read(len(view))
                view[: len(data)] = data
                return len(data)
            except BaseException as exc:
                self._fail(self._failure or exc)
                raise

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False: a stream is produced once, front to back."""
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Raise io.UnsupportedOperation, as a pipe does: bytes that were handed over are not kept."""
        raise io.UnsupportedOperation(
            "a stream is produced once and cannot be rewound: make a new one to send it again, or open() a ZipLayout"
        )

    def flush(self) -> None:
        """Do nothing. `io.BufferedReader` calls this."""

    def fileno(self) -> int:
        """Raise io.UnsupportedOperation, as files in memory do: there is no descriptor."""
        raise io.UnsupportedOperation("this stream is produced in memory and has no file descriptor")

    @property
    def len(self) -> int:
        """`size`, in bytes. Raises AttributeError if it is not known. `requests` uses it as the Content-Length."""
        if self.size is None:
            raise AttributeError("len: the size of this archive is not known before all of it is made")
        return self.size

    def save(self, path: StrPath) -> int:
        """Write the archive to the file at `path`, as `zipstream_adapter.save` does. Returns its size in bytes.

        The stream is closed afterwards. Raises StreamStateError if anything was read from it before.
        """
        from .._writer.whole_file import WholeFile  # only for those who save

        refuse_begun(self)
        file = WholeFile(path)
        try:
            file.open()
            self._producer.leave_out(file.identities)
            for chunk in self:
                file.write(chunk)
            file.finish()
        except BaseException:
            file.abort()
            raise
        finally:
            self.close()
        return self.tell()

    def close(self) -> None:
        """End the stream: close the open source and `entries`. An unfinished archive stays unfinished."""
        self._refuse_if_running()
        self._close_for_good()
        try:
            self._chunks.close()
            if not self._begun and not self._closed:
                self._producer.held.close_unbegun(self._entries)
            self._closed = True
        finally:
            self._producer.held.let_go()  # closes what an interrupt left open

    def _fail(self, exc: BaseException) -> None:
        super()._fail(exc)
        self._producer.archive.abort()
        if not self._chunks.gi_frame:
            self._producer.held.let_go()

    def _refuse_if_running(self) -> None:
        if self._chunks.gi_running:
            raise StreamStateError(
                "this stream is making its next chunk: use it from one thread at a time; to end it in a callback, "
                "raise an exception there"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stream_with(entries: Iterable[Any], **options: Any) -> ZipStream:
    """Return a stream with any option of `Options`: also those that are for modules of this package only."""
    stream = ZipStream.__new__(ZipStream)
    stream._fill(entries, Options.given_to("ZipStream", options))
    return stream


def _check_plain(name: str, callback: object) -> None:
    import inspect  # imports much that streams without a callback do not need

    if inspect.iscoroutinefunction(callback):
        raise OptionError(f"{name}={callback!r}: nobody would await it: give a function, or use async_stream_zip")
