"""Small members of modules that add their members by themselves, and what an archive that keeps rows says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zipfile import ZIP_STORED, ZipInfo

from ..dates import LocalTime
from ..describe import describe, with_extra
from ..small import Look, SmallMembers, StreamArchive


class ListedArchive(StreamArchive):
    """A StreamArchive that can be asked for its members as any `zipfile.ZipFile`: ZipInfos are made then."""

    @property
    def filelist(self) -> list[ZipInfo]:
        return self.rows.infolist()

    @filelist.setter
    def filelist(self, infos: list[ZipInfo]) -> None:
        pass  # zipfile begins with none

    @property
    def NameToInfo(self) -> dict[str, ZipInfo]:
        return {info.filename: info for info in self.rows.infolist()}

    @NameToInfo.setter
    def NameToInfo(self, infos: dict[str, ZipInfo]) -> None:
        pass


class SmallOnes:
    """Adds small members to `archive`, each coded at once, so that it can be seen there; `settle` before others do.

    describe: makes the ZipInfo of (name, what is said about a member, method).
    """

    def __init__(
        self, archive: StreamArchive, lookahead: int, describe: Callable[[str, Any, int], ZipInfo] | None = None
    ) -> None:
        self._small = SmallMembers(archive, describe or described, lookahead)
        self._look: Look | None = None
        self.settle = self._small.settle
        self.limit = self._small.limit

    def add(
        self,
        name: str,
        data: bytes,
        about: Any,
        method: int = ZIP_STORED,
        level: int | None = None,
        zip64: bool = False,
    ) -> None:
        """Add a member of less than `limit` bytes."""
        look = self._look
        if look is None or look[0] != about or look[1] is not zip64:
            look = self._look = Look(about, zip64)
        if method == ZIP_STORED:
            self._small.store(name.encode(), data, look)
            return
        code = self._small.coder(method, level)
        assert code is not None  # or there would be no limit
        self._small.code_now(name.encode(), data, look, code)


def about(dated: dict[str, Any], mode: int) -> Any:
    """What there is to say about a member of a date (of `by_clock` and others) and a mode."""
    date = dated["modified"]
    return date, type(date) is LocalTime, mode, dated.get("extra", b"")


def described(name: str, about: Any, method: int) -> ZipInfo:
    """The ZipInfo of a member that `about` says it about."""
    date, _, mode, extra = about
    info = describe(name, date, mode, method, timestamps=True)
    if extra:
        info.extra = with_extra(info.extra, extra)
    return info
