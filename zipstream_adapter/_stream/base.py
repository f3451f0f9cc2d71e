"""StreamBase: the state and properties that `ZipStream` and `AsyncZipStream` share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from zipfile import ZipInfo

from .._checks import shown_half_made
from .._entries.one_pass import OnePass
from .._entries.walked import Walk
from .._writer.options import Options
from .._writer.progress import Grown, Skipped
from .._writer.stream_archive import is_near_limit
from ..errors import PoisonedError, StreamClosedError, StreamStateError

if TYPE_CHECKING:
    from .producer import Producer

_NOTHING = memoryview(b"")


def _shown(entries: Any) -> str:
    if isinstance(entries, Walk):
        return repr(entries)
    if isinstance(entries, Sequence):
        return "1 entry" if len(entries) == 1 else f"{len(entries):,} entries"
    return f"a {type(entries).__name__}"


@shown_half_made
class StreamBase(OnePass):
    """The state that `ZipStream` and `AsyncZipStream` share."""

    def __init__(self, entries: Any, options: Options, producer: Producer) -> None:
        self._entries = entries
        self._options = options
        self._producer = producer
        self._left_over = _NOTHING  # the rest of a chunk that read() returned in part
        self._taken = 0  # bytes of all chunks taken from the producer, including `_left_over`
        self._begun = self._over = self._closed = False
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        """Return its kind, its entries, and how far it is. Does not walk, read or show any data."""
        return f"<{type(self).__name__} of {_shown(self._entries)}: {self._state()}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse `copy` and `pickle`: two streams would share the sources, and each would give a part of the bytes."""
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled, as its sources are read once: make another from the "
            "same entries, or a ZipLayout"
        )

    def _state(self) -> str:
        count = f"{self._taken:,} bytes"
        if self._failure is not None:
            return f"{'closed' if isinstance(self._failure, StreamClosedError) else 'failed'} after {count}"
        return f"complete, {count}" if self._over else f"{count} so far" if self._begun else "not begun"

    @property
    def closed(self) -> bool:
        """Whether the stream was closed by its user."""
        return self._closed

    @property
    def begun(self) -> bool:
        """Whether any bytes were requested yet."""
        return self._begun

    @cached_property
    def size(self) -> int | None:
        """Bytes in the whole archive, or None if that is not known before the archive is made.

        It is known if `entries` is a collection (such as a list), every size is declared or known from a source in
        memory or a file's metadata, and all members are stored, or deflated at level 0. It is computed on first access:
        this stats files, but opens, calls and uses up nothing. Also None if an entry would fail (the stream raises the
        error), and with `on_error`, which can change the entries.
        """
        from .._writer.planner import planned_size  # imports much that most streams do not need

        return planned_size(self._entries, self._options)

    def tell(self) -> int:
        """Return the number of bytes handed over so far."""
        return self._taken - len(self._left_over)

    def infolist(self) -> list[ZipInfo]:
        """Return a ZipInfo for each member finished so far, in order, as its central directory header states it."""
        return self._producer.archive.directory.infolist()

    @property
    def member_count(self) -> int:
        """Number of members finished so far: ``len(infolist())``, without a ZipInfo for each."""
        return self._producer.archive.directory.count

    @property
    def next_offset(self) -> int:
        """Offset in the archive, in bytes, of the next member or of the central directory."""
        return self._producer.tell()

    @property
    def place(self) -> int:
        """Like `next_offset`, but does not force pending members to be compressed unless the 4 GiB limit is near."""
        made = self._producer.archive.sink.tell()
        return self.next_offset if is_near_limit(made) else made

    @property
    def skipped(self) -> list[Skipped]:
        """The entries left out so far, with the reason: by `on_error`, or because the entry is the archive itself."""
        return list(self._producer.skipped)

    @property
    def grown(self) -> list[Grown]:
        """The files so far that grew while they were read, and are stored with the data they had when opened."""
        return list(self._producer.grown)

    def _fail(self, exc: BaseException) -> None:
        self._failure = exc
        self._left_over = _NOTHING

    def _close_for_good(self) -> None:
        """Make later reads raise StreamClosedError, unless all bytes were handed over."""
        if self._failure is None and (self._left_over or not self._over):
            self._fail(StreamClosedError("this stream was closed before its end, so its archive is incomplete"))

    def _refuse_if_failed(self) -> None:
        if isinstance(self._failure, StreamClosedError):
            raise StreamClosedError(*self._failure.args)
        if self._failure is not None:
            raise PoisonedError("this stream failed before, and its archive is incomplete") from self._failure

    def _refuse_if_used_up(self) -> None:
        """Refuse to iterate over a stream at its end: a client would send an empty body in place of an archive."""
        self._refuse_if_failed()
        if self._over:
            raise StreamStateError("this stream was already read to its end: make a new one to get its archive again")
