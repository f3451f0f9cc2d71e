"""The interface of zipstream-ng 1.9: ``from zipstream_adapter.compat.zipstream_ng import ZipStream, walk``.

Names, signatures, defaults, dates (local time), order and logged warnings are as there. Other than there:

- A source that fails, or a generator that is left before its end, ends the archive: what is asked of it afterwards
  raises PoisonedError, where an archive without that member would have followed.
- `len` is right for 65,535 members, too, where it was 76 short.
- In a sized stream, data of another size raises (RuntimeError, as there) before its member ends; no more than was
  announced has left by then.
- `walk` raises for a directory that it cannot list, where it was left out without a word.
- Sockets, named pipes and devices are refused, where reading them could wait for ever.
- What is iterated over is closed after its turn, and when the consumer goes.
- Asking for a second generator, or `info_list`, amid a member works or raises, where it waited for itself for ever.
- zip64 is used from 4 GiB on, not 2; data that outgrows the `size` it was added with gets it, where it raised.
- ZIP_ZSTANDARD is there before Python 3.14, too, with the extra ``zstd``.
- Names that no archive can hold are refused when they are added.
- ``len()`` works, but ``hasattr(stream, "__len__")`` is False: WSGI servers take what has it for a list of chunks.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from types import GeneratorType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

from ..compress import ZIP_ZSTANDARD
from ..entry import path_of
from ..errors import EntryError, EntryTypeError, OptionError
from ..names import check_storable
from ..records import LIMIT16
from .zipstream_ng_bytes import Maker, Steps, planned_size
from .zipstream_ng_members import (
    WITHOUT_LEVEL,
    Members,
    Queued,
    Streamed,
    ZipStreamInfo,
    check_compression,
    log,
    walk,
)

if TYPE_CHECKING:
    from typing import Self

    from ..entry import StrPath

__all__ = [
    "BZIP2_VERSION",
    "LZMA_VERSION",
    "ZIP_BZIP2",
    "ZIP_DEFLATED",
    "ZIP_LZMA",
    "ZIP_STORED",
    "ZIP_ZSTANDARD",
    "ZSTANDARD_VERSION",
    "ZipStream",
    "ZipStreamInfo",
    "walk",
]

BZIP2_VERSION = 46
LZMA_VERSION = 63
ZSTANDARD_VERSION = 63
# What an arcname may be separated by on this system.
PATH_SEPARATORS = {separator for separator in (os.sep, os.altsep, "/") if separator}


class ZipStream:
    """An archive that is made while it is iterated over, from what has been added by then.

    Args:
        compress_type: ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA or ZIP_ZSTANDARD, for members that do not say.
        compress_level: 0 to 9 for ZIP_DEFLATED, 1 to 9 for ZIP_BZIP2, -131072 to 22 for ZIP_ZSTANDARD; None for the
            method's default.
        sized: whether ``len()`` gives the archive's bytes before it is made. Nothing can be compressed then, and
            iterables that are added without their size are read into memory at once.

    Raises: NotImplementedError for another method, RuntimeError without the extra ``zstd`` for its method, ValueError
    for another level, or for both `sized` and compressed.
    """

    def __init__(
        self, *, compress_type: int = ZIP_STORED, compress_level: int | None = None, sized: bool = False
    ) -> None:
        if compress_type and sized:
            raise _no_compression()
        check_compression(compress_type, compress_level)
        self._compress_type = compress_type
        self._compress_level = compress_level
        self._comment = b""
        self._members = Members(sized)
        self._length: tuple[int, bytes, int] = (-1, b"", 0)  # of how many members, with which comment
        self._maker = Maker(sized)

    def __getattribute__(self, name: str) -> Any:
        # gevent, eventlet and waitress take what has this attribute for a list of chunks, and iterate over it to count
        # their bytes. len() asks the type, and does not come here.
        if name == "__len__":
            raise AttributeError("this ZipStream is no collection of chunks; len() gives its size, if it is sized")
        return object.__getattribute__(self, name)

    @classmethod
    def from_path(
        cls,
        path: StrPath,
        *,
        compress_type: int = ZIP_STORED,
        compress_level: int | None = None,
        sized: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """A ZipStream of what is at `path`. sized: default, whether nothing is compressed. kwargs: of `add_path`."""
        if sized is None:
            sized = compress_type == ZIP_STORED
        stream = cls(compress_type=compress_type, compress_level=compress_level, sized=sized)
        stream.add_path(path, **kwargs)
        return stream

    # What is to be in it.

    def add_path(
        self,
        path: StrPath,
        arcname: str | None = None,
        *,
        recurse: bool | Callable[[str], Iterable[StrPath]] = True,
        compress_type: int | None = None,
        compress_level: int | None = None,
    ) -> None:
        """Queue a file, or a directory with all that is in it. It is opened when its turn comes.

        Args:
            arcname: its name in the archive. Default: the last part of `path`; "/" puts what a directory holds at
                the top.
            recurse: False for the directory alone; or a function of a path that gives the paths of what to add.

        Raises: FileNotFoundError; ValueError without a name; RuntimeError after the archive's end.
        """
        self._members.refuse_if_final()
        coding = self._coding(compress_type, compress_level)
        top = os.path.normpath(path)
        if not os.path.exists(path) or (top != path and not os.path.exists(top)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        name = _sanitized(arcname or os.path.basename(top))
        if not arcname and not name:
            raise EntryError(f"No arcname for path '{top}' could be assumed: pass one")
        info = os.stat(top)
        if not recurse or not stat.S_ISDIR(info.st_mode):
            self._enqueue_path(top, name, coding, info)
            return
        found = walk(top) if recurse is True else recurse(top)
        for place in found:
            inner = os.path.relpath(place, top)
            if inner != "." or name:
                self._enqueue_path(os.fspath(place), os.path.normpath(os.path.join(name, inner)), coding)

    def add(
        self,
        data: Any,
        arcname: str,
        *,
        size: int | None = None,
        compress_type: int | None = None,
        compress_level: int | None = None,
    ) -> None:
        """Queue data: bytes, a str (as UTF-8), an iterable of bytes, or None for an empty file or a directory.

        size: bytes that an iterable will give, where known.

        Raises: ValueError without a name, or for data under one that ends in ``/``; TypeError for what is no data;
        RuntimeError after the archive's end.
        """
        self._members.refuse_if_final()
        coding = self._coding(compress_type, compress_level)
        name = _sanitized(arcname)
        if not name:
            raise _no_name()
        if data is None or isinstance(data, str | bytearray | bytes):
            known = data.encode("utf-8") if isinstance(data, str) else bytes(data or b"")
            if known and name.endswith("/"):
                raise EntryError(f"entry {name!r}: Can't store data as a directory: take the slash away")
            self._enqueue(name, known, len(known), coding)
        elif not hasattr(data, "__iter__"):
            raise EntryTypeError(
                f"entry {name!r}: Data to add must be str, bytes, or an iterable of bytes, not {type(data).__name__}"
            )
        elif name.endswith("/"):
            raise EntryError(f"entry {name!r}: Can't store an iterable as a directory: take the slash away")
        elif self._members.sized and size is None:
            known = b"".join(data)
            self._enqueue(name, known, len(known), coding)
        else:
            self._enqueue(name, _chunks_of(data), size, coding)

    def mkdir(self, arcname: str) -> None:
        """Queue a directory; the slash at the end may be left out."""
        name = _sanitized(arcname)
        if not name:
            raise EntryError(f"{arcname!r}: A valid arcname for the directory is required")
        self.add(None, name if name.endswith("/") else name + "/")

    def _coding(self, method: int | None, level: int | None) -> tuple[int, int | None]:
        """The method and level of a member that was added with these."""
        given = method is not None or level is not None
        method = self._compress_type if method is None else method
        level = self._compress_level if level is None else level
        if given:
            check_compression(method, level)
        return method, None if method in WITHOUT_LEVEL else level

    def _enqueue_path(
        self, path: str, name: str, coding: tuple[int, int | None], info: os.stat_result | None = None
    ) -> None:
        info = info or os.stat(path)
        name = _with_slashes(os.path.normpath(name)).lstrip("/") if name else name
        if stat.S_ISDIR(info.st_mode):
            name = name if name.endswith("/") else name + "/"
            size = 0
        else:
            name = name.rstrip("/") or name
            size = info.st_size
        self._enqueue(name, path_of(path), size, coding, info.st_mtime)

    def _enqueue(
        self, name: str, source: Any, size: int | None, coding: tuple[int, int | None], modified: float | None = None
    ) -> None:
        name = _with_slashes(name)
        if not name.rstrip("/"):
            raise _no_name()
        check_storable(name)
        method, level = coding
        members = self._members
        if members.sized and method != ZIP_STORED:
            raise _no_compression()
        if name.endswith("/"):
            method, level = ZIP_STORED, None
        members.add(Queued(name, source, size, method, level), time.localtime(modified)[:6])

    # What it says of itself.

    @property
    def sized(self) -> bool:
        """Whether ``len()`` is known."""
        return self._members.sized

    def __len__(self) -> int:
        """Bytes of the archive, with all that has been added so far; TypeError for one that is not sized."""
        members = self._members
        if not members.sized:
            raise TypeError("The length of this ZipStream is unknown: make it with sized=True")
        with members.changing:
            known, comment = len(members.added), self._comment
            if self._length[:2] != (known, comment):
                self._length = known, comment, planned_size(members.added, comment)
            return self._length[2]

    @property
    def len(self) -> int:
        """As ``len()``; AttributeError for one that is not sized. `requests` makes a Content-Length of it."""
        if not self._members.sized:
            raise AttributeError("len: the length of this ZipStream is unknown")
        return self.__class__.__len__(self)

    def __bool__(self) -> bool:
        return not self.is_empty()

    def is_empty(self) -> bool:
        """Whether nothing has been added."""
        members = self._members
        return not (members.queue or members.current or members.streamed)

    def num_queued(self) -> int:
        """Members whose turn has not come yet."""
        return len(self._members.queue)

    def num_streamed(self) -> int:
        """Members that are in the archive."""
        return len(self._members.streamed)

    def info_list(self) -> list[dict[str, Any]]:
        """A dict for each member, in order: what is known of it by now."""
        mine = self._members
        with mine.changing:
            members: list[Streamed | Queued] = [*self._in_archive(), *mine.queue]
            if mine.current is not None:
                members.insert(len(mine.streamed), mine.current)
            return [member.listed() for member in members]

    def get_info(self) -> list[dict[str, Any]]:
        """A dict for each member that is in the archive. Deprecated: use `info_list`."""
        warnings.warn("ZipStream.get_info is deprecated: use ZipStream.info_list", DeprecationWarning, stacklevel=2)
        with self._members.changing:
            return [member.listed_as_before() for member in self._in_archive()]

    def _in_archive(self) -> list[Streamed]:
        streamed = self._members.streamed
        infos = self._maker.infos()[: len(streamed)]  # one more may be there, and not be counted yet
        return [Streamed(info, level) for info, level in zip(infos, streamed, strict=True)]

    @property
    def last_modified(self) -> datetime | None:
        """The newest date of what was added, in local time; None without anything."""
        date = self._members.last_modified
        return datetime(*date) if date else None  # type: ignore[arg-type]

    @property
    def comment(self) -> bytes:
        """The archive's comment. A str is encoded as UTF-8; of more than 65,535 bytes, the rest is cut off."""
        return self._comment

    @comment.setter
    def comment(self, comment: str | bytes | bytearray | None) -> None:
        self._members.refuse_if_final()
        if isinstance(comment, str):
            comment = comment.encode("utf-8")
        if not isinstance(comment, bytes | bytearray | None):
            raise EntryTypeError(f"comment={comment!r}: give bytes or a str, not {type(comment).__name__}")
        if comment and len(comment) > LIMIT16:
            log.warning("The archive's comment is too long: it was cut to %d bytes", LIMIT16)
        self._comment = bytes(comment or b"")[:LIMIT16]

    # Its bytes.

    def __iter__(self) -> Steps:
        return self.finalize()

    def __bytes__(self) -> bytes:
        return b"".join(iter(self))  # and not of self: join() would ask for len(), and take it for a number of chunks

    def file(self) -> Generator[bytes, None, bool]:
        """The bytes of the next member. Returns whether there was one."""
        maker = self._maker
        return (yield from maker.alone(_next_member(self._members, maker, last=True)))

    def all_files(self) -> Steps:
        """The bytes of all members that are queued."""
        members, maker = self._members, self._maker
        while (yield from maker.alone(_next_member(members, maker, last=False))):
            pass

    def footer(self) -> Steps:
        """The bytes of the central directory, without what still is queued. Nothing can be added from now on."""
        yield from self._maker.alone(self._end())

    def finalize(self) -> Steps:
        """The bytes of all members that are queued, and of the archive's end."""
        yield from self.all_files()
        yield from self.footer()

    def _end(self) -> Generator[bytes, None, bool]:
        if not self._members.final:
            self._members.final = True
            yield from self._maker.end(self._comment)
        return False


def _next_member(members: Members, maker: Maker, last: bool) -> Generator[bytes, None, bool]:
    """The next member; whether there was one. last: leave nothing that waits to be joined with what follows."""
    queued = members.take()
    if queued is not None:
        yield from maker.member(queued)
        members.done(queued)
    yield from maker.ready(everything=last or queued is None)
    return queued is not None


def _sanitized(arcname: str | None) -> str:
    """A name up to its first NUL, relative, with forward slashes."""
    return _with_slashes((arcname or "").partition("\0")[0]).lstrip("/")


def _with_slashes(name: str) -> str:
    for separator in PATH_SEPARATORS:
        name = name.replace(separator, "/")
    return name


def _no_name() -> EntryError:
    return EntryError("A valid arcname is required: of this one nothing is left")


def _no_compression() -> OptionError:
    return OptionError("Cannot use compression with a sized ZipStream: its length would not be known")


def _chunks_of(data: Any) -> Any:
    """An iterable as it is, where it is nothing else."""
    return data if type(data) in (GeneratorType, list, tuple) else lambda: iter(data)
