"""stream_zip and ZipStream: entries go in, the archive's bytes come out, as they are asked for."""

from __future__ import annotations

import io
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZIP_STORED

from .engines import Engine
from .errors import StreamStateError
from .facade import Facade
from .lookahead import DEFAULT_LOOKAHEAD
from .names import DuplicatePolicy, NamePolicy
from .options import OnError, OnProgress, Options
from .pipeline import Producer
from .sink import DEFAULT_CHUNK_SIZE

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from types import GeneratorType
    from typing import Self

    from typing_extensions import Buffer

    from .checksums import ChecksumCache


def stream_zip(
    entries: Iterable[Any],
    *,
    compression: int | str = ZIP_STORED,
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
) -> ZipStream:
    """A zip archive of `entries`, as an iterator of its bytes. Nothing is read before the first are asked for.

    Args:
        entries: an iterable, such as a generator, of entries: an `Entry`, a path, ``(name, source)``, or a mapping
            with ``name`` and ``file``, ``stream`` or ``source``, and an Entry's options.
        compression: for members that do not say: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma",
            "zstd" (Zstandard, method 93, which fewer readers know; extra ``zstd`` before Python 3.14); or "auto":
            deflate where a member's first 256 KiB get smaller by at least a twentieth by it, else stored.
        level: for members that do not say: 0 to 9 (bzip2: 1 to 9; zstd: -131072 to 22, of which 0 is its default, 3),
            None for the method's default. A member of zstd over 256 KiB takes some 3 MiB of memory at level 3, 15 MiB
            at 9, 90 MiB at 19 and 770 MiB at 22, and its reader 2 to 8 MiB, beyond level 19 up to 128 MiB; a smaller
            one up to 5 MiB.
        chunk_size: bytes that small pieces are joined to. Larger stored ``bytes`` pass as they are; everything else is
            cut to this. 0 hands over after every write.
        lookahead: bytes of a member's output (or 16 times as many of its data) that wait for its end, so that its
            header can be complete; 0 gives every member that has data a data descriptor.
        comment: the archive's comment, at most 65,535 bytes.
        names: "strict" refuses names that are unsafe to extract, "repair" makes them safe, "allow" stores them.
        duplicates: "error" refuses a name that is taken, "rename" numbers it, "allow" stores it again.
        on_error: called as ``on_error(entry, exception)`` where an entry fails before any of its bytes have left.
            Returns None to leave it out (see `ZipStream.skipped`) or an Entry to put in its place, or raises. Without
            it, and after an entry's first byte has left, a failure ends the stream.
        on_progress: called with a `Progress` after each chunk of data and at each member's end.
        extended_timestamps: whether members carry their date as UTC seconds, too (extra 0x5455).
        engine: what deflates: "zlib", "zlib-ng" or "isal" (extra ``fast``) at the level as their own (ISA-L's is 3 at
            most), or "auto": at each level the fastest that is installed and makes at most 1 % more than zlib does.
        workers: blocks of 256 KiB that are deflated at a time, in threads: None for one per usable core, 0 for none.
            The bytes are the same for any number. Members under a block, also those of "zstd" (whose longer ones keep
            to one thread), are gathered until there is a block of them; less than that uses no thread. In memory are up
            to 1 MiB * (workers + 4).
        executor: a `concurrent.futures.Executor` for that work, which stays yours. Default: threads that all streams
            of the process share, and that end with the last one.
        prefetch: entries to come whose sources are opened, and whose first 256 KiB are read (and the rest of the chunk
            that reaches them), on as many threads, while the one before them is written; for sources that make one
            wait. Data in memory is not fetched.
        checksums: a `ChecksumCache`, which remembers the CRC-32 of files: stored members from files over the lookahead
            that it knows have complete headers; others are remembered once they were read whole. Stays yours.
        password: what all members with data are encrypted with (str: as UTF-8), by AES-256 as WinZip defines it (AE-2;
            extra ``crypto``). 7z and pyzipper read that, and bsdtar where the data is stored or deflated; Info-ZIP's
            unzip, Java and `zipfile` do not. Names, sizes and dates stay readable. Each member takes 28 bytes more;
            stored ones of a known size have complete headers. Salts are random: no two such archives are equal.
            A stream that is forked amid a member is to be taken to its end by one of the processes only: both would
            encrypt the rest of that member with one key.

    Raises:
        OptionError, LimitError, EntryTypeError, ImportError at once for arguments outside of these. While iterating: a
        ZipStreamError named after the entry, or whatever a source or callback raises, with a note naming the entry.
    """
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
    )


