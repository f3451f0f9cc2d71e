"""The checks that a producer makes on files: cached CRC-32, growth, and whether a file is the archive itself."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from .._entries.crc_cache import Remembered
from .._entries.entry import Entry
from .._entries.files.own_output import Identity, Outgoing, OwnOutput, identity_of
from .._entries.source import FileFacts
from .._writer.member import MemberWriter
from .._writer.options import Options
from .._writer.promises import wrong_size
from ..errors import CRC32MismatchError
from .requests import Call, Check, Steps


class AboutFiles:
    """The part of a producer that checks files."""

    options: Options
    _entry: Entry | None
    _final: bool
    _outgoing: Outgoing
    _own: tuple[Identity, ...] = ()

    def leave_out(self, identities: tuple[Identity, ...]) -> None:
        """Leave these files out: the archive, and the file that it will replace."""
        self._own = identities

    def _look_up(self, entry: Entry, facts: FileFacts | None) -> Generator[Any, Any, Remembered | None]:
        """Return the cached CRC-32 of the entry's file; None if it would not be used."""
        cache = self.options.checksums
        if cache is None or facts is None or facts.path is None or entry.crc32 is not None:
            return None
        if self.options.password_of(entry) is not None:
            return None  # the headers of an encrypted member have no CRC-32
        if facts.size <= self.options.lookahead:
            return None  # its header is complete without it
        remembered: Remembered = yield Check(Remembered, (cache, facts.path, facts))
        return remembered

    def _refute(self, remembered: Remembered | None, failure: BaseException) -> Steps:
        """If the cached CRC-32 was wrong, drop it and raise SourceChangedError."""
        if remembered is not None and isinstance(failure, CRC32MismatchError):
            assert self._entry is not None
            raise (yield Check(remembered.refuted, (self._entry.name,))) from failure

    def _remember(self, remembered: Remembered | None, crc32: int) -> Steps:
        """Cache the CRC-32 of a file that was read whole."""
        if remembered is None or remembered.crc32 == crc32:
            return
        try:
            yield Check(remembered.found, (crc32,))
        except BaseException:
            self._final = True
            raise

    def _may_be_own(self, entry: Entry, facts: FileFacts) -> bool:
        """Return whether to ask `_is_own`: the file of `entry` looks like the archive itself."""
        if self._own and identity_of(facts.stat) in self._own:
            return True
        return type(entry.source) is OwnOutput or self._outgoing.may_be(facts.stat)

    def _is_own(self, entry: Entry, facts: FileFacts | None) -> Generator[Any, Any, bool]:
        """Return whether the entry's file is the archive itself."""
        if facts is None or facts.path is None or entry.is_dir:
            return False
        if isinstance(entry.source, OwnOutput) and not facts.size:
            return True
        if self._own and identity_of(facts.stat) in self._own:
            return True
        if not self._outgoing.may_be(facts.stat):
            return False
        is_own: bool = yield Check(self._outgoing.is_in, (facts.path, facts.stat))
        return is_own

    def _ask_about_growth(self, entry: Entry, member: MemberWriter) -> Steps:
        """Ask `on_error` about a file that grew. A member with bytes in the archive is not left out, but cut."""
        error = wrong_size(entry.name, member.size, None, is_raw=entry.is_raw, pinned=True)
        if not member.left:
            raise error
        assert self.options.on_error is not None
        self._final = True
        if (yield Call(partial(self.options.on_error, entry, error))) is not None:
            raise error
        self._final = False
