"""The short way into the archive of a stream, for small members: in memory, in files, or soon read from an iterable.

Each is read at once and goes through `SmallMembers`. No byte differs from what the way of all others makes, to which
everything is left that is not plainly such a member, with what has been read of it: what is unsafe, taken, or wrong in
any way fails there, with its name.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from inspect import isasyncgenfunction
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipInfo

from .coercion import Draft, coerce
from .dates import EARLIEST, LocalTime, default_date
from .describe import with_extra
from .entry import Entry, RawEntry
from .errors import OptionError
from .parallel import BLOCK
from .small import Code, Look, SmallMembers
from .source import FileFacts, read_small
from .taken import FUNCTIONS, Taken, take

if TYPE_CHECKING:
    from .names import NameRegistry
    from .small import StreamArchive

Describe = Callable[[str, datetime, int, int], ZipInfo]  # name, date, mode, method
# What is known of a member before it is read: its name, its source, its date, its mode, its extra, its zip64, its size
# and its CRC-32 as they were declared, what codes it (None: nothing), the size that is too large, and its draft.
_Plan = tuple[str, Any, "datetime | None", "int | None", bytes, bool, Any, Any, "Code | None", int, "Draft | None"]
_ITERABLES = (GeneratorType, list, tuple)
NOT_READ = object()


class QuickMembers:
    """Adds what it can to `archive` by itself; `settle` before anybody else does.

    Args:
        describe: makes the ZipInfo of (name, date, mode, method).
        level, lookahead: of the archive, as `stream_zip` takes them.
        is_awaited: whether somebody waits for what there is, with so many bytes read of a member.
        calls: whether functions are called here.
    """

    def __init__(
        self,
        archive: StreamArchive,
        names: NameRegistry,
        describe: Describe,
        *,
        level: int | None,
        lookahead: int,
        is_awaited: Callable[[int], bool],
        calls: bool = True,
    ) -> None:
        self._small = SmallMembers(archive, self._info, lookahead)
        self._names = names
        self._describe = describe
        self._method, self._level = archive.compression, level
        self._is_awaited = is_awaited
        self._calls = calls
        self._ways: dict[tuple[int, int | None], tuple[Code | None, int]] = {}
        self._way = self._way_of(self._method, level)
        self._look: Look | None = None  # the last one
        self._plain: Any = None  # the last one of nothing but a date
        self._second, self._now = -1, EARLIEST
        self._taken: Taken | None = None

    def add(self, item: Any, found: Any = NOT_READ, plan: _Plan | None = None) -> bool | None:
        """Add the member that `item` stands for, where it can be done here; None where to `settle` comes first.

        found: what its file, or its asynchronous source, was read to, for which there is a plan. Of what is not done
        here, see `taken`.
        """
        if type(item) is tuple and len(item) == 2 and type(item[1]) is bytes:
            return self._add_pair(item[0], item[1])
        if plan is not None:
            if self._put(plan, found, None, at_once=True, gather=True):
                return True
            self._taken = Taken.whole(item, found)
            return False
        if type(item) is Entry and type(item.source) is bytes and _is_plain(item):
            return self._add_pair(item.name, item.source)
        plan = self._plan(item)
        if plan is None:
            return False
        source = plan[1]
        if type(source) is bytes:
            return self._put(plan, source, None, at_once=False)
        if isinstance(source, os.PathLike):
            file = read_small(source, plan[9]) if found is NOT_READ else found
            return file is not None and self._put(plan, *file, at_once=False)
        if not self._small.is_settled:
            return None  # while this one makes us wait, nobody shall wait for what is there
        taken = take(item, source, plan[9], plan[6], self._is_awaited)
        data = taken if isinstance(taken, bytes) else taken.data if taken.is_whole else None
        if data is not None and self._put(plan, data, None, at_once=True):
            return True
        self._taken = taken if isinstance(taken, Taken) else Taken.whole(item, taken)
        return False

    def _add_pair(self, name: Any, data: bytes) -> bool:
        """`add` a member of which nothing is said but its name and data."""
        code, limit = self._way
        if len(data) >= limit or type(name) is not str:
            return False
        date = self._default_date()
        if date is None or not self._names.take_plain(name):
            return False
        look = self._plain
        if look is None or look[0][0] is not date:
            look = self._plain = Look((date, False, 0o644, b""))
        if code is None:
            self._small.store(name.encode(), data, look)
        else:
            self._small.code(name.encode(), data, look, code)
        return True

    def taken(self) -> Taken | None:
        """What the last item is read to, where it was begun and could not be added here."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.item = coerce(taken.item)
        return taken

    def path_in(self, item: Any) -> tuple[os.PathLike[Any], int] | None:
        """The path of the file that would be read to `add` the item, if any, and how many bytes are too many."""
        plan = self._plan(item)
        return (plan[1], plan[9]) if plan is not None and isinstance(plan[1], os.PathLike) else None

    def async_plan(self, item: Any) -> tuple[_Plan, int] | None:
        """What to `add` the item by, where its source is an asynchronous iterator, or makes one; and how many bytes of
        it are too many.
        """
        plan = self._plan(item, asynchronous=True)
        return plan and (plan, plan[9] if plan[6] is None else min(plan[9], plan[6] + 1))

    def blocks_in(self, item: Any) -> bool:
        """Whether to `add` the item asks what may block: an iterable."""
        plan = self._plan(item)
        return plan is not None and type(plan[1]) is not bytes and not isinstance(plan[1], os.PathLike)

    def effort(self, item: Any = None, found: Any = NOT_READ, plan: _Plan | None = None) -> int:
        """What it takes to `add` the item; without one: to `settle`. In bytes of stored data."""
        if item is None:
            return 0 if self._small.is_settled else BLOCK
        if plan is None:
            plan = self._plan(item)
            found = found[0] if type(found) is tuple else plan and plan[1]
        if plan is None:
            return 0
        size = len(found) if type(found) is bytes else 0
        return BLOCK if self._small.codes_before(size, plan[8]) else size

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be coded."""
        return self._small.is_settled

    def tell(self) -> int:
        """Where in the archive the next member will begin."""
        return self._small.tell()

    def settle(self) -> None:
        """Write all that has been added."""
        self._small.settle()

    def close(self) -> None:
        """Give up what has not been written."""
        self._small.close()

    def _plan(self, item: Any, asynchronous: bool = False) -> _Plan | None:
        if type(item) is tuple and len(item) == 2:
            name, source = item
            code, limit = self._way
            plan: _Plan = name, source, None, None, b"", False, None, None, code, limit, None
        elif type(item) is Entry or (isinstance(item, Entry | Draft) and not isinstance(item, RawEntry)):
            found = self._plan_of(item)
            if found is None:
                return None
            plan = found
            name, source, limit = plan[0], plan[1], plan[9]
        else:
            return None
        if not limit or type(name) is not str or (plan[6] is not None and plan[6] >= limit):
            return None
        if asynchronous:
            return plan if _is_async_iterator(source) and self._names.is_plainly_free(name) else None
        if type(source) is bytes or isinstance(source, os.PathLike):
            return plan
        return plan if self._is_iterable(source) and self._names.is_plainly_free(name) else None

    def _plan_of(self, item: Entry | Draft) -> _Plan | None:
        name, source, modified, mode, extra = item.name, item.source, item.modified, item.mode, item.extra
        compression, level, zip64 = item.compression, item.level, item.zip64
        code, limit = self._way
        if compression is not None or level is not None:
            code, limit = self._way_of(
                self._method if compression is None else compression, self._level if level is None else level
            )
        if zip64 is False and self._small.is_near_limit:
            return None
        if isinstance(item, Draft):
            return name, source, modified, mode, extra, bool(zip64), None, None, code, limit, item
        if item.comment or item.password:
            return None
        return name, source, modified, mode, extra, bool(zip64), item.size, item.crc32, code, limit, None

    def _is_iterable(self, source: Any) -> bool:
        """Whether `source` is nothing but a thing to iterate over, or a function, which may give one."""
        kind = type(source)
        if kind in _ITERABLES:
            return True
        if kind in FUNCTIONS:
            return self._calls
        return isinstance(source, Iterator) and not hasattr(source, "read")

    def _put(self, plan: _Plan, data: bytes, facts: FileFacts | None, *, at_once: bool, gather: bool = False) -> bool:
        name, _, date, mode, extra, zip64, size, crc32, code, limit, draft = plan
        length = len(data)
        if length >= limit or (size is not None and size != length):
            return False
        if crc32 is not None and self._small.checksum(data) != crc32:
            return False
        if facts is not None:
            if draft is not None and draft.dated is not None:
                date, extra = draft.dated(facts.modified)
            date, mode = date or facts.modified, facts.mode if mode is None else mode
        date = date or self._default_date()
        if date is None:
            return False
        if date.microsecond:  # which no record says
            date = date.replace(microsecond=0)
        if not self._names.take_plain(name):
            return False
        about = date, type(date) is LocalTime, 0o644 if mode is None else mode, extra
        declared = (crc32 is not None and (not at_once or size is not None)) or (
            draft is not None and draft.is_declared
        )
        look = self._look
        if look is None or look[0] != about or look[1] is not zip64 or look[2] is not declared:
            look = self._look = Look(about, zip64, declared)
        if code is None:
            self._small.store(name.encode(), data, look)
        elif at_once and not gather:
            self._small.code_now(name.encode(), data, look, code)
        else:
            self._small.code(name.encode(), data, look, code)
        return True

    def _way_of(self, method: int, level: int | None) -> tuple[Code | None, int]:
        """What codes such members, None for stored ones; and what is too large of them (0: anything)."""
        way = self._ways.get((method, level))
        if way is None:
            limit = self._small.limit(method, level)
            code = self._small.coder(method, level) if limit and method != ZIP_STORED else None
            way = self._ways[method, level] = code, limit
        return way

    def _info(self, name: str, about: Any, method: int) -> ZipInfo:
        date, _, mode, extra = about  # and whether the date is local: such a one equals one that is not
        info = self._describe(name, date, mode, method)
        if extra:
            info.extra = with_extra(info.extra, extra)
        return info

    def _default_date(self) -> datetime | None:
        second = int(time.time())
        if second != self._second:
            try:
                self._now = default_date().replace(microsecond=0)
            except OptionError:
                return None
            self._second = second
        return self._now


def _is_plain(entry: Entry) -> bool:
    """Whether nothing is said of `entry` but its name and where its data is."""
    return (
        entry.modified is None
        and entry.mode is entry.size is entry.crc32 is entry.compression is entry.level is entry.zip64 is None
        and not entry.password
        and not entry.comment
        and not entry.extra
    )


def _is_async_iterator(source: Any) -> bool:
    """Whether `source` is nothing but an asynchronous iterator, or makes one."""
    if type(source) in FUNCTIONS:
        return isasyncgenfunction(source)
    return type(source) is AsyncGeneratorType or (
        isinstance(source, AsyncIterator) and not any(hasattr(source, name) for name in ("read", "__await__"))
    )
