"""Find the object to write: a path in the caller's store, or a URL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..._checks import typed_repr
from ...errors import OptionError
from ..store_options import StoreOptions
from ..stores import RETRIES, WRITING, quoted_url, store_of
from ..waiting import PATIENCE_S, Waiting

_WRITABLE = ("s3", "gs", "az", "file")


def find_destination(
    store: Any, path: str | None, patience: float | None, options: Mapping[str, Any]
) -> tuple[Any, str]:
    """Return the obstore store to write to, and the path in it.

    Args:
        store: an obstore store; or a URL as for `open_remote`, without `path`.
        patience: seconds for which obstore repeats a request; for a URL only.
        options: options of the store, as for `open_remote`; for a URL only.

    Raises OptionError for an invalid URL or option.
    """
    given = {**options, **({} if patience is None else {"patience": patience})}
    if not isinstance(store, str):
        if given:
            raise OptionError(f"{next(iter(given))}=: the store has its own options: give this one there")
        if path is None:
            raise OptionError(f"path={typed_repr(path)}: give the object's path in the store")
        return store, path
    if path is not None:
        raise OptionError(f"path={typed_repr(path)}: the URL {quoted_url(store)} names the object: leave the path out")
    if store.partition("://")[0].lower() not in _WRITABLE:
        raise OptionError(f"{quoted_url(store)}: cannot write to this URL: use s3://, gs://, az:// or file://")
    waiting = Waiting.checked(PATIENCE_S if patience is None else patience, None)
    known: dict[str, Any] = dict(options)
    if not store.startswith("file:"):
        known.setdefault("retry_config", {**RETRIES, "retry_timeout": timedelta(seconds=waiting.patience)})
    return store_of(store, client=WRITING, **known)


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split `options` into those of a stream and those of a store."""
    names = StoreOptions.__optional_keys__
    of_store = {name: value for name, value in options.items() if name in names}
    return {name: value for name, value in options.items() if name not in names}, of_store
