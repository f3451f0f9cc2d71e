"""Entry: a frozen description of one member.

Creating an Entry opens no source and looks at no file. `source.py` does, when the member's turn comes.
"""

from __future__ import annotations

import os
import stat
import zlib
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from zipfile import ZIP_STORED

from .._checks import check_names, short_repr, shown_half_made, whole
from .._compression.methods import (
    check_has_levels,
    check_level,
    method_to_write,
    name_or_number,
    raw_method_number,
)
from .._compression.secret import hidden, hide_in
from .._format.timestamps import to_utc
from ..errors import EntryError, EntryTypeError, SizeMismatchError, ZipStreamError
from .types import CopyOptions
from .validation import (
    MAX_SIZE,
    check_comment,
    check_extra,
    check_flags,
    check_grown,
    check_mode,
    check_password,
    check_seekable,
    check_seekable_coding,
    check_whole,
    check_zip64,
)

if TYPE_CHECKING:
    from typing import Never, Self, Unpack
    from zipfile import ZipFile, ZipInfo

    from .._compression.methods import Compression
    from .files.growing import GrownPolicy
    from .types import (
        AsyncSource,
        EntryChanges,
        EntryOptions,
        RawOptions,
        StoreEntryOptions,
        StrPath,
    )


class _Signature:
    """The signature of a class of entries for `inspect` and `help`: without the unknown arguments, which it refuses."""

    def __get__(self, instance: object, owner: Any) -> Any:
        import inspect

        made = inspect.signature(owner.__init__)
        _, *kept = [each for each in made.parameters.values() if each.kind is not each.VAR_KEYWORD]
        return made.replace(parameters=kept)


# The options of an Entry besides its date and its mode, in the order of `_REST`; and those of most.
_Rest = tuple[int | None, int | None, int | None, int | None, bytes, bytes, bool | None, Any, "GrownPolicy | None", Any]
_REST = ("size", "crc32", "compression", "level", "comment", "extra", "zip64", "password", "grown", "seekable")
_NOTHING = b""
_NO_REST: _Rest = None, None, None, None, _NOTHING, _NOTHING, None, None, None, None


def _option(field: str) -> Any:
    place = _REST.index(field)
    return property(lambda entry: entry._rest[place])


