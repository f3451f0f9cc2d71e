"""The command line: paths go in, an archive streams to a file or to standard output. `cli_remote` reads archives."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import secrets
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, get_args

from . import cli_remote
from .dates import date_of
from .engines import Engine
from .entry import Entry
from .errors import OptionError, ZipStreamError
from .sink import FileSink
from .stream import ZipStream, stream_zip
from .tree import Identity, identity_of, pattern_excluder, walk

FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (default: the process's own arguments); returns its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    work = partial(cli_remote.run, argv) if cli_remote.is_command(argv) else partial(_run, _parser().parse_args(argv))
    _unwind_on_signals()
    try:
        work()
    except BrokenPipeError:
        return PIPE_CLOSED  # whoever read from us has gone: nothing can be said to it
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except (ZipStreamError, OSError, ImportError) as exc:
        return _complain(_message(exc), FAILED)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zipstream-adapter",
        description="Stream files and directories into a zip archive while it is being made.",
        epilog=cli_remote.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a directory with all that is in it")
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        help="the archive; written beside it and renamed when whole. '-', the default, is standard output. An s3://, "
        "gs:// or az:// URL is an object (extra 's3'; credentials come from the environment)",
    )
    parser.add_argument(
        "--compression",
        default="deflate",
        choices=("stored", "deflate", "bzip2", "lzma", "zstd", "auto"),
        help="default: deflate. 'auto' stores what deflate hardly makes smaller; 'zstd' needs the extra of that name",
    )
    parser.add_argument(
        "--level", type=int, metavar="N", help="0 to 9 (bzip2: 1 to 9; zstd: -131072 to 22); default: the method's own"
    )
    parser.add_argument(
        "--engine",
        default="auto",
        choices=get_args(Engine),
        help="what deflates; default: the fastest that is installed and makes at most 1 %% more than zlib",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="blocks that are compressed at a time, in threads; default: one per usable core; 0: none",
    )
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        help="encrypt (AES-256; extra 'crypto') with the first line of FILE; '-' is standard input",
    )
    parser.add_argument("--prefix", default="", metavar="DIR", help="put everything under DIR in the archive")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out what matches, by its path in the directory or its last part; can be given again",
    )
    parser.add_argument(
        "--symlinks",
        default="follow",
        choices=("follow", "store", "skip"),
        help="follow (the default; refuses links that leave the directory or loop), store as links, or skip",
    )
    parser.add_argument("--skip-special", action="store_true", help="leave out sockets, named pipes and devices")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    output: str = arguments.output
    if output == "-":
        _to_stdout(arguments)
    elif "://" in output:
        _to_object(arguments, output)
    elif os.path.isdir(output):
        raise IsADirectoryError(f"{output!r} is a directory: give the archive's own name")
    elif os.path.exists(output) and not os.path.isfile(output):
        with open(output, "wb", buffering=0) as file:  # a device or a named pipe has no place beside it
            _refuse_terminal(file)
            _copy(_stream(arguments, ()), file)
    else:
        _to_file(arguments, Path(os.path.realpath(output)))


def _to_stdout(arguments: argparse.Namespace) -> None:
    if sys.stdout is None:
        raise OSError("standard output is closed: give -o FILE")
    # Not through Python's own buffer, which would be written again, and fail again, at exit.
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as file:
        _refuse_terminal(file)
        _copy(_stream(arguments, _identities(file)), file)


def _refuse_terminal(file: io.FileIO) -> None:
    if file.isatty():
        raise OSError("the output is a terminal, and an archive is binary: give -o FILE, or redirect it")


def _to_file(arguments: argparse.Namespace, target: Path) -> None:
    """Write beside `target`, so that only a whole archive ever stands under its name."""
    stem = target.name if len(os.fsencode(target.name)) < 200 else "archive"
    beside = target.with_name(f".{stem}.{secrets.token_hex(4)}.part")
    try:
        with open(beside, "xb", buffering=0) as file:
            own = _identities(file)
            if target.exists():
                os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
                own = (*own, identity_of(target.stat()))
            _copy(_stream(arguments, own), file)
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise


def _to_object(arguments: argparse.Namespace, url: str) -> None:
    """Write into an object store: what ends this process aborts the upload on its way out."""
    from .remote_store import WRITING, shown, store_of
    from .upload import bound_of, part_size_for, upload_zip

    if url.partition("://")[0] not in ("s3", "gs", "az"):
        raise OptionError(f"-o {shown(url)}: an archive is written to a file, or to an s3://, gs:// or az:// URL")
    store, path = store_of(url, client=WRITING)
    part_size = part_size_for(None, None, bound_of(*_total(arguments)), shown(url))
    with _stream(arguments, ()) as stream:
        upload_zip(store, path, stream, part_size=part_size)


def _total(arguments: argparse.Namespace) -> tuple[int, int]:
    """Bytes of data that there are now, and in how many entries."""
    total = count = 0
    for entry in _entries(arguments, ()):
        count += 1
        with contextlib.suppress(OSError):  # is said when its turn comes
            total += os.stat(entry.source).st_size if isinstance(entry.source, Path) else 0
    return total, count


def _copy(stream: ZipStream, file: io.FileIO) -> None:
    sink = FileSink(file)
    with stream:
        for chunk in stream:
            sink.write(chunk)


def _stream(arguments: argparse.Namespace, own: tuple[Identity, ...]) -> ZipStream:
    return stream_zip(
        _entries(arguments, own),
        compression=arguments.compression,
        level=arguments.level,
        engine=arguments.engine,
        workers=arguments.workers,
        password=_password(arguments.password_file),
    )


def _password(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-") as file:
        password = file.readline().rstrip(b"\r\n")
    if not password:
        raise OptionError(f"--password-file: the first line of {path!r} is empty")
    return password


def _entries(arguments: argparse.Namespace, own: tuple[Identity, ...]) -> Iterator[Entry]:
    """What the paths name. The archive that is being written (`own`) is never put into itself."""
    prefix = arguments.prefix.rstrip("/") + "/" if arguments.prefix else ""
    excluded = _Excluder(arguments.exclude, own)
    for path in map(Path, arguments.paths):
        name = "" if path == Path() else os.path.basename(os.path.abspath(path))
        if excluded(path, name) or (arguments.symlinks == "skip" and path.is_symlink()):
            continue
        if arguments.symlinks == "store" and path.is_symlink():
            yield Entry.symlink(prefix + name, os.readlink(path), modified=date_of(path.lstat()))
        elif path.is_dir():
            yield from walk(
                path,
                prefix=prefix + name,
                symlinks=arguments.symlinks,
                special="skip" if arguments.skip_special else "error",
                exclude=excluded if excluded else (),
            )
        else:
            yield Entry(prefix + name, path)


class _Excluder:
    """The patterns of --exclude, and the archive itself."""

    def __init__(self, patterns: list[str], own: tuple[Identity, ...]) -> None:
        self._matches = pattern_excluder(patterns)
        self._own = own

    def __bool__(self) -> bool:
        """Whether anything can be left out."""
        return self._matches is not None or bool(self._own)

    def __call__(self, path: Path, name: str) -> bool:
        return (self._matches is not None and self._matches(path, name)) or self._is_own(path)

    def _is_own(self, path: Path) -> bool:
        try:
            return bool(self._own) and identity_of(path.stat()) in self._own
        except OSError:
            return False  # whatever ails it is said when it is opened


def _identities(file: io.FileIO) -> tuple[Identity, ...]:
    try:
        info = os.fstat(file.fileno())
    except (OSError, ValueError):
        return ()
    return (identity_of(info),) if stat.S_ISREG(info.st_mode) else ()


def _unwind_on_signals() -> None:
    """Let what ends a process unwind it like any failure, so that nothing half-made is left behind."""

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    with contextlib.suppress(ValueError):  # not in the main thread
        for number in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, number):
                signal.signal(getattr(signal, number), stop)


def _message(exc: BaseException) -> str:
    return " ".join([str(exc) or type(exc).__name__, *getattr(exc, "__notes__", ())])


def _complain(text: str, status: int) -> int:
    # The name of a file may hold what no terminal can show.
    sys.stderr.write(f"zipstream-adapter: {text}\n".encode("utf-8", "backslashreplace").decode("utf-8"))
    return status
