"""Objects of a store as entries (extra ``s3``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .._checks import check_names
from .._compression.secret import hide_in
from .._concurrency.ordered import InOrder, Workers
from .._concurrency.threads import Lease, ThreadPool
from .._entries.entry import Entry
from .._entries.types import EntryOptions
from .._entries.walk import pattern_excluder
from ..errors import OptionError, RemoteNotFoundError
from .background import call_in_time, check_fork
from .object_source import date_of_object, find, source_and_options
from .stores import check_store, import_obstore, map_error
from .waiting import Waiting, call_within

if TYPE_CHECKING:
    from typing import Unpack

# Requests for checksums at a time.
_MAX_REQUESTS = 16
_pool = ThreadPool("zipstream-adapter-walk", lambda: _MAX_REQUESTS)
# Options of Entry that a directory accepts.
_DIRECTORY_OPTIONS = ("modified", "comment", "extra", "zip64")
# Stores that list keys in order; others are sorted here.
_SORTED_STORES = ("S3Store", "GCSStore", "AzureStore")

Exclude = Callable[[PurePosixPath, str], bool]


def walk_store(
    store: Any,
    prefix: str = "",
    *,
    into: str = "",
    exclude: Iterable[str] | Exclude = (),
    checksums: bool = True,
    deadline: float | None = None,
    **options: Unpack[EntryOptions],
) -> Iterator[Entry]:
    """Yield the objects of an obstore store under `prefix` as entries, in order of their keys.

    The listing is fetched lazily. Each entry is made as by `Entry.from_store`: size and date come from the listing,
    the ETag fixes the version, and the object is opened when its turn comes. ``stream_zip(…, prefetch=8)`` opens
    upcoming objects while one is written.

    Args:
        store: an obstore store.
        prefix: a directory in the store: ``"photos"`` includes ``photos/a.jpg``, but not ``photos2/a.jpg``. Names are
            relative to it.
        into: directory to put before every name.
        exclude: as for `walk`: patterns, or a function of (path in the store, relative name).
        checksums: whether to ask S3 for each object's CRC-32: one request per object, up to 16 at a time. With the
            CRC-32, a member's header is complete, and a `ZipLayout` need not read the object to compute it.
        deadline: seconds that each step may take, the store's own retries included: up to 1,000 keys of the listing,
            the request for a checksum, and later each read of a piece of an object's data. Default: None, for no limit.
        options: options of Entry for every object; directories take only date, comment, extra field and zip64.

    An object of 0 bytes whose key ends in a slash, which some tools use to represent a directory, becomes that
    directory. If it represents `prefix` itself, it is skipped.

    Raises OptionError at once; while iterating: OptionError for a key that obstore does not accept; RemoteError;
    RemoteTimeoutError after `deadline`. An interrupt ends a listing that waits. Names that are unsafe to
    extract are checked by the archive, as for other entries.
    """
    hide_in(options)
    if isinstance(store, str):
        check_store(store, "list")  # before the options that a URL would have
    check_names("walk_store", options, EntryOptions.__optional_keys__)
    if not isinstance(prefix, str) or not isinstance(into, str):
        raise OptionError(f"prefix={prefix!r}, into={into!r}: give directories as str")
    deadline = Waiting.checked(0, deadline).deadline
    obstore = import_obstore()
    check_store(store, "list")
    key_prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    name_prefix = into.rstrip("/") + "/" if into else ""
    excluded: Any = exclude if callable(exclude) else pattern_excluder(exclude)

    def is_directory(meta: dict[str, Any]) -> bool:
        """Whether the object represents a directory: a listing shows ``photos/`` as ``photos``."""
        return meta["size"] == 0 and not _exists(store, meta["path"], deadline)

    def is_marker(meta: dict[str, Any]) -> bool:
        """Whether the object represents the prefix."""
        return meta["path"] == key_prefix.removesuffix("/") and is_directory(meta)

    def entry(meta: dict[str, Any]) -> Entry:
        name = name_prefix + meta["path"].removeprefix(key_prefix)
        if is_directory(meta):
            directory: dict[str, Any] = {"modified": date_of_object(store, meta["last_modified"])}
            directory |= {key: value for key, value in options.items() if key in _DIRECTORY_OPTIONS}
            return Entry.directory(name, **directory)
        source, known = source_and_options(store, meta, {"checksum": checksums, "deadline": deadline, **options})
        return Entry(name, source, **known)

    metas = (meta for meta in _list_objects(obstore, store, key_prefix, deadline) if not is_marker(meta))
    if excluded is not None:
        metas = (
            meta for meta in metas if not excluded(PurePosixPath(meta["path"]), meta["path"].removeprefix(key_prefix))
        )
    return _checked_entries(metas, entry) if checksums and type(store).__name__ == "S3Store" else map(entry, metas)


def _exists(store: Any, path: str, deadline: float | None) -> bool:
    """Whether an object with exactly this key exists: a listing shows ``a/`` as ``a``."""
    try:
        find(store, path, {"checksum": False, "deadline": deadline})
    except RemoteNotFoundError:
        return False
    return True


def _list_objects(obstore: Any, store: Any, key_prefix: str, deadline: float | None) -> Iterator[dict[str, Any]]:
    where = f"the objects under {key_prefix!r} in {type(store).__name__}"

    def waited_for(make: Callable[[], Any]) -> Any:
        with call_within(deadline):
            return call_in_time(make, where)

    check_fork()
    try:
        chunks = obstore.list(store, key_prefix or None)
        if type(store).__name__ not in _SORTED_STORES:
            yield from sorted(waited_for(chunks.collect_async), key=lambda meta: str(meta["path"]))
            return
        while chunk := waited_for(lambda: anext(chunks, None)):
            yield from chunk
    except Exception as exc:
        if type(exc).__name__ == "InvalidPathError":
            reason = str(exc).splitlines()[0]
            raise OptionError(f"{where}: obstore does not accept a key: {reason}. Walk another prefix") from None
        raise map_error(exc, where) from None


def _checked_entries(metas: Iterator[dict[str, Any]], entry: Callable[[dict[str, Any]], Entry]) -> Iterator[Entry]:
    """Yield the entries of `metas` in order, requesting the checksums of several at a time."""
    threads = Lease(_pool)
    ordered: InOrder[Entry] = InOrder(Workers(_MAX_REQUESTS - 1, threads.executor))  # one more waits
    try:
        for meta in metas:
            yield from ordered.start(partial(entry, meta))
        yield from ordered.finish()
    finally:
        ordered.close()
        threads.close()
