"""Entry: one frozen description of a member.

An Entry says what a member shall be; it opens nothing and looks at no file (`zipstream_adapter.source` does, when
the member's turn comes).
"""

from __future__ import annotations

import os
import stat
import zlib
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from zipfile import ZIP_STORED

from .compress import check_level, method_to_write, raw_method_number
from .dates import to_utc
from .errors import EntryError, EntryTypeError, SizeMismatchError, ZipStreamError
from .fields import (
    MAX_SIZE,
    brief,
    check_comment,
    check_extra,
    check_flags,
    check_mode,
    check_password,
    check_whole,
    check_zip64,
)

if TYPE_CHECKING:
    from typing import Self
    from zipfile import ZipFile, ZipInfo

    StrPath = str | os.PathLike[str]


class Entry:
    """One member to be: its name, where its data comes from, and what is known or wished of it. Frozen.

    Args:
        name: the member's name, with forward slashes; a directory's ends in ``/``.
        source: the data: bytes-like, a path object, a file object opened for reading bytes, an iterable of
            bytes-like chunks, or a callable that returns any of these and is called when the member's turn comes.
            It is handed over: what can be closed is closed, once. A directory takes None, or the path of the
            directory whose date and mode it gets.
        size: bytes of data, where known. A promise: any other number fails the member.
        crc32: the data's CRC-32, where known. A promise likewise.
        modified: a datetime (a naive one is UTC), a timestamp in seconds since 1970, or a 6-tuple (UTC).
            Default: the file's own date for a path, else SOURCE_DATE_EPOCH where set, else now.
        mode: Unix permissions, with or without the file type. Default: the file's own for a path, else 0o644
            (0o755 for directories).
        compression: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma", "zstd". Default: the archive's.
        level: 0 to 9 for deflate and lzma, 1 to 9 for bzip2, -131072 to 22 for zstd. Default: the archive's.
        comment: the member's comment, at most 65,535 bytes.
        extra: extra fields (APPNOTE 4.5), at most 65,498 bytes, without zip64 (0x0001), which the writer owns.
        zip64: True writes the zip64 local header whatever the size, False fails the member as soon as it would need
            zip64. Default: only where a known size needs it.
        password: what its data is encrypted with (see `stream_zip`); False: it is not. Default: the archive's.

    Raises:
        EntryTypeError, EntryError, OptionError, LimitError: named after the entry, for values outside of these.
        ImportError for "zstd" without the extra ``zstd``. Whether the name is safe and free, the archive judges.
    """

    __slots__ = (  # noqa: RUF023, in the order of the arguments
        "name", "source", "size", "crc32", "modified", "mode", "compression", "level", "comment", "extra", "zip64",
        "password",
    )  # fmt: skip

    name: str
    source: Any
    size: int | None
    crc32: int | None
    modified: datetime | None
    mode: int | None
    compression: int | None
    level: int | None
    comment: bytes
    extra: bytes
    zip64: bool | None
    password: bytes | Literal[False] | None

    _fields: ClassVar[tuple[str, ...]] = __slots__

    def __init__(
        self,
        name: str,
        source: Any = None,
        *,
        size: int | None = None,
        crc32: int | None = None,
        modified: datetime | float | tuple[int, ...] | None = None,
        mode: int | None = None,
        compression: int | str | None = None,
        level: int | None = None,
        comment: bytes = b"",
        extra: bytes = b"",
        zip64: bool | None = None,
        password: str | bytes | Literal[False] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise EntryTypeError(f"entry {name!r}: a member's name is a str, not {type(name).__name__}")
        put = object.__setattr__
        put(self, "name", name)
        put(self, "source", source)
        try:
            put(self, "size", None if size is None else check_whole("size", size, MAX_SIZE))
            put(self, "crc32", None if crc32 is None else check_whole("crc32", crc32, 0xFFFFFFFF))
            put(self, "modified", None if modified is None else to_utc(modified))
            put(self, "mode", None if mode is None else check_mode(name, mode))
            put(self, "compression", None if compression is None else method_to_write(compression))
            put(self, "level", level)
            check_level(self.compression, level)
            put(self, "comment", check_comment(comment) if comment != b"" else b"")
            put(self, "extra", check_extra(extra) if extra != b"" else b"")
            put(self, "zip64", None if zip64 is None else check_zip64(zip64))
            put(self, "password", password is not False and check_password(password))
        except ZipStreamError as exc:
            raise type(exc)(f"entry {name!r}: {exc}") from exc.__cause__

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory: its name ends in ``/``."""
        return self.name.endswith("/")

    @property
    def is_raw(self) -> bool:
        """Whether its source gives data that is compressed already: `raw` has made it."""
        return False

    @property
    def compressed_size(self) -> int | None:
        """Bytes of a raw entry's compressed data, where known; None for all others."""
        return None

    @property
    def source_size(self) -> int | None:
        """Bytes that its source has to give, where known: the `size`, or a raw entry's `compressed_size`."""
        return self.compressed_size if self.is_raw else self.size

    @staticmethod
    def raw(
        name: str,
        source: Any,
        *,
        compression: int | str,
        size: int,
        crc32: int,
        compressed_size: int | None = None,
        **options: Any,
    ) -> RawEntry:
        """A member whose `source` gives data that is compressed already. It is passed on, and not looked into.

        Args:
            compression: how: "deflate" (raw, RFC 1951), "bzip2" (a whole stream), "lzma" (with zip's own header,
                APPNOTE 5.8.8), "stored" (then it is checked), or the number of any other method.
            size, crc32: of the data as it was before: what readers will check, and nobody here can.
            compressed_size: bytes that the source gives, where known. A promise that is checked. Without it, a member
                that passes the lookahead has a data descriptor, unless the source (a file, an object in memory) says.
            options: `modified`, `mode`, `comment`, `extra`, `zip64`, `password` as an Entry's; and `flag_bits`: bits 1
                and 2 of the general purpose flag (APPNOTE 4.4.4), where the method minds them. Default: as this package
                would write them: for "lzma" bit 1, as the data has an end mark; else none.

        Raises: as Entry; EntryError for a directory, SizeMismatchError for stored data of two sizes.
        """
        return RawEntry(
            name, source, compression=compression, size=size, crc32=crc32, compressed_size=compressed_size, **options
        )

    @staticmethod
    def copy(zip_file: ZipFile | StrPath, member: str | ZipInfo, name: str | None = None, **options: Any) -> Entry:
        """A member of another archive, passed on as it is compressed there: raw, unless it is a directory.

        It keeps its date (as its clock showed it), permissions, comment and extra fields, of which those of zip64 and
        of a name in Unicode are made anew.

        Args:
            zip_file: an open `zipfile.ZipFile`, which has to stay open until the member's turn is over; or a path,
                whose directory is read now (not where `member` is a ZipInfo), and which is opened again at the
                member's turn. From a path, the Entry can be pickled.
            member: its name, or its ZipInfo (where many are copied from a path, or names stand there twice).
            name: its new name. Default: the one it has.
            options: `modified`, `mode`, `comment`, `extra`, `zip64`: in place of what is kept; and `password`.

        Raises: EntryError for a member that is missing, encrypted, or patched; BadArchiveError where the archive is
            none; OSError. At the member's turn: BadArchiveError where its local header is missing or another's, or its
            data cut; SourceChangedError where the file at the path has changed meanwhile.
        """
        from . import archived

        unknown = [option for option in options if option not in _KEPT_OPTIONS]
        if unknown:
            raise EntryTypeError(
                f"Entry.copy() takes no option {unknown[0]!r}: the data stays as it is; the options are "
                f"{', '.join(_KEPT_OPTIONS)}"
            )
        info, source = archived.find(zip_file, member)
        name = info.filename if name is None else name
        known = archived.described_by(info, options)
        if info.filename.endswith("/"):
            return Entry.directory(name, **known)
        return RawEntry(name, source, **archived.coding_of(info), **known)

    @classmethod
    def from_path(cls, path: StrPath, name: str | None = None, **options: Any) -> Self:
        """The file (or directory, without what is in it) at `path`, under `name` or else its own last component.

        Its size, date and mode are read when its turn comes, from the opened file.
        """
        place = path_of(path)
        if name is None:
            name = place.name if place.name not in ("", "..") else os.path.basename(os.path.abspath(place))
        if os.path.isdir(place) and not name.endswith("/"):
            name += "/"
        return cls(name, place, **options)

    @classmethod
    def from_store(cls, store: Any, path: str, name: str | None = None, **options: Any) -> Self:
        """The object at `path` in an obstore `store` (extra ``s3``), under `name` or else its path's last component.

        The store is asked now for its size, its date, and, where it is S3, the CRC-32 of all of its data (others keep
        none, or another one, as Google's CRC-32C): so the archive's size is known, and a `ZipLayout` can be made. It is
        read when its turn comes, from the place on that is needed, and only if it still is the same: it is pinned by
        its ETag. Reading waits for the network: see `prefetch` of `stream_zip`. It can be pickled, where its store can
        (which wants ``allow_http`` and the like as ``client_options={…}``); credentials that were given to the store go
        with it. (On an event loop, call this on a thread.)

        Args:
            options: an Entry's, in place of what the store says; and checksum: False saves the request for the CRC-32.

        Raises ImportError, OptionError; RemoteError and its kin. At the member's turn also SourceChangedError, where
        another object has taken its place.
        """
        from . import store_source

        source, known = store_source.find(store, path, options)
        return cls(source.path.rpartition("/")[2] if name is None else name, source, **known)

    @classmethod
    def directory(cls, name: str, **options: Any) -> Self:
        """A directory; the slash at the end of `name` may be left out."""
        if isinstance(name, str) and name and not name.endswith("/"):
            name += "/"
        return cls(name, options.pop("source", None), **options)

    @classmethod
    def symlink(cls, name: str, target: StrPath, **options: Any) -> Self:
        """A symbolic link to `target`, which is stored as it is written; Unix readers make the link anew."""
        text = os.fsencode(path_text(target))
        if not text:
            raise EntryError(f"entry {name!r}: a symbolic link needs a target, and this one is empty")
        mode = options.pop("mode", 0o777)
        if isinstance(mode, int):
            mode = stat.S_IFLNK | stat.S_IMODE(mode)
        known = {"size": len(text), "crc32": zlib.crc32(text), "compression": "stored"}
        return cls(name, text, **{**known, **options, "mode": mode})

    def replace(self, **changes: Any) -> Self:
        """Another Entry, like this one but for `changes`: ``entry.replace(name="other")``."""
        return type(self)(**{**self._values(), **changes})

    __replace__ = replace  # for copy.replace, from Python 3.13 on

    def _values(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self._fields}

    def __setattr__(self, field: str, value: object) -> None:
        raise AttributeError(f"an Entry is frozen: entry.replace({field}=…) makes another")

    def __delattr__(self, field: str) -> None:
        raise AttributeError(f"an Entry is frozen: its {field} stays")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Entry) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self._values())

    def __repr__(self) -> str:
        parts = [repr(self.name), brief(self.source)]
        for field in self._fields[2:]:
            value = getattr(self, field)
            if value not in (None, b""):
                parts.append(f"{field}={'…' if field == 'password' and value else brief(value)}")
        return f"{'Entry.raw' if self.is_raw else 'Entry'}({', '.join(parts)})"


