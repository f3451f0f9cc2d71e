"""The command ``create``: stream files into an archive."""

from __future__ import annotations

import argparse
import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .._compression.codecs import CodecFactory
from .._entries.files.own_output import Identity, identity_of
from .._stream.sync import ZipStream, stream_with
from .._writer.progress import Progress
from .._writer.sink import FileSink
from .._writer.whole_file import WholeFile
from ..errors import OptionError
from .inputs import Inputs, paths_in, size_of, with_utf8_names
from .messages import message
from .passwords import password_of
from .signals import raise_signal
from .terminal import Meter, is_terminal, name_line, say, shown_count, shown_name, shown_size, shown_time

if TYPE_CHECKING:
    from .parser import Parser

# Bytes to write at a time.
_CHUNK = 1 << 18
# Bytes below which libdeflate compresses a file whole. The limit is higher than a stream's: a program has the memory,
# and machine code becomes several per cent smaller.
_WHOLE = 1 << 22
# Bytes of data in flight: while the largest of them is compressed, the other cores go on with those behind it.
_ROOM = 1 << 24
# First bytes of a zip archive: a local file header, the end record of an empty archive, the mark of a split archive.
_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


def check(arguments: argparse.Namespace, parser: Parser) -> None:
    """Check the options that depend on each other, and read the lists of paths."""
    lists: list[str] = arguments.files_from
    if not arguments.paths and not lists:
        parser.error("give a PATH to archive, or a list of them with -@ or --files-from")
    if "" in arguments.paths:
        parser.error("PATH '': give a path, or '.' for all that is here")
    if [*arguments.paths, *lists, arguments.password_file].count("-") > 1:
        parser.error("standard input can be one thing: a member ('-'), a list ('-@'), or the password")
    if arguments.null and not lists:
        parser.error("--null is about the lists of -@ and --files-from: give one")
    if arguments.name is not None and "-" not in arguments.paths and (len(arguments.paths) != 1 or lists):
        parser.error("--name names one member: give '-' or one file as PATH")
    if arguments.name is not None and "-" not in arguments.paths and os.path.isdir(arguments.paths[0]):
        parser.error(f"--name names one member, but {arguments.paths[0]!r} is a directory: see --prefix")
    if arguments.force and arguments.on_conflict not in (None, "replace"):
        parser.error(f"--force and --on-conflict {arguments.on_conflict}: give one of them")
    if arguments.quiet and arguments.verbose:
        parser.error("--quiet and --verbose: give one of them")
    if arguments.digit is not None and arguments.level is not None:
        parser.error(f"-{arguments.digit} and --level: give one of them")
    if arguments.digit == 0 and arguments.compression is None:
        arguments.compression = "none"
    elif arguments.digit is not None and (arguments.digit or arguments.compression not in ("none", "stored")):
        arguments.level = arguments.digit
    arguments.compression = arguments.compression or "deflate"


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns its exit status. Raises ZipStreamError, OSError or ImportError on failure."""
    output: str = arguments.output
    arguments.listed = paths_in(arguments.files_from, null=arguments.null)
    work = _Work(arguments)
    if arguments.dry_run:
        return work.list_only()
    arguments.password_bytes = password_of(arguments, twice=True)
    with work:
        if output == "-":
            _to_stdout(work)
        elif "://" in output:
            _to_object(work, output)
        elif os.path.exists(output) and not os.path.isfile(output) and not os.path.isdir(output):
            with open(output, "wb", buffering=0) as file:  # a device or named pipe cannot be replaced by renaming
                _refuse_terminal(file)
                _copy(work, file)
        else:
            _to_file(work, output)
    return work.told()


class _Work:
    """One archive to make: its stream, and the messages about it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.shows = is_terminal() and not arguments.quiet
        self._meter = Meter(False)
        self._inputs = Inputs(arguments, (), None)
        self._failures = 0
        self._last: Progress | None = None
        self._stream: ZipStream | None = None
        self._named: Any = None
        self._ended = threading.Event()
        self._counter: threading.Thread | None = None

    def __enter__(self) -> _Work:
        self._meter = Meter(self.shows)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._meter.close()
        if self._counter is not None:
            self._counter.join(1)

    def stream(self, own: tuple[Identity, ...], on_progress: Callable[[Progress], object] | None = None) -> ZipStream:
        """Return the archive. own: identities of the output files. on_progress: also called, with every report."""
        arguments, tells = self.arguments, self.shows or self.arguments.verbose
        ignores = arguments.ignore_errors
        self._inputs = Inputs(arguments, own, self._on_path_error if ignores else None)

        def report(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress)
            if tells:
                self._report(progress)

        if self.shows:
            self._counter = threading.Thread(target=self._count, args=(own,), daemon=True)
            self._counter.start()
        self._stream = stream_with(
            with_utf8_names(self._inputs.entries(), self._warn),
            names=arguments.names,
            duplicates=arguments.duplicates,
            compression=arguments.compression,
            level=arguments.level,
            engine=arguments.engine,
            workers=arguments.workers,
            chunk_size=_CHUNK,
            password=arguments.password_bytes,
            grown=arguments.grown,
            seekable=arguments.seekable,
            on_error=self._on_error if ignores else None,
            on_progress=report if tells or on_progress is not None else None,
            make_coding=partial(CodecFactory, arguments.engine, arguments.workers, whole=_WHOLE, room=_ROOM),
        )
        return self._stream

    def _report(self, progress: Progress) -> None:
        if self.arguments.verbose and progress.entry is not self._named:
            self._named = progress.entry
            name_line(progress.entry.name)
        self._last = progress
        self._meter.at(progress.read, progress.members)

    def _count(self, own: tuple[Identity, ...]) -> None:
        """Add up the sizes of all files, for the time left. Runs on a thread, while the archive is made."""
        total = 0
        with suppress(Exception):  # raised again, and reported, when the entry's turn comes
            for entry in Inputs(self.arguments, own, lambda *_: None).entries():
                size = size_of(entry)
                if size is None or self._ended.is_set():
                    return
                total += size
            self._meter.total = total

    def total(self) -> tuple[int, int]:
        """Return the current total size of the data in bytes, and the number of entries."""
        total = count = 0
        for entry in Inputs(self.arguments, (), lambda *_: None).entries():
            count += 1
            with suppress(OSError):  # raised again when the entry is read
                total += size_of(entry) or 0
        return total, count

    def _on_path_error(self, path: object, error: OSError) -> None:
        self._failures += 1
        say(message(error))

    def _on_error(self, entry: Any, error: Exception) -> None:
        self._failures += 1
        say(message(error))

    def _warn(self, text: str) -> None:
        if not self.arguments.quiet:
            say(f"warning: {text}")

    def list_only(self) -> int:
        """List the members that the archive would have, on standard output."""
        from .._format.names import NameRegistry
        from .read import standard_output, write_line

        arguments = self.arguments
        self._inputs = Inputs(arguments, (), self._on_path_error if arguments.ignore_errors else None)
        names, total, count = NameRegistry(arguments.names, arguments.duplicates), 0, 0
        with standard_output() as out:
            for entry in with_utf8_names(self._inputs.entries(), self._warn):
                try:
                    name = names.resolve(entry.name, is_link=entry.is_link, takes=True)
                    size = size_of(entry)
                    if isinstance(entry.source, os.PathLike) and not os.access(entry.source, os.R_OK):
                        raise PermissionError(13, "Permission denied", os.fspath(entry.source))
                except (OSError, ValueError) as exc:
                    if not arguments.ignore_errors:
                        raise
                    self._on_error(entry, exc)
                    continue
                if name is not None:
                    write_line(out, size, _date_of(entry), name)
                    total, count = total + (size or 0), count + 1
        if not arguments.quiet:
            to = "standard output" if arguments.output == "-" else repr(arguments.output)
            say(f"{shown_count(count, 'member')}, {shown_size(total)} of data, would be written to {to}")
        self._warn_of_patterns()
        return 1 if self._failures else 0

    def told(self) -> int:
        """Report the members that were written, and the failures. Returns the exit status."""
        stream, arguments = self._stream, self.arguments
        assert stream is not None
        for entry, size in stream.grown:
            self._warn(f"{entry.name!r} grew while it was read: the archive has its first {size} bytes")
        self._warn_of_patterns()
        count = stream.member_count
        if not count:
            self._warn("the archive is empty: there was nothing to put into it")
        if self._failures:
            say(f"{shown_count(self._failures, 'error')}: the archive lacks the paths named above")
        if self.shows or arguments.verbose:
            read, to = self._last.read if self._last else 0, arguments.output
            to = "standard output" if to == "-" else shown_name(to)
            say(
                f"wrote {to}: {shown_count(count, 'member')}, {shown_size(read)} of data in "
                f"{shown_size(stream.tell())}, {shown_time(self._meter.seconds)}"
            )
        return 1 if self._failures else 0

    def _warn_of_patterns(self) -> None:
        for option, patterns in (("exclude", self._inputs.exclude), ("include", self._inputs.include)):
            for pattern in getattr(self.arguments, option):
                if pattern in patterns.unmatched:
                    self._warn(f"--{option} {pattern!r} matched nothing")


