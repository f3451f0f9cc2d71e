"""What is added to an exception, or taken from it, on its way to the user."""

from __future__ import annotations

from .entry import Entry
from .errors import ZipStreamError


def note_on(exc: Exception, entry: Entry | None, position: int) -> None:
    """Name the entry on what it has raised, or its position where it could not be made one."""
    if entry is None:
        exc.add_note(f"(item {position} of entries, counted from 0)")
    elif not isinstance(exc, ZipStreamError) or repr(entry.name) not in str(exc):
        exc.add_note(f"(while adding entry {entry.name!r})")


def without_frames(exc: Exception) -> Exception:
    """`exc` and what led to it, without the frames that would keep sources and their data alive."""
    link: BaseException | None = exc
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return exc
