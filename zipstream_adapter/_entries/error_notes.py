"""Add notes to exceptions, and remove frames from them, before they reach the user."""

from __future__ import annotations

from ..errors import ZipStreamError
from .entry import Entry

# Exceptions of closing that are named after a failure: thousands of entries may be prefetched.
_MOST_NOTES = 8


def note_on_threads(exc: Exception) -> None:
    """Add a note to sqlite3's error for a connection used on another thread: why that happened, and what to do."""
    if type(exc).__module__ == "sqlite3" and "thread" in str(exc):
        exc.add_note(
            "(a synchronous iterable is read on several threads, one at a time: connect with "
            "check_same_thread=False, fetch the rows or their ids first, or give an async generator)"
        )


def name_entry(exc: Exception, entry: Entry | None, position: int) -> None:
    """Add a note that names the entry which raised `exc`, or its position if the item did not become an Entry."""
    note_on_threads(exc)
    if entry is None:
        exc.add_note(f"(item {position} of entries, counted from 0)")
    elif not isinstance(exc, ZipStreamError) or repr(entry.name) not in str(exc):
        exc.add_note(f"(while adding entry {entry.name!r})")


def note_closing(failure: BaseException, second: BaseException | None, what: str) -> None:
    """Add a note to `failure` for each exception that closing `what` raised after it; `second` is the last of them."""
    for _ in range(_MOST_NOTES):
        if second is None or second is failure:
            return
        if isinstance(second, Exception):  # not the GeneratorExit that closes a generator
            failure.add_note(f"(and closing {what} raised {second!r})")
        second = None if second.__suppress_context__ else second.__context__


def without_frames(exc: Exception) -> Exception:
    """Clear the tracebacks of `exc` and its causes: their frames would keep sources and their data alive."""
    link: BaseException | None = exc
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return exc
