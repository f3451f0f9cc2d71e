"""The options of streams and layouts: their types, their defaults, and `Options`, a stream's options, validated.

Only `stream_zip` spells them out again, for its users; all others take ``**options: Unpack[…]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar, cast
from zipfile import ZipInfo

from .._checks import check_choice, check_names
from .._compression.codecs import CodecFactory
from .._compression.engines import Engine
from .._compression.methods import UNCOMPRESSED, check_has_levels, check_level, method_number
from .._compression.secret import hidden, hide_in
from .._entries.crc_cache import ChecksumCache
from .._entries.entry import Entry
from .._entries.files.growing import GROWN_POLICIES, GrownPolicy
from .._entries.prefetch import check_prefetch
from .._entries.validation import check_archive_comment, check_password, check_seekable, check_seekable_coding
from .._format.names import DuplicatePolicy, NamePolicy
from .._format.sozip import LEAST_MEMBER, Seeking
from ..errors import OptionError
from .lookahead import ALWAYS_DESCRIPTOR, DEFAULT_LOOKAHEAD, check_lookahead
from .progress import AsyncOnError, OnError, OnProgress
from .sink import DEFAULT_CHUNK_SIZE
from .stream_archive import StreamArchive
from .zipinfo import zipinfo_of

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from datetime import datetime
    from inspect import Signature

    from .._compression.methods import Compression

Kind = TypeVar("Kind", bound=StreamArchive)
F = TypeVar("F", bound=Callable[..., Any])


class LayoutOptions(TypedDict, total=False):
    """The options of `ZipLayout`."""

    compression: Compression | None
    level: int | None
    chunk_size: int
    lookahead: int
    comment: bytes
    names: NamePolicy
    duplicates: DuplicatePolicy
    extended_timestamps: bool
    checksums: ChecksumCache | None


class CommonOptions(LayoutOptions, total=False):
    """The options that `stream_zip` and `async_stream_zip` share."""

    on_progress: OnProgress | None
    engine: Engine
    workers: int | None
    executor: Executor | None
    prefetch: int
    password: str | bytes | None
    grown: GrownPolicy
    seekable: bool | int


class StreamOptions(CommonOptions, total=False):
    """The options of `stream_zip`."""

    on_error: OnError | None


class AsyncStreamOptions(CommonOptions, total=False):
    """The options of `async_stream_zip`."""

    on_error: AsyncOnError | None


class Options(NamedTuple):
    """The options of a stream, with their defaults."""

    compression: Compression | None = "none"
    level: int | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE
    lookahead: int = DEFAULT_LOOKAHEAD
    comment: bytes = b""
    names: NamePolicy = "strict"
    duplicates: DuplicatePolicy = "error"
    on_error: AsyncOnError | None = None
    on_progress: OnProgress | None = None
    extended_timestamps: bool = True
    engine: Engine = "auto"
    workers: int | None = None
    executor: Executor | None = None
    prefetch: int = 0
    checksums: ChecksumCache | None = None
    password: str | bytes | None = None
    grown: GrownPolicy = "error"
    seekable: bool | int = False
    # The rest is for modules of this package only.
    # Makes the compressors, in place of engine, workers and executor.
    make_coding: Callable[[], CodecFactory] | None = None
    # Makes a ZipInfo of (name, date, mode, method), in place of `zipinfo_of`. Of the name, only a last slash matters.
    make_zipinfo: Callable[[str, datetime, int | None, int], ZipInfo] | None = None
    # "always": every member has a data descriptor, also one without data. Complete headers need size and CRC-32.
    descriptor: Literal["needed", "always"] = "needed"
    # Whether a file must keep the size that it had when it was opened.
    pinned: bool = True
    # Archive offset, in bytes, of the first byte.
    offset: int = 0
    # Bytes of data from which a member is streamed in any case. Smaller ones are written whole, if the method allows.
    batch_limit: int = sys.maxsize

    @classmethod
    def given_to(cls, callee: str, options: Any, kind: Any = None) -> Options:
        """Return the dict `options`, given to the callable named `callee`, validated. Hides the password in it.

        Args:
            kind: the TypedDict of the options that it takes. Default: all.

        Raises: TypeError for an option that it does not take; and as `checked`.
        """
        hide_in(options)
        known = kind.__optional_keys__ if kind else _NAMES
        if lacking := [name for name in options if name in _STREAM_NAMES - known]:
            raise TypeError(
                f"{callee}() got an unexpected keyword argument {lacking[0]!r}, which is an option of streams: use "
                "stream_zip; in a web view, leave out ranges=True or this option"
            )
        check_names(callee, options, known)
        return cls(**options).checked()

    def checked(self) -> Options:
        """Return these options validated, with the password as bytes. The archive validates its own options itself."""
        number = self.method
        compression = "none" if self.compression is None else self.compression
        check_has_levels(
            number, self.level, "give another compression, or the level to the entries that are compressed"
        )
        numbers: dict[str, Any] = {
            "compression": compression if isinstance(compression, str) else number,
            "level": check_level(number, self.level),
            "prefetch": check_prefetch(self.prefetch),
            "seekable": check_seekable(self.seekable),
            "lookahead": ALWAYS_DESCRIPTOR if self.descriptor == "always" else check_lookahead(self.lookahead),
        }
        if numbers["seekable"]:
            encrypted = self.password is not None
            check_seekable_coding(numbers["seekable"], number, self.level, is_encrypted=encrypted)
        check_archive_comment(self.comment)
        check_choice("grown", self.grown, GROWN_POLICIES)
        if self.extended_timestamps not in (True, False):
            raise OptionError(f"extended_timestamps={self.extended_timestamps!r}: give True or False")
        if not isinstance(self.checksums, ChecksumCache | None):
            raise OptionError(f"checksums={self.checksums!r}: give a ChecksumCache, or None")
        for name in ("on_error", "on_progress"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise OptionError(f"{name}={callback!r}: give a function, or None")
        return self._replace(**numbers, password=check_password(self.password))

    @property
    def method(self) -> int:
        """The number of the default method; see `method_number`."""
        return UNCOMPRESSED if self.compression is None else method_number(self.compression)

    def __repr__(self) -> str:
        fields = ((name, hidden(value) if name == "password" else value) for name, value in self._asdict().items())
        return f"Options({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def password_of(self, entry: Entry) -> bytes | None:
        """Return the password that encrypts the data of `entry`; None if the data is not encrypted."""
        if entry.is_dir or entry.password is False:
            return None
        return entry.password or cast("bytes | None", self.password)  # bytes since `checked`

    def seeking_of(self, entry: Entry) -> Seeking | None:
        """Return how the member of `entry` is made seekable; None if it is not.

        The archive's own option passes over members that cannot have an index.

        Raises OptionError if the entry asks for an index that it cannot have.
        """
        chunk = self.seekable if entry.seekable is None else entry.seekable
        if not chunk or entry.is_dir:
            return None
        method = self.method if entry.compression is None else entry.compression
        level = self.level if entry.level is None else entry.level
        try:
            encrypted = self.password_of(entry) is not None
            check_seekable_coding(chunk, method, level, is_encrypted=encrypted, is_raw=entry.is_raw)
        except OptionError as exc:
            if entry.seekable is None:
                return None
            raise OptionError(f"entry {entry.name!r}: {exc}") from None
        return Seeking(chunk, LEAST_MEMBER if entry.seekable is None else chunk + 1)

    def zipinfo_of(self, name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
        """Make a ZipInfo from a member's basic metadata."""
        if self.make_zipinfo is not None:
            return self.make_zipinfo(name, date, mode, method)
        return zipinfo_of(name, date, mode, method, timestamps=self.extended_timestamps)

    def archive(self, kind: type[Kind]) -> Kind:
        """Make an empty archive of class `kind` with these options."""
        archive = kind(
            compression=self.compression,
            compresslevel=self.level,
            lookahead=self.lookahead,
            chunk_size=self.chunk_size,
            engine=self.engine,
            workers=self.workers,
            executor=self.executor,
            password=self.password,
            coding=self.make_coding and self.make_coding(),
            offset=self.offset,
        )
        archive.comment = self.comment
        return archive