def _date_of(entry: Any) -> tuple[int, ...] | None:
    import time

    if entry.modified is not None:
        return tuple(entry.modified.timetuple()[:6])
    if isinstance(entry.source, os.PathLike):
        return tuple(time.gmtime(os.stat(entry.source).st_mtime)[:6])
    return None


def _to_stdout(work: _Work) -> None:
    if sys.stdout is None:
        raise OSError("standard output is closed: give -o FILE")
    # Unbuffered: after a failure, Python would write its own buffer again at exit, and fail again.
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as file:
        _refuse_terminal(file)
        _copy(work, file)


def _refuse_terminal(file: io.FileIO) -> None:
    if file.isatty():
        raise OSError("the output is a terminal, but an archive is binary data: give -o FILE, or redirect the output")


def _copy(work: _Work, file: io.FileIO) -> None:
    sink = FileSink(file)
    with work.stream(_identities(file)) as stream:
        for chunk in stream:
            sink.write(chunk)
            raise_signal()


def _to_file(work: _Work, output: str) -> None:
    """Write to a temporary file beside `output` and rename it, so that `output` is always a complete archive."""
    _refuse_conflict(output, "replace" if work.arguments.force else work.arguments.on_conflict or "zip")
    file = WholeFile(output)
    try:
        file.open()
        with work.stream(file.identities) as stream:
            for chunk in stream:
                file.write(chunk)
                raise_signal()
        file.finish()
    except BaseException:
        file.abort()
        raise