class ZipStream(Facade):
    """An iterator of an archive's bytes (non-empty ``bytes``), made as they are asked for. One pass.

    To iterate over one that is finished, failed or closed raises StreamStateError, so that no client sends an empty
    body in its place. It is also a file that can be read and not be seeked: HTTP clients that would send it a second
    time (a retry, a redirect) raise instead. It has no ``len()``; see `size`. Not to be used from several threads at a
    time. `options` are those of `stream_zip`.
    """

    def __init__(self, entries: Iterable[Any], **options: Any) -> None:
        checked = Options(**options).checked()
        producer = Producer(entries, checked)
        super().__init__(entries, checked, producer)
        self._chunks = cast("GeneratorType[bytes, None, None]", producer.chunks())

    def __iter__(self) -> Self:
        self._refuse_if_used_up()
        return self

    def __next__(self) -> bytes:
        if self._left_over:
            return self.read(len(self._left_over))
        if self._failure is not None:
            self._refuse_if_failed()
        chunk = b""
        if not self._over:
            if self._chunks.gi_running:
                self._refuse_if_running()
            self._begun = True
            try:
                chunk = next(self._chunks, b"")
            except BaseException as exc:
                self._fail(exc)
                raise
        if not chunk:
            self._over = True
            raise StopIteration
        self._taken += len(chunk)
        return chunk

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer only at the end; all that are left for -1 or None. b"" is the end."""
        self._refuse_if_running()
        wanted = -1 if size is None or size < 0 else size
        parts = []
        try:
            while wanted and (chunk := self._left_over or memoryview(next(self, b""))):
                part = chunk if wanted < 0 else chunk[:wanted]
                self._left_over = chunk[len(part) :]
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
            return b"".join(parts)
        except BaseException as exc:
            # What was taken for this call is lost: nothing may follow the hole.
            self._fail(self._failure or exc)
            raise

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer`; returns how many bytes that are, fewer than it holds only at the end."""
        self._refuse_if_running()
        with memoryview(buffer).cast("B") as view:
            if view.readonly:
                raise TypeError(f"readinto() needs a buffer that can be written, and not {type(buffer).__name__}")
            try:
                data = self.read(len(view))
                view[: len(data)] = data
                return len(data)
            except BaseException as exc:
                self._fail(self._failure or exc)
                raise

    def readable(self) -> bool:
        """True: this can be read like a file."""
        return True

    def writable(self) -> bool:
        """False."""
        return False

    def seekable(self) -> bool:
        """False: a stream is made once, front to back."""
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Raises io.UnsupportedOperation, as a pipe does: what has left cannot be made again."""
        raise io.UnsupportedOperation(
            "a stream is made once and cannot be rewound: make a new one to send it again, or open() a ZipLayout"
        )

    def flush(self) -> None:
        """Nothing to do. `io.BufferedReader` calls it."""

    def fileno(self) -> int:
        """Raises io.UnsupportedOperation, as files in memory do: there is no descriptor."""
        raise io.UnsupportedOperation("this stream is made in memory and has no file descriptor")

    @property
    def len(self) -> int:
        """`size`; AttributeError if it is not known. `requests` makes a Content-Length of it."""
        if self.size is None:
            raise AttributeError("len: the size of this archive cannot be known before it is made")
        return self.size

    def close(self) -> None:
        """End the stream: the open source and `entries` are closed; an unfinished archive stays unfinished."""
        self._refuse_if_running()
        self._close_for_good()
        self._chunks.close()
        if not self._begun and not self._closed:
            self._producer.close_entries()
        self._closed = True

    def _fail(self, exc: BaseException) -> None:
        super()._fail(exc)
        self._producer.archive.abort()

    def _refuse_if_running(self) -> None:
        if self._chunks.gi_running:
            raise StreamStateError(
                "this stream is making its next chunk: use it from one thread at a time, and raise an exception in a "
                "callback to end it there"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