@shown_half_made
class Entry:
    """One member of an archive to write: its name, its source, and its options. Frozen.

    Args:
        name: the member's name, with forward slashes. The name of a directory ends in ``/``.
        source: the data: bytes-like, a path object, a file object opened in binary mode, an iterable of
            bytes-like chunks, the response of an HTTP client (its status and Content-Length are checked), a
            `subprocess.Popen` with stdout=PIPE (its exit status is checked), a context manager of any of these, or a
            callable that returns any of these and is called when the member's turn comes.
            A file object is read from its position. One that can seek and stands at its end, with data before, is
            refused (StreamStateError), unless `size` is 0.
            The archive owns the source: if it can be closed, it is closed, once. A directory takes None, or the path
            of a directory whose date and mode to use.
        size: the size of the data in bytes, if known. Data of any other size fails the member.
        crc32: the CRC-32 of the data, if known. Data with any other CRC-32 fails the member.
        modified: a datetime (a naive one is UTC), a timestamp in seconds since 1970, or a 6-tuple (UTC).
            Default: the file's date for a path, else SOURCE_DATE_EPOCH if set, else now. The format has the years 1980
            to 2107: any other date given here is refused, while a file gets the nearest date that it has.
        mode: Unix permissions, with or without the file type. Default: the file's mode for a path, else 0o644
            (0o755 for directories).
        compression: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma", "zstd". Default: the archive's.
        level: 0 to 9 for deflate and lzma, 1 to 9 for bzip2, -131072 to 22 for zstd. Default: the archive's.
        comment: the member's comment, at most 65,535 bytes. Neither comment nor extra may contain the signature of an
            end record (``PK\\5\\6``, ``PK\\6\\6``, ``PK\\6\\7``), which readers could mistake for the archive's end.
        extra: extra fields (APPNOTE 4.5), at most 65,498 bytes, without the zip64 field (0x0001), which the writer
            adds.
        zip64: True writes a zip64 local file header for any size. False fails the member as soon as it needs zip64.
            Default: zip64 only if a known size needs it.
        password: encrypts the member's data (see `stream_zip`). False: no encryption. Default: the archive's.
        grown: "error" or "cut", for a file that grows while it is read (see `stream_zip`). Default: the archive's. With
            "cut" and a declared `size`, the first `size` bytes are taken. A `ZipLayout` refuses a file that has grown.
        seekable: True, or the bytes of a chunk, gives a deflated member of more than a chunk an index by which readers
            seek in it (see `stream_zip`). False: none. Default: the archive's.

    If the first member of an archive is named ``mimetype`` and stored, it has no extra fields for dates and owners,
    and a complete local file header (for up to 64 KiB of data, or the lookahead), as EPUB and ODF require.

    Raises:
        EntryTypeError, EntryError, OptionError, LimitError: for an invalid value; the message names the entry.
        ImportError: for "zstd" without the extra ``zstd``. The archive, not the Entry, checks that the name is safe
            and unused.
    """

    __signature__ = _Signature()
    # The options that few entries have are one tuple, which all others share: an archive may have a million entries.
    __slots__ = ("_rest", "mode", "modified", "name", "source")

    name: str
    source: Any
    size: int | None = _option("size")
    crc32: int | None = _option("crc32")
    modified: datetime | None
    mode: int | None
    compression: int | None = _option("compression")
    level: int | None = _option("level")
    comment: bytes = _option("comment")
    extra: bytes = _option("extra")
    zip64: bool | None = _option("zip64")
    password: bytes | Literal[False] | None = _option("password")
    grown: GrownPolicy | None = _option("grown")
    seekable: int | None = _option("seekable")

    # In the order of the arguments.
    _fields: ClassVar[tuple[str, ...]] = (
        "name", "source", "size", "crc32", "modified", "mode", "compression", "level", "comment", "extra", "zip64",
        "password", "grown", "seekable",
    )  # fmt: skip
    _rest: _Rest

    def __init__(
        self,
        name: str,
        source: AsyncSource | None = None,
        *,
        size: int | None = None,
        crc32: int | None = None,
        modified: datetime | float | tuple[int, ...] | None = None,
        mode: int | None = None,
        compression: Compression | None = None,
        level: int | None = None,
        comment: bytes = b"",
        extra: bytes = b"",
        zip64: bool | None = None,
        password: str | bytes | Literal[False] | None = None,
        grown: GrownPolicy | None = None,
        seekable: bool | int | None = None,
        **unknown: Never,
    ) -> None:
        if unknown:
            check_names("Entry", unknown, _OPTIONS)
        if type(name) is not str:
            name = _text_of(name)
        _set_name(self, name)
        _set_source(self, source)
        if password:
            password = hidden(password)
        try:
            _set_modified(self, None if modified is None else to_utc(modified))
            known = mode is None or (type(mode) is int and 0 <= mode <= 0o7777)
            _set_mode(self, mode if known else check_mode(name, mode))  # type: ignore[arg-type]
            if (
                size is crc32 is compression is level is zip64 is password is seekable is None is grown
                and comment is extra is _NOTHING
            ):
                _set_rest(self, _NO_REST)
                return
            if not (size is None or (type(size) is int and 0 <= size <= MAX_SIZE)):
                size = check_whole("size", size, MAX_SIZE)
            if not (crc32 is None or (type(crc32) is int and 0 <= crc32 <= 0xFFFFFFFF)):
                crc32 = check_whole("crc32", crc32, 0xFFFFFFFF)
            method = None if compression is None else method_to_write(compression)
            rest = (
                size,
                crc32,
                method,
                None if level is None else _level_of(method, level),
                # Compare the type first: comparing bytes with str warns under `python -b`.
                comment if type(comment) is bytes and not comment else check_comment(comment),
                extra if type(extra) is bytes and not extra else check_extra(extra),
                None if zip64 is None else check_zip64(zip64),
                None if password is None else password is not False and check_password(password),
                None if grown is None else check_grown(grown),
                None if seekable is None else check_seekable(seekable),
            )
            if seekable:
                check_seekable_coding(rest[-1] or 0, method, level, is_encrypted=bool(password))
        except ZipStreamError as exc:
            raise type(exc)(f"entry {name!r}: {exc}") from exc.__cause__
        _set_rest(self, rest)

    @property
    def is_dir(self) -> bool:
        """Whether this entry is a directory: its name ends in ``/``."""
        return self.name.endswith("/")

    @property
    def is_link(self) -> bool:
        """Whether this entry is a symbolic link, according to its mode."""
        return self.mode is not None and stat.S_ISLNK(self.mode)

    @property
    def is_raw(self) -> bool:
        """Whether the source gives data that is already compressed: the entry was made by `raw`."""
        return False

    @property
    def compressed_size(self) -> int | None:
        """Size of a raw entry's compressed data in bytes, if known. None for all other entries."""
        return None

    @property
    def source_size(self) -> int | None:
        """Bytes that the source must give, if known: `size`, or `compressed_size` for a raw entry."""
        return self.compressed_size if self.is_raw else self.size

    @staticmethod
    def raw(
        name: str,
        source: AsyncSource,
        *,
        compression: Compression,
        size: int,
        crc32: int,
        compressed_size: int | None = None,
        **options: Unpack[RawOptions],
    ) -> RawEntry:
        """Make an entry whose `source` gives data that is already compressed. The data is copied without decompression.

        Args:
            compression: the method of the data: "deflate" (raw, RFC 1951), "bzip2" (a complete stream), "lzma" (with
                zip's own header, APPNOTE 5.8.8), "stored" (its size and CRC-32 are checked), or the number of any
                other method.
            size, crc32: size in bytes and CRC-32 of the uncompressed data. Readers check them; unless the data is
                stored, this package cannot.
            compressed_size: bytes that the source gives, if known. Any other number fails the member. Without it, a
                member longer than the lookahead has a data descriptor, unless its source (a file, an object in memory)
                knows its size.
            options: `modified`, `mode`, `comment`, `extra`, `zip64`, `password` as for Entry; and `flag_bits`: bits 1
                and 2 of the general purpose bit flag (APPNOTE 4.4.4), if the method uses them. Default: the bits that
                this package would write: bit 1 (end marker present) for "lzma", else none.

        Raises:
            EntryError: for a directory, and as for Entry.
            SizeMismatchError: if `size` and `compressed_size` of stored data differ.
        """
        hide_in(options)
        return RawEntry(
            name, source, compression=compression, size=size, crc32=crc32, compressed_size=compressed_size, **options
        )

    @staticmethod
    def copy(
        zip_file: ZipFile | StrPath, member: str | ZipInfo, name: str | None = None, **options: Unpack[CopyOptions]
    ) -> Entry:
        """Copy a member of another archive without recompressing it. The entry is raw, unless it is a directory.

        The copy keeps the member's date (the local time stored there), permissions, comment and extra fields. Extra
        fields for zip64 and Unicode names are written anew.

        Args:
            zip_file: an open `zipfile.ZipFile`, which must stay open until the member is written; or a path. The
                central directory at a path is read now (unless `member` is a ZipInfo), and the file is opened again
                when the member's turn comes. An Entry copied from a path can be pickled.
            member: the member's name or ZipInfo. Give a ZipInfo to copy many members from a path, or if the archive
                has several members of one name.
            name: the new name. Default: the member's name.
            options: `modified`, `mode`, `comment`, `extra`, `zip64` replace the kept values; and `password`.

        Raises:
            EntryError: for a member that is missing, encrypted, or patched.
            BadArchiveError: if the file is not a zip archive. When the member's turn comes: if its local file header
                is missing or belongs to another member, or its data is truncated.
            SourceChangedError: when the member's turn comes, if the file at the path has changed.
            OSError: if the file cannot be read.
        """
        hide_in(options)
        from . import zip_copy as archived

        unknown = [option for option in options if option not in _KEPT_OPTIONS]
        if unknown:
            raise EntryTypeError(
                f"Entry.copy() takes no option {unknown[0]!r}, as the data stays as it is: the options are "
                f"{', '.join(_KEPT_OPTIONS)}"
            )
        info, source = archived.find(zip_file, member)
        name = info.filename if name is None else name
        known = archived.described_by(info, options)
        if info.filename.endswith("/"):
            return Entry.directory(name, **known)
        return RawEntry(name, source, **archived.coding_of(info), **known)

    @staticmethod
    def from_gzip(
        source: Any,
        name: str | None = None,
        *,
        several: Literal["error", "recompress"] = "error",
        size: int | None = None,
        **options: Unpack[CopyOptions],
    ) -> Entry:
        """Make an entry of a gzip file (RFC 1952). Its data becomes a deflated member without recompression.

        Header and trailer are read now: CRC-32 and size of the data stand in the trailer. While the member is written,
        the data is also decompressed, and checked against them.

        Args:
            source: a path (str or path object); bytes; a seekable binary file, from its position on, which stays open;
                or a callable that returns one of the last two. With a path, or a callable that can be pickled, the
                entry can be pickled.
            name: the member's name. Default: the file's name without ``.gz`` (``.tar`` for ``.tgz``), or else the name
                in the header.
            several: what to do with a file of several gzip members, as log rotation and `bgzip` write. "error"
                (default) fails the member at the end of the first one. "recompress" reads the file through now, and if
                it has several, makes an entry of their data, which the archive compresses anew.
            size: bytes of the data, needed only for 4 GiB or more: the trailer states the size modulo 2**32.
            options: `modified` (default: the date in the header, or else the file's), `mode` (default: the file's),
                `comment`, `extra`, `zip64`, `password`, as for Entry.

        Raises: EntryTypeError; EntryError without a name; BadArchiveError if it is not a gzip file; SizeMismatchError;
            OSError. When the member's turn comes: BadArchiveError if it is broken or has several members;
            CRC32MismatchError, SizeMismatchError; SourceChangedError if the file at the path has changed.
        """
        hide_in(options)
        from . import gzip_file

        unknown = [option for option in options if option not in _KEPT_OPTIONS]
        if unknown:
            raise EntryTypeError(
                f"Entry.from_gzip() takes no option {unknown[0]!r}: the options are {', '.join(_KEPT_OPTIONS)}"
            )
        member, data, known, is_raw = gzip_file.find(source, name, several, size, options)
        if is_raw:
            return RawEntry(member, data, **known)
        return Entry(member, data, **known)

    @classmethod
    def from_path(cls, path: StrPath, name: str | None = None, **options: Unpack[EntryOptions]) -> Self:
        """Make an entry of the file at `path`, or of the directory without its contents.

        Its size, date and mode are read from the opened file when the member's turn comes.

        Args:
            name: the member's name. Default: the last component of `path`.
            options: as for Entry.
        """
        hide_in(options)
        place = path_of(path)
        if name is None:
            name = place.name if place.name not in ("", "..") else os.path.basename(os.path.abspath(place))
        if os.path.isdir(place) and not name.endswith("/"):
            name += "/"
        return cls(name, place, **options)

    @classmethod
    def from_store(cls, store: Any, path: str, name: str | None = None, **options: Unpack[StoreEntryOptions]) -> Self:
        """Make an entry of the object at `path` in an obstore `store` (extra ``s3``).

        This call requests the object's size, its date (moved to the nearest that the format has; none if the server
        states none) and, from S3, the CRC-32 of all of its data (other stores have none, or another checksum such as
        Google's CRC-32C). So the size of the archive is known, and a `ZipLayout` can be made. The data is
        read when the member's turn comes, from the offset that is needed, and only if the object still has the same
        ETag. Reading waits for the network: see `prefetch` of `stream_zip`. The entry can be pickled if its store can
        (such a store takes ``allow_http`` and the like as ``client_options={…}``); the pickle contains the credentials
        given to the store. This call blocks: in asynchronous code, run it on a thread.

        Args:
            name: the member's name. Default: the last component of `path`.
            options: as for Entry, in place of the store's values; `checksum`: False saves the request for the CRC-32;
                and `deadline`: seconds that this call may take, and later each read of a piece of the data, the store's
                own retries included. Default: None, for no limit.

        Raises:
            ImportError: without the extra ``s3``.
            OptionError: an argument is not allowed.
            RemoteError: one of its subclasses, if the object cannot be read; RemoteTimeoutError after `deadline`.
            SourceChangedError: when the member's turn comes, if the object was replaced.
        """
        hide_in(options)
        from ..remote import object_source as store_source

        source, known = store_source.find(store, path, options)
        return cls(source.path.rpartition("/")[2] if name is None else name, source, **known)

    @classmethod
    def directory(cls, name: str, *, source: os.PathLike[Any] | None = None, **options: Unpack[EntryOptions]) -> Self:
        """Make an entry of a directory. A slash is added to `name` if it does not end in one."""
        hide_in(options)
        if isinstance(name, str) and name and not name.endswith("/"):
            name += "/"
        return cls(name, source, **options)

    @classmethod
    def symlink(cls, name: str, target: StrPath, **options: Unpack[EntryOptions]) -> Self:
        """Make an entry of a symbolic link. `target` is stored unchanged; Unix readers recreate the link."""
        hide_in(options)
        text = os.fsencode(path_text(target))
        if not text:
            raise EntryError(f"entry {name!r}: the target of the symbolic link is empty: give a path")
        if b"\0" in text:
            raise EntryError(f"entry {name!r}: the target {os.fsdecode(text)!r} contains a NUL: give a path without it")
        mode = options.pop("mode", 0o777)
        if (number := whole(mode)) is not None:
            mode = stat.S_IFLNK | stat.S_IMODE(number)
        known: dict[str, Any] = {"size": len(text), "crc32": zlib.crc32(text), "compression": "stored"}
        return cls(name, text, **{**known, **options, "mode": mode})

    def replace(self, **changes: Unpack[EntryChanges]) -> Self:
        """Return a copy with `changes` applied: ``entry.replace(name="other")``."""
        hide_in(changes)
        return type(self)(**{**self._values(), **changes})

    __replace__ = replace  # for copy.replace, from Python 3.13 on

    def _values(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self._fields}

    def __setattr__(self, field: str, value: object) -> None:
        raise AttributeError(f"an Entry is frozen, so {field} cannot be set: use entry.replace({field}=…)")

    def __delattr__(self, field: str) -> None:
        raise AttributeError(f"an Entry is frozen, so {field} cannot be deleted: make another Entry")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        mine, others = self._values(), other._values()
        return mine.keys() == others.keys() and all(_equal(value, others[field]) for field, value in mine.items())

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self._values())

    def __repr__(self) -> str:
        parts = [repr(self.name), short_repr(self.source)]
        for field in self._fields[2:]:
            value = getattr(self, field)
            if value is not None and not (isinstance(value, bytes) and not value):
                if field == "compression":
                    value = name_or_number(value)
                parts.append(f"{field}={'…' if field == 'password' and value else short_repr(value)}")
        return f"{'Entry.raw' if self.is_raw else 'Entry'}({', '.join(parts)})"