_NAMES = frozenset(Options._fields)
_STREAM_NAMES = StreamOptions.__optional_keys__


def spelled_out(kind: Any) -> Callable[[F], F]:
    """Return a decorator that shows the options of the TypedDict `kind` in the signature of a function.

    The function takes them as ``**options``. For `inspect.signature` and `help`.
    """

    def decorator(function: F) -> F:
        function.__signature__ = _spelled(function, kind)  # type: ignore[attr-defined]
        return function

    return decorator


class SpelledOut:
    """The ``__signature__`` of a class whose ``__init__`` takes the options of the TypedDict `kind`."""

    _owner: Any

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __set_name__(self, owner: Any, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: object, owner: Any) -> Signature:
        if owner.__init__ is not self._owner.__init__:
            raise AttributeError("a subclass with its own __init__ has the signature of that")
        made = _spelled(owner.__init__, self._kind)
        return made.replace(parameters=[*made.parameters.values()][1:])


def _spelled(function: Any, kind: Any) -> Signature:
    import inspect  # imports much that most streams do not need

    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    types = {name: getattr(each, "__forward_arg__", each) for name, each in kind.__annotations__.items()}
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[name])
        for name, default in Options._field_defaults.items()
        if name in types
    ]
    return signature.replace(parameters=[*own, *options])
