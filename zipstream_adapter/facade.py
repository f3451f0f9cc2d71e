"""What a stream says of itself, whoever iterates over it: a thread or an event loop."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from zipfile import ZipInfo

from .errors import PoisonedError, StreamClosedError, StreamStateError
from .options import Options, Skipped
from .small import is_near_limit

if TYPE_CHECKING:
    from .pipeline import Producer

_NOTHING = memoryview(b"")


class Facade:
    """The state of a stream that is one of a `ZipStream` or an `AsyncZipStream`."""

    def __init__(self, entries: Any, options: Options, producer: Producer) -> None:
        self._entries = entries
        self._options = options
        self._producer = producer
        self._left_over = _NOTHING  # of a chunk that read() has taken a part of
        self._taken = 0  # bytes of the chunks that have left, with what is left over
        self._begun = self._over = self._closed = False
        self._failure: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether it was closed, by whom it belongs to."""
        return self._closed

    @property
    def begun(self) -> bool:
        """Whether anything was asked of it yet."""
        return self._begun

    @cached_property
    def size(self) -> int | None:
        """Bytes in the whole archive, where that can be known before it is made; else None.

        It can where `entries` is a collection (a list, say), every size is declared or what a source in memory or a
        file says, and all members are stored, or deflated at level 0. Worked out when it is asked for first: files are
        looked at then; nothing is opened, called or used up. None, too, for what will fail (the stream says why), and
        with `on_error`, which can change what there is.
        """
        from .plan import planned_size  # with all that a layout needs: not for every stream

        return planned_size(self._entries, self._options)

    def tell(self) -> int:
        """Bytes that were handed over so far."""
        return self._taken - len(self._left_over)

    def infolist(self) -> list[ZipInfo]:
        """A ZipInfo for each member finished so far, in order, as its row in the central directory says it."""
        return self._producer.archive.rows.infolist()

    @property
    def next_offset(self) -> int:
        """Where in the archive, in bytes, the next member will begin, or the central directory."""
        return self._producer.tell()

    @property
    def place(self) -> int:
        """As `next_offset`, but for what is gathered to be compressed, which is asked only where zip64 is near."""
        made = self._producer.archive.sink.tell()
        return self.next_offset if is_near_limit(made) else made

    @property
    def skipped(self) -> list[Skipped]:
        """What was left out so far, and why."""
        return list(self._producer.skipped)

    def _fail(self, exc: BaseException) -> None:
        self._failure = exc
        self._left_over = _NOTHING

    def _close_for_good(self) -> None:
        """What is asked for from now on is refused, unless all of it has left."""
        if self._failure is None and (self._left_over or not self._over):
            self._fail(StreamClosedError("this stream was closed before its end, so its archive is incomplete"))

    def _refuse_if_failed(self) -> None:
        if isinstance(self._failure, StreamClosedError):
            raise StreamClosedError(*self._failure.args)
        if self._failure is not None:
            raise PoisonedError("this stream failed before, and its archive is incomplete") from self._failure

    def _refuse_if_used_up(self) -> None:
        """To iterate from here on would give nothing, which a client would send in the place of an archive."""
        self._refuse_if_failed()
        if self._over:
            raise StreamStateError("this stream was read to its end already: make a new one to have its archive again")


def refuse_begun(stream: Facade) -> None:
    """Refuse a stream whose beginning is elsewhere."""
    if stream.begun or stream.closed:
        raise StreamStateError("this stream was begun before, so its archive would lack what has left: make another")