class PlainEntry(Entry):
    """An Entry with a name and a source, and no options. It takes a fifth of the time of an Entry to make.

    Only `plain_entry` makes one; a copy by `replace`, and an unpickled one, is an Entry.
    """

    __slots__ = ()

    size = crc32 = modified = mode = compression = level = zip64 = password = grown = seekable = None
    comment = extra = b""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return Entry(*args, **options)


class FileEntry(PlainEntry):
    """A PlainEntry of the file at a path that is a str until its `source` is asked for. Only `file_entry` makes one.

    Attributes:
        place: the path, as a str or a path object.
    """

    __slots__ = ("place",)

    place: str | Path

    @property
    def source(self) -> Path:
        """The path as a path object, which takes longer to make than the rest of the entry."""
        place = self.place
        if type(place) is str:
            place = Path(place)
            _set_place(self, place)
        return place  # type: ignore[return-value]


_new = object.__new__
# The setters of the slots: an Entry is frozen, and object.__setattr__ looks up the slot each time.
_set_name, _set_source, _set_modified, _set_mode, _set_rest = (
    getattr(Entry, field).__set__ for field in ("name", "source", "modified", "mode", "_rest")
)
_set_place = vars(FileEntry)["place"].__set__

_OPTIONS = frozenset(Entry._fields)


