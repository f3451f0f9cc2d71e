"""Refuse entries and sources that can be read only once and were used before: data would be missing."""

from __future__ import annotations

from types import AsyncGeneratorType, GeneratorType
from typing import Any

from ..errors import StreamStateError
from .foreign.readers import position_of


class OnePass:
    """A stream that can be read once, and knows whether it was begun."""

    @property
    def begun(self) -> bool:
        """Whether reading was begun."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether the stream was closed."""
        raise NotImplementedError


def refuse_begun(stream: OnePass) -> None:
    """Raise StreamStateError if `stream` was begun or closed."""
    if stream.begun or stream.closed:
        raise StreamStateError("this stream was begun before, so the archive would lack its beginning: make another")


def is_finished(source: Any) -> bool:
    """Whether `source` is a generator that was read to its end, raised, or was closed."""
    kind = type(source)
    if kind is GeneratorType:
        return source.gi_frame is None
    return kind is AsyncGeneratorType and source.ag_frame is None


def refuse_finished(entries: Any) -> None:
    """Raise StreamStateError if `entries` is a generator without any entries left: the archive would be empty."""
    if is_finished(entries):
        raise StreamStateError(
            "entries: this generator was read or closed before, so it has no entries left: make another, or give a list"
        )


def refuse_used(source: Any, name: str) -> None:
    """Raise StreamStateError if the `source` of the entry `name` is known to be read or closed already."""
    if is_finished(source):
        raise StreamStateError(
            f"entry {name!r}: its generator was read or closed before, so no data is left: make another"
        )
    if isinstance(source, OnePass) and (source.begun or source.closed):
        raise StreamStateError(
            f"entry {name!r}: its source is a stream that was begun or closed before, so data is missing: make another"
        )


def refuse_at_end(file: Any, name: str) -> None:
    """Raise StreamStateError if `file` is a seekable file that stands at its end, and has data before.

    Called once its first read gave no data: other files cost nothing.
    """
    refuse_position(position_of(file), name)


def refuse_position(position: Any, name: str) -> None:
    """Raise StreamStateError if `position`, at which a file gives no data, is not its beginning."""
    if isinstance(position, int) and position > 0:
        raise StreamStateError(
            f"entry {name!r}: its file object stands at its end (byte {position}), so no data is left: call seek(0) "
            "first, or declare size=0 if the member is to be empty"
        )