def _refuse_conflict(output: str, policy: str) -> None:
    """Raise FileExistsError if the file at `output` must not be replaced."""
    if policy == "replace" or not os.path.isfile(output):
        return
    if policy == "error":
        raise FileExistsError(f"{output!r} exists: give another name, or --force to replace it")
    if os.path.getsize(output) and not _is_zip(output):
        raise FileExistsError(
            f"{output!r} exists and is not a zip archive: give another name, or --force to replace it"
        )


def _is_zip(path: str) -> bool:
    """Return whether a file is a zip archive, or begins like one."""
    from zipfile import is_zipfile

    try:
        with open(path, "rb") as file:
            return file.read(4) in _BEGINNINGS or is_zipfile(file)
    except PermissionError:
        raise FileExistsError(
            f"{path!r} exists and cannot be read, so it may not be a zip archive: give another name, or --force to "
            "replace it"
        ) from None


def _to_object(work: _Work, url: str) -> None:
    """Upload to an object store. A failure or signal aborts the upload."""
    from ..remote.stores import WRITING, quoted_url, store_of
    from ..remote.uploading.upload import bound_of, part_size_for, upload_zip

    if url.partition("://")[0] not in ("s3", "gs", "az"):
        raise OptionError(
            f"-o {quoted_url(url)}: cannot write to this URL: give a file, or an s3://, gs:// or az:// URL"
        )
    if work.arguments.on_conflict not in (None, "replace"):
        raise OptionError(f"--on-conflict is for files: an object at {quoted_url(url)} is always replaced")
    store, path = store_of(url, client=WRITING)
    part_size = part_size_for(None, None, bound_of(*work.total()), quoted_url(url))
    with work.stream((), on_progress=lambda _: raise_signal()) as stream:
        upload_zip(store, path, stream, part_size=part_size)


def _identities(file: io.FileIO) -> tuple[Identity, ...]:
    try:
        info = os.fstat(file.fileno())
    except (OSError, ValueError):
        return ()
    return (identity_of(info),) if stat.S_ISREG(info.st_mode) else ()
