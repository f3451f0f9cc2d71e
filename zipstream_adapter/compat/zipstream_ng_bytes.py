"""The bytes of `compat.zipstream_ng`: one generator at a time, and none after one that failed."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING
from zipfile import ZipInfo

from ..entry import Entry
from ..errors import PoisonedError, SizeMismatchError, StreamStateError
from ..member import PATIENCE
from ..options import Options
from ..plan import PlannedArchive
from ..small import StreamArchive
from ..source import OpenSource, read_small
from ..taken import Taken, take
from .small_members import SmallOnes
from .zipstream_ng_members import Queued, info_of, log

if TYPE_CHECKING:
    from ..member import MemberWriter

Steps = Generator[bytes, None, None]


class SizedStreamError(SizeMismatchError, RuntimeError):
    """The data in a sized ZipStream is not what its length was worked out from."""


def _begun(archive: StreamArchive, queued: Queued, info: ZipInfo, size: int | None) -> MemberWriter:
    """The member, of which the header has left: there, all but directories have a data descriptor, empty ones, too."""
    member = archive.begin(info, level=queued.level, size=size, zip64=queued.needs_zip64(info) or None)
    if not queued.is_dir:
        member.release()
    return member


def planned_size(members: Iterable[Queued], comment: bytes) -> int:
    """Bytes of an archive of `members`, whose sizes are known, and which are stored."""
    archive = Options(lookahead=0, comment=comment).checked().archive(PlannedArchive)
    for queued in members:
        size = queued.size or 0
        member = _begun(archive, queued, queued.info(None), size)
        member.skip(size, size)
        member.complete()
    for _ in archive.finish():
        pass
    return archive.sink.tell()


class Maker:
    """An archive that is made in several goes. sized: whether members must have the size that they were added with."""

    def __init__(self, sized: bool) -> None:
        # Duplicate and unusual names are stored as they are.
        self._archive = StreamArchive(lookahead=0)
        self._small = SmallOnes(self._archive, 0, _described)
        self._sink = self._archive.sink
        self._sized = sized
        self._begun = False  # whether a chunk was handed over
        self._making = threading.Lock()
        self._maker = 0  # the thread that holds it
        self._asked = 0.0  # when the consumer asked for the next chunk

    def alone(self, steps: Generator[bytes, None, bool]) -> Generator[bytes, None, bool]:
        """`steps`, while no other generator makes bytes. Where they are not taken to their end, the archive is over."""
        if not self._making.acquire(blocking=False):
            if self._maker == threading.get_ident():
                raise StreamStateError(
                    "another generator of this ZipStream is amid a member: take all that it gives before the next"
                )
            self._making.acquire()
        self._maker, self._asked = threading.get_ident(), time.monotonic()
        try:
            if self._sink.poisoned:
                raise PoisonedError("this ZipStream failed before, or was left before its end: its archive is cut")
            return (yield from steps)
        except BaseException:
            self._archive.fail("a generator of its bytes failed, or was left before its end")
            raise
        finally:
            self._making.release()

    def infos(self) -> list[ZipInfo]:
        """A ZipInfo of each member that is in the archive."""
        return self._archive.rows.infolist()

    def member(self, queued: Queued) -> Steps:
        """The bytes of a member, as far as there is a chunk of them."""
        try:
            source = self._opened(queued)
            if source is not None:
                self._small.settle()
                yield from self._member(queued, source)
        except Exception as exc:
            exc.add_note(f"(while adding entry {queued.name!r})")
            raise

    def _opened(self, queued: Queued) -> OpenSource | None:
        """The member's source; None where it is small, and there by now."""
        name, source, size, method, level = queued
        limit = self._small.limit(method, level)
        if not self._begun or not limit or queued.is_dir:
            return OpenSource(Entry(name, source))
        facts = None
        if type(source) is bytes:
            data = source
        elif isinstance(source, os.PathLike):
            found = read_small(source, limit)
            if found is None:
                return OpenSource(Entry(name, source))
            data, facts = found
        else:
            taken = take(None, source, limit, None, self._is_awaited)
            if not isinstance(taken, bytes):
                taken.item = Entry(name, source)
                return taken.open()
            if not taken or size not in (None, len(taken)):
                return Taken.whole(Entry(name, source), taken).open()
            data = taken
        if not data or len(data) >= limit or size not in (None, len(data)):
            return OpenSource(Entry(name, source))
        modified, mode = (math.floor(facts.stat.st_mtime), facts.mode) if facts else (int(time.time()), 0o600)
        self._small.add(name, data, (modified, mode), method, level, size is None)
        return None

    def _is_awaited(self, size: int) -> bool:
        return time.monotonic() - self._asked >= PATIENCE

    def _member(self, queued: Queued, opened: OpenSource) -> Steps:
        with closing(opened) as source:
            info = queued.info(source.facts)
            member = _begun(self._archive, queued, info, size=queued.size if self._sized else None)
            for chunk in source:
                for piece in member.pieces(chunk):
                    self._check_size(queued, member.size + len(piece), ended=False)
                    member.add(piece)
                    yield from self.ready()
        self._check_size(queued, member.size, ended=True)
        member.complete()

    def _check_size(self, queued: Queued, size: int, *, ended: bool) -> None:
        """Note data that is not as large as it was to be; in a sized stream, where it would not fit, refuse it."""
        expected = queued.size
        if expected is None or size == expected or not (ended or (self._sized and size > expected)):
            return
        log.warning("Size mismatch when adding data for '%s' (expected %d bytes, got %d)", queued.name, expected, size)
        if self._sized:
            raise SizedStreamError(
                f"Error adding '{queued.name}' to sized ZipStream - its data has {size} bytes or more, and its length "
                f"was worked out from {expected}"
            )

    def end(self, comment: bytes) -> Steps:
        """The bytes of the central directory."""
        self._small.settle()
        self._archive.comment = comment
        for _ in self._archive.finish():
            yield from self.ready()
        yield from self.ready(everything=True)

    def ready(self, everything: bool = False) -> Steps:
        """The chunks that there are; smaller ones, too, where the consumer has waited long."""
        everything = everything or time.monotonic() - self._asked >= PATIENCE
        if everything:
            self._small.settle()
        for chunk in self._sink.take(everything):
            self._begun = True
            yield chunk
            self._asked = time.monotonic()


def _described(name: str, about: tuple[float, int], method: int) -> ZipInfo:
    modified, mode = about
    return info_of(name, modified, mode, method)
