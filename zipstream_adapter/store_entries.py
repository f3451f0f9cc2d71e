"""walk_store: the objects of a store as entries (extra ``s3``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from .entry import Entry
from .errors import OptionError, RemoteNotFoundError
from .remote_store import check_store, import_obstore, translated
from .store_source import described, find
from .tree import pattern_excluder

# Objects whose checksums are asked for at a time.
_AHEAD = 16
# What a directory takes of an Entry's options.
_OPTIONS_FOR_ALL = ("modified", "comment", "extra", "zip64")
_SORTED = ("S3Store", "GCSStore", "AzureStore")

Exclude = Callable[[PurePosixPath, str], bool]


def walk_store(
    store: Any,
    prefix: str = "",
    *,
    into: str = "",
    exclude: Iterable[str] | Exclude = (),
    checksums: bool = True,
    **options: Any,
) -> Iterator[Entry]:
    """The objects of an obstore store under `prefix` as entries, in the order of their keys, listed as it is asked for.

    Each is an `Entry.from_store`: with its size and date, which the listing tells, pinned by its ETag, and not opened
    before its turn; ``stream_zip(…, prefetch=8)`` opens those to come while one is written.

    Args:
        prefix: a directory in the store: ``"photos"`` takes ``photos/a.jpg``, and not ``photos2/a.jpg``. Names are
            relative to it.
        into: put before every name, as a directory.
        exclude: as of `walk`: patterns, or a function of (path in the store, relative name).
        checksums: whether S3 is asked for each object's CRC-32, a request for each, 16 at a time. With it, a member's
            header is complete, and a `ZipLayout` need not read an object to find it.
        options: an Entry's, for every object; directories take the date, comment and extra of them.

    An object of 0 bytes whose key ends in a slash, by which some tools keep a directory, becomes that directory.

    Raises, while iterating: OptionError for a key that obstore cannot name; RemoteError. Names that are unsafe to
    extract are judged by the archive, as everywhere.
    """
    if not isinstance(prefix, str) or not isinstance(into, str):
        raise OptionError(f"prefix={prefix!r}, into={into!r}: give directories, as str")
    obstore = import_obstore()
    check_store(store, "list")
    head = prefix.strip("/") + "/" if prefix.strip("/") else ""
    put = into.rstrip("/") + "/" if into else ""
    excluded: Any = exclude if callable(exclude) else pattern_excluder(exclude)

    def entry(meta: dict[str, Any]) -> Entry:
        name = put + meta["path"].removeprefix(head)
        if meta["size"] == 0 and not _is_there(store, meta["path"]):
            kept = {key: value for key, value in options.items() if key in _OPTIONS_FOR_ALL}
            return Entry.directory(name, **{"modified": meta["last_modified"], **kept})
        source, known = described(store, meta, {"checksum": checksums, **options})
        return Entry(name, source, **known)

    metas = _listed(obstore, store, head)
    if excluded is not None:
        metas = (meta for meta in metas if not excluded(PurePosixPath(meta["path"]), meta["path"].removeprefix(head)))
    return _ahead(metas, entry) if checksums and type(store).__name__ == "S3Store" else map(entry, metas)


def _is_there(store: Any, path: str) -> bool:
    """Whether there is an object of that very name: a listing shows ``a/`` as ``a``."""
    try:
        find(store, path, {"checksum": False})
    except RemoteNotFoundError:
        return False
    return True


def _listed(obstore: Any, store: Any, head: str) -> Iterator[dict[str, Any]]:
    where = f"the objects under {head!r} in {type(store).__name__}"
    try:
        chunks = obstore.list(store, head or None)
        if type(store).__name__ not in _SORTED:
            chunks = [sorted(chunks.collect(), key=lambda meta: str(meta["path"]))]
        for chunk in chunks:
            yield from chunk
    except Exception as exc:
        if type(exc).__name__ == "InvalidPathError":
            said = str(exc).splitlines()[0]
            raise OptionError(f"{where}: a key that obstore cannot name: {said}. Walk another prefix") from None
        raise translated(exc, where) from None


def _ahead(metas: Iterator[dict[str, Any]], entry: Callable[[dict[str, Any]], Entry]) -> Iterator[Entry]:
    """The entries of `metas`, some of which are asked about at a time."""
    coming: deque[Future[Entry]] = deque()
    executor = ThreadPoolExecutor(_AHEAD, thread_name_prefix="zipstream-adapter-walk")
    try:
        for meta in metas:
            coming.append(executor.submit(entry, meta))
            if len(coming) >= _AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
