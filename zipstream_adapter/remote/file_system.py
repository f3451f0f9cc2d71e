"""Remote archives as an fsspec file system (extra ``fsspec``), registered as ``remotezip``.

``fsspec.open("remotezip://table.csv", fo="s3://bucket/tables.zip")`` reads the member by byte ranges, and so do pandas,
pyarrow and Dask. fsspec's own ``zip`` file system reads through caches that do not know members.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from glob import has_magic
from typing import IO, Any, cast
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
        size = self._require_file(path)["size"]
        file: Any = self.archive.open(path)
        file.size = size  # fsspec counts from the end with it
        return cast("IO[bytes]", file)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any) -> Any:
        """Like fsspec's, for many members with coalesced parallel requests (`read_members`).

        Directories that a glob or `recursive` finds are left out; one that is named is an error, as a missing member.
        """
        is_one = isinstance(path, str | os.PathLike)
        names = self._files_of([path] if is_one else list(path), recursive, options)
        if is_one and names == [self._strip_protocol(path)]:
            return self.cat_file(names[0], **options)
        if on_error == "raise" and not options:
            for name in names:
                self._require_file(name)
            return {str(name): data for name, data in read_members(self.archive, names)}
        return dict(self._read_each(names, on_error, options))

    def _files_of(self, paths: list[Any], recursive: bool, options: Mapping[str, Any]) -> list[str]:
        """Return the names to read: those of `paths`, and the files that globs and `recursive` find."""
        found = {name for name in self.expand_path(paths, recursive=recursive, **options) if self.isfile(name)}
        named = {name for path in paths if not has_magic(name := self._strip_protocol(path))}
        return sorted(found | {name for name in named if not (recursive and self.isdir(name))})

    def _require_file(self, path: str) -> dict[str, Any]:
        """Return what is known about a file. Raises FileNotFoundError or IsADirectoryError if it is none."""
        info: dict[str, Any] = self.info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(path)
        return info

    def _read_each(
        self, names: Iterable[str], on_error: str, options: Mapping[str, Any]
    ) -> Iterator[tuple[str, bytes | Exception]]:
        for name in names:
            try:
                yield name, self.cat_file(name, **options)
            except Exception as exc:
                if on_error == "raise":
                    raise
                if on_error == "return":
                    yield name, exc

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()
