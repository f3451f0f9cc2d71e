"""QueuedStream: a stream over entries that are added while its bytes are taken. For modules of `compat`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .._writer.options import Options
from .._writer.progress import Skipped
from .._writer.stream_archive import StreamArchive
from ..errors import StreamStateError
from .requests import PAUSE
from .sync import ZipStream


class QueuedStream(ZipStream):
    """A ZipStream that can be iterated over several times: each time it gives the next bytes of the archive.

    An iteration ends once `next_item` returns None and all bytes so far were handed over. `finish` makes the next
    iteration the last.

    Args:
        next_item: a function that returns the next item of the entries, or None if there is none yet. It must not
            refer to the stream, so that a dropped stream is collected at once.
        options: those of `stream_zip`, and the internal ones of `Options`.

    Attributes:
        archive: the archive.
        left_out: the entries left out so far. Not a copy.
    """

    def __init__(self, next_item: Callable[[], Any], **options: Any) -> None:
        self._last_call: list[bool] = []
        self._fill(_items(next_item, self._last_call), Options.given_to("QueuedStream", options))
        self.archive: StreamArchive = self._producer.archive
        self.left_out: list[Skipped] = self._producer.skipped

    @property
    def is_whole(self) -> bool:
        """Whether the whole archive was handed over."""
        return self._producer.is_whole

    def finish(self) -> None:
        """Let the archive end when `next_item` returns None the next time."""
        self._last_call.append(True)

    def abandon(self, reason: str) -> None:
        """Close the open source. Later iterations raise PoisonedError."""
        self._fail(self._failure or StreamStateError(reason))
        self.close()

    def _end(self) -> None:
        if self._producer.is_whole or self._chunks.gi_frame is None:
            super()._end()


def _items(next_item: Callable[[], Any], last_call: list[bool]) -> Iterator[Any]:
    while True:
        item = next_item()
        if item is not None:
            yield item
        elif last_call:
            return
        else:
            yield PAUSE