def _text_of(name: object) -> str:
    if not isinstance(name, str):
        raise EntryTypeError(f"entry {name!r}: the name is of type {type(name).__name__}: give a str")
    return str.__str__(name)  # the methods of a subclass may say something else than its characters


def _level_of(method: int | None, level: int) -> int | None:
    check_has_levels(method, level, "leave the level out, or choose a compression such as 'deflate'")
    return check_level(method, level)


def plain_entry(name: str, source: Any) -> Entry:
    """Make an Entry without options."""
    entry = _new(PlainEntry)
    _set_name(entry, name)
    _set_source(entry, source)
    return entry


def file_entry(name: str, path: str) -> Entry:
    """Make an Entry, without options, of the file at `path`."""
    entry = _new(FileEntry)
    _set_name(entry, name)
    _set_place(entry, path)
    return entry


def is_plain(entry: Entry) -> bool:
    """Whether, besides name and source, only a date and a file's mode of `entry` affect the archive's bytes."""
    mode, rest = entry.mode, entry._rest
    if mode is not None and stat.S_IFMT(mode) not in _FILE_KINDS:
        return False
    # Neither the policy for files that grow nor "no password" affects data that is there.
    return rest is _NO_REST or (rest[:7] == _NO_REST[:7] and not entry.password and entry.seekable is None)


