"""Remote archives as an fsspec file system (extra ``fsspec``), registered as ``remotezip``.

``fsspec.open("remotezip://table.csv", fo="s3://bucket/tables.zip")`` reads the member by byte ranges, and so do pandas,
pyarrow and Dask. fsspec's own ``zip`` file system reads through caches that do not know members.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import IO, Any
from zipfile import ZipFile

try:
    from fsspec.archive import AbstractArchiveFileSystem  # type: ignore[import-untyped]
except ImportError as exc:
    raise ImportError(
        "the file system needs fsspec, which is not installed: install the extra 'fsspec' "
        "(pip install 'zipstream-adapter[fsspec]')"
    ) from exc

from ..errors import OptionError
from .reading.many_members import read_members
from .reading.zip_file import open_remote


class RemoteZipFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]
    """The members of a remote archive as files, for reading. Can be pickled: it opens the archive again.

    Args:
        fo: URL of the archive, as for `open_remote`; or, with `store`, the path in it.
        target_protocol: scheme for a `fo` without one. fsspec gives it for ``remotezip://member::s3://bucket/a.zip``.
        target_options: further options, which fsspec collects for the second part of such a URL.
        options: those of `open_remote`: `store`, `window`, `deadline`, ``region`` …

    Raises as `open_remote`.
    """

    root_marker = ""
    protocol = "remotezip"
    cachable = False

    def __init__(
        self,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(fo, str) or not fo:
            raise OptionError(f"fo={fo!r}: give the URL of the archive")
        if target_protocol and "://" not in fo and "store" not in options:
            fo = f"{target_protocol}://{fo}"
        self.fo = fo
        self.dir_cache: dict[str, dict[str, Any]] | None = None
        self.archive: ZipFile = open_remote(fo, **(target_options or {}), **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path)
        return stripped.lstrip("/")

    def _get_dirs(self) -> None:
        if self.dir_cache is not None:
            return
        found: dict[str, dict[str, Any]] = {}
        for info in self.archive.infolist():
            name = info.filename.rstrip("/")
            kind = "directory" if info.is_dir() else "file"
            found[name] = {
                "name": name,
                "type": kind,
                "size": info.file_size,
                "compressed_size": info.compress_size,
                "CRC": info.CRC,
                "date_time": info.date_time,
            }
        for name in list(found):
            while (name := posixpath.dirname(name)) and name not in found:
                found[name] = {"name": name, "type": "directory", "size": 0}
        self.dir_cache = found

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        path = self._strip_protocol(path)
        if mode != "rb":
            raise NotImplementedError(f"mode={mode!r}: a remote archive can only be read: use mode='rb'")
        info = self.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(path)
        return self.archive.open(path)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any) -> Any:
        """Like fsspec's, for many members with coalesced parallel requests (`read_members`)."""
        if isinstance(path, str) or on_error != "raise":
            return super().cat(path, recursive=recursive, on_error=on_error, **options)
        names = [name for name in self.expand_path(path, recursive=recursive) if self.isfile(name)]
        return dict(self._read_all(names))

    def _read_all(self, names: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        return ((str(name), data) for name, data in read_members(self.archive, names))

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()
