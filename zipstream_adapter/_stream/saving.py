"""save and async_save: write an archive to a file that gets its name once it is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks import check_names
from .._compression.secret import hide_in
from .._writer.options import AsyncStreamOptions, StreamOptions, spelled_out
from .sync import ZipStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from typing import Unpack

    from .._entries.coercion import AsyncEntryLike, EntryLike
    from .._entries.types import StrPath


@spelled_out(StreamOptions)
def save(path: StrPath, entries: Iterable[EntryLike], **options: Unpack[StreamOptions]) -> int:
    """Write the archive of `entries` to the file at `path`. Returns its size in bytes.

    The archive is written under a temporary name beside `path`, flushed to the disk, and renamed when it is whole. On
    any failure nothing is left of it, and an older file at `path` is unchanged. The new file has the owner, group and
    mode of the file that it replaces. Until it is whole only its owner can open it. If `path` is in a tree that
    `entries` walk, the archive, and the file that it replaces, are left out.

    Args:
        path: the file. A link is followed. A directory, pipe or device is refused.
        entries, options: as for `stream_zip`.

    Raises:
        IsADirectoryError, NotAFileError, OSError: if the file cannot be written; the error names `path`. All other
            errors are those of `stream_zip`.
    """
    hide_in(options)
    check_names("save", options, StreamOptions.__optional_keys__)
    return ZipStream(entries, **options).save(path)


@spelled_out(AsyncStreamOptions)
async def async_save(
    path: StrPath,
    entries: Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike],
    **options: Unpack[AsyncStreamOptions],
) -> int:
    """Do what `save` does, for an event loop: the file is written on threads.

    A cancellation waits for the running step and removes what was written. If it comes while the file is renamed, the
    archive is whole.

    Args:
        path: as for `save`.
        entries, options: as for `async_stream_zip`.
    """
    hide_in(options)
    check_names("async_save", options, AsyncStreamOptions.__optional_keys__)
    from .asynchronous import AsyncZipStream  # imports asyncio, which `save` does not need

    return await AsyncZipStream(entries, **options).save(path)