_FILE_KINDS = (0, stat.S_IFREG)


class RawEntry(Entry):
    """An Entry whose source gives data that is already compressed. Made by `Entry.raw`."""

    __slots__ = ("compressed_size", "flag_bits")

    compressed_size: int | None
    flag_bits: int

    _fields = (*(field for field in Entry._fields if field not in ("level", "grown", "seekable")), *__slots__)

    def __init__(
        self,
        name: str,
        source: AsyncSource,
        *,
        compression: Compression,
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
        if password:
            password = hidden(password)
        common = {"modified": modified, "mode": mode, "comment": comment, "extra": extra, "zip64": zip64}
        super().__init__(name, source, size=size, crc32=crc32, password=password, **common)  # type: ignore[arg-type]
        put = object.__setattr__
        try:
            size, crc32, _, *rest = self._rest
            put(self, "_rest", (size, crc32, raw_method_number(compression), *rest))
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
            raise EntryError(
                "the name ends in '/', so this is a directory, and a directory has no data: take the slash away, or "
                "use Entry.directory"
            )
        for field in ("size", "crc32"):
            if getattr(self, field) is None:
                raise EntryTypeError(
                    f"{field}=None: it cannot be computed from compressed data: give the {field} of the original data"
                )
        if self.compression == ZIP_STORED:
            if self.compressed_size not in (None, self.size):
                raise SizeMismatchError(
                    f"compressed_size={self.compressed_size} and size={self.size} differ, but stored data has one "
                    "size: leave out compressed_size"
                )
            object.__setattr__(self, "compressed_size", self.size)


def _equal(value: Any, other: Any) -> bool:
    """Whether the two are equal. Does not compare bytes with a str or an int, as `python -b` warns of that."""
    pair = (value, other)
    if any(isinstance(each, bytes | bytearray) for each in pair) and any(isinstance(each, str | int) for each in pair):
        return False
    return value is other or bool(value == other)


def _remade(kind: type[Entry], fields: dict[str, Any]) -> Entry:
    return kind(**fields)


_KEPT_OPTIONS = tuple(CopyOptions.__annotations__)


def path_of(path: StrPath) -> PurePath:
    """Return `path` as a path object, so that a str is never taken for data."""
    return path if isinstance(path, PurePath) else PurePath(path_text(path))


def path_text(path: StrPath) -> str:
    """Return `path` as a str. Raises EntryTypeError for anything that is not a str or a path object of one."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise EntryTypeError(f"path {path!r}: give a str or a path object (os.fsdecode turns bytes into a str)")
    return text
