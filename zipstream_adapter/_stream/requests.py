"""The requests of a producer to its driver. A producer yields chunks of the archive, and requests; it is sent answers.

A driver runs a request where it belongs, and sends the result or throws the exception into the steps. After that, the
steps run on where the request was run, until they request something else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._entries.peek import PeekedSource

if TYPE_CHECKING:
    from .._entries.entry import Entry
    from .._writer.progress import Progress

# The steps of a producer: they yield ``bytes`` and requests.
Steps = Generator[Any, Any, None]


class Items(NamedTuple):
    """Take more items from `entries`. Answer: (an iterable of items, whether more may follow)."""


class CloseItems(NamedTuple):
    """Close the entries, and their prefetched sources."""


class Open(NamedTuple):
    """Open the source of `entry`. Answer: the open source, or a source to `Take`."""

    entry: Entry


class Take(NamedTuple):
    """Continue with a peeked or prefetched `source`, whose turn has come.

    Answer: the open source, or `NOTHING_YET` if opening takes long. Then the request is repeated.
    """

    source: Any


# Read the source up to its `limit`, or until the consumer waits for the data read so far (see `Producer.is_awaited`).
# Answer: (the source to continue with, its data). The data is None if it is incomplete. It is `NOTHING_YET` if reading
# would wait: the steps may have other work to do before the `PeekOn` that follows. The source itself is the request:
# making another object would cost more than reading little data.
Peek = PeekedSource


class PeekAtOnce(NamedTuple):
    """Like `Peek`, while members wait to be written: they must not wait for this source."""

    source: PeekedSource


class PeekOn(NamedTuple):
    """Like `Peek`, for the `source` of the last answer. It may take long."""

    source: Any
    limit: int


class Read(NamedTuple):
    """Read more of `source`. Answer: (an iterable of chunks, whether more may follow)."""

    source: Any


class Close(NamedTuple):
    """Close `source`."""

    source: Any


class Call(NamedTuple):
    """Call a callback of the user. Answer: its result."""

    function: Callable[[], Any]


class Report(NamedTuple):
    """Call `on_progress` with each Progress."""

    progress: Sequence[Progress]


class Check(NamedTuple):
    """Call ``function(*arguments)``, which may wait for a file system or a database. Answer: its result."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Work(NamedTuple):
    """Announce that the next step is work, such as compression: it does not wait."""


class LetGo(NamedTuple):
    """Close all that is still open, at the end of an incomplete archive. It may wait for running compression."""


ITEMS, CLOSE_ITEMS, WORK, LET_GO = Items(), CloseItems(), Work(), LetGo()
# Work up to this size (in bytes of stored data; 1/64 of it if compressed) is not announced: changing threads costs
# more.
SMALL_EFFORT = 1 << 16

# An item of `entries`, for a `QueuedStream`: all bytes so far are handed over; if there are none, an empty chunk.
PAUSE = object()


class ConsumerGone(BaseException):
    """Thrown into steps whose consumer has gone; after a GeneratorExit they could not yield requests."""