class RawEntry(Entry):
    """What `Entry.raw` makes: an Entry whose source gives data that is compressed already."""

    __slots__ = ("compressed_size", "flag_bits")

    compressed_size: int | None
    flag_bits: int

    _fields = (*(field for field in Entry._fields if field != "level"), *__slots__)

    def __init__(
        self,
        name: str,
        source: Any,
        *,
        compression: int | str,
        size: int | None,
        crc32: int | None,
        compressed_size: int | None = None,
        flag_bits: int | None = None,
        modified: datetime | float | tuple[int, ...] | None = None,
        mode: int | None = None,
        comment: bytes = b"",
        extra: bytes = b"",
        zip64: bool | None = None,
        password: str | bytes | Literal[False] | None = None,
    ) -> None:
        common = {"modified": modified, "mode": mode, "comment": comment, "extra": extra, "zip64": zip64}
        super().__init__(name, source, size=size, crc32=crc32, password=password, **common)  # type: ignore[arg-type]
        put = object.__setattr__
        try:
            put(self, "compression", raw_method_number(compression))
            put(self, "compressed_size", check_whole("compressed_size", compressed_size, MAX_SIZE))
            put(self, "flag_bits", check_flags(self.compression, flag_bits))
            self._check_raw()
        except ZipStreamError as exc:
            raise type(exc)(f"entry {name!r}: {exc}") from exc.__cause__

    @property
    def is_raw(self) -> bool:
        return True

    def _check_raw(self) -> None:
        if self.is_dir:
            raise EntryError("the name ends in '/', so this is a directory, and a directory has no compressed data")
        for field in ("size", "crc32"):
            if getattr(self, field) is None:
                raise EntryTypeError(f"{field}=None: of data that is compressed already it has to be told")
        if self.compression == ZIP_STORED:
            if self.compressed_size not in (None, self.size):
                raise SizeMismatchError(
                    f"compressed_size={self.compressed_size} and size={self.size} differ, and stored data has one size"
                )
            object.__setattr__(self, "compressed_size", self.size)


def _remade(kind: type[Entry], fields: dict[str, Any]) -> Entry:
    return kind(**fields)


_KEPT_OPTIONS = ("modified", "mode", "comment", "extra", "zip64", "password")


def path_of(path: StrPath) -> PurePath:
    """`path` as a path object, so that a str is never taken for data."""
    return path if isinstance(path, PurePath) else PurePath(path_text(path))


def path_text(path: StrPath) -> str:
    """`path` as a str; whatever is none is refused."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise EntryTypeError(f"path {path!r}: give a str or a path object (os.fsdecode makes one of bytes)")
    return text
