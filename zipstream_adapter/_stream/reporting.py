"""The part of a producer that calls `on_progress`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._entries.entry import Entry
from .._entries.inspection import read_total
from .._entries.peek import PeekedSource
from .._writer.archive_writer import ArchiveWriter
from .._writer.member import MemberWriter
from .._writer.options import Options
from .._writer.progress import Progress
from .._writer.sink import StreamSink
from .._writer.stream_archive import StreamArchive
from .requests import Check, Report, Steps


class Reporting:
    """The part of a producer that counts bytes and members, and reports them."""

    archive: StreamArchive
    _sink: StreamSink
    _writer: ArchiveWriter
    entries: Any
    options: Options
    _entry: Entry | None
    _member: MemberWriter | None
    _final: bool
    _read = 0  # bytes of data of the entries before this one
    _entry_size: int | None = None
    _entry_read = 0  # bytes of data of the last finished entry
    _members_total: int | None = None
    _read_total: int | None = None

    def _count_totals(self) -> Steps:
        if self.options.on_progress is not None:
            self._members_total = len(self.entries) if isinstance(self.entries, Sequence) else None
            self._read_total = yield Check(read_total, (self.entries,))

    def _report(self, so_far: int) -> Steps:
        """Call `on_progress`, if there is one.

        so_far: bytes read of the current, unfinished member.
        """
        if self.options.on_progress is not None and self._entry is not None:
            read = so_far if self._member else self._entry_read
            progress = self._progress(read, self._read + so_far, self._sink.tell(), self.archive.directory.count)
            self._final = True  # a failure of the callback is not the entry's
            yield Report((progress,))
            self._final = False

    def _report_of_whole(self, entry: Entry, peeked: PeekedSource, size: int, begun: int) -> Report:
        """Return the reports of a member that was written whole: of each chunk of its data, and of its end.

        begun: archive offset at which the member begins.
        """
        self._final = True
        members, before, so_far = self.archive.directory.count, self._read, 0
        self._entry_size = size if entry.size is None and peeked.is_size_known else entry.size
        reports = []
        for chunk in peeked.sizes or ((size,) if size else ()):
            so_far += chunk
            reports.append(self._progress(so_far, before + so_far, begun, members - 1))
        self._read, self._entry_read = before + size, size
        reports.append(self._progress(size, before + size, self._writer.tell(), members))
        return Report(reports)

    def _progress(self, entry_read: int, read: int, written: int, members: int) -> Progress:
        assert self._entry is not None
        size, members_total, read_total = self._entry_size, self._members_total, self._read_total
        return Progress(self._entry, entry_read, size, read, written, members, members_total, read_total)
