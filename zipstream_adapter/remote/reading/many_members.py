"""Read many members of a remote archive with few, parallel requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZipFile, ZipInfo

from ..._checks import check_count, typed_repr
from ..._compression.decoders import Decoder
from ..._concurrency.cancellation import check_loop, dropped
from ..._concurrency.offload import StepThreads, on_thread
from ...errors import OptionError
from ..objects import Chunks
from ..waiting import call_within, raise_late, time_left
from .parts import range_threads
from .read_ahead import Extent
from .stored_member import header_cut, header_size, too_long
from .zip_file import members_of, readable_member

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_CONCURRENCY = 32
_MAX_BYTES = 64 << 20
# Bytes between members that are fetched to save a request, as a share of the bytes of the members.
_MAX_WASTE = 0.1
# Most bytes of one request for several members.
_MAX_GROUP_BYTES = 1 << 20


class _Wanted(NamedTuple):
    """A member to read.

    Attributes:
        position: its position among the members asked for.
        name: as asked for.
        extent: its place in the archive.
    """

    position: int
    name: str | ZipInfo
    info: ZipInfo
    extent: Extent

    @property
    def cost(self) -> int:
        """Bytes that it takes in memory while it is read."""
        return (self.extent.stop - self.extent.start) + self.info.file_size


class _Group(NamedTuple):
    """Members that one request fetches."""

    start: int
    stop: int
    members: list[_Wanted]

    @property
    def cost(self) -> int:
        return self.stop - self.start + sum(each.info.file_size for each in self.members)


Found = tuple[int, str | ZipInfo, bytes]


def read_members(
    archive: ZipFile,
    names: Iterable[str | ZipInfo],
    *,
    in_order: bool = True,
    max_concurrency: int = _MAX_CONCURRENCY,
    max_bytes: int = _MAX_BYTES,
) -> Generator[tuple[str | ZipInfo, bytes], None, None]:
    """Yield the members `names` of an archive, each as (name as it was given, data).

    One request fetches members that lie next to each other, or so near that the bytes between them are at most a tenth
    of the bytes asked for. Requests run in parallel, and threads decompress. CRC-32 and size are checked.

    Args:
        archive: the return value of `open_remote` or `open_remote_async`, which stays open.
        names: names of members, or ZipInfos; repetitions are read again.
        in_order: whether members come in the order of `names` (default), or as soon as each is complete.
        max_concurrency: requests at a time, up to 32, which all archives of the process share.
        max_bytes: bytes in memory, compressed and decompressed data together, for members that are being fetched or
            wait for their turn (default: 64 MiB). A member that takes more by itself is read alone.

    The ``deadline`` of the archive applies to each step of the generator. Closing it ends running requests.

    Raises, before any request: EntryError for a member that does not exist; EncryptedMemberError,
    UnsupportedMethodError for one that cannot be read; OptionError. Then: as reading a member does.
    """
    plan = _Plan(archive, names, in_order, max_concurrency, max_bytes)
    return _read_on_threads(plan)


class _Plan:
    """The members to fetch, their order, and the limits of concurrency and memory."""

    def __init__(
        self, archive: ZipFile, names: Iterable[str | ZipInfo], in_order: bool, max_concurrency: int, max_bytes: int
    ) -> None:
        self.remote = members_of(archive)
        if isinstance(names, str | ZipInfo):
            raise OptionError(f"names={typed_repr(names)}: give a list of names")
        self.where = self.remote.source.where
        self.in_order = in_order
        self.concurrency = min(check_count("max_concurrency", max_concurrency, 1), _MAX_CONCURRENCY)
        self._max_bytes = check_count("max_bytes", max_bytes, 1, "a number of bytes")
        wanted = [self._wanted(archive, number, name) for number, name in enumerate(names)]
        self.count = len(wanted)
        self._groups = deque(self._grouped(wanted))
        self._held = 0  # bytes of the members that are fetched or wait for their turn
        self._costs: dict[int, int] = {}  # by position

    def _wanted(self, archive: ZipFile, position: int, name: str | ZipInfo) -> _Wanted:
        info = readable_member(archive, name, self.where)
        return _Wanted(position, name, info, self.remote.extents.of(info))

    def _grouped(self, wanted: list[_Wanted]) -> list[_Group]:
        """Return the groups. If in order, only members that are wanted soon after each other share a request."""
        if not self.in_order:
            return sorted(_coalesced(wanted), key=lambda group: group.start)
        groups: list[_Group] = []
        batch: list[_Wanted] = []
        cost = 0
        for each in wanted:
            if batch and cost + each.cost > self._max_bytes // 2:
                groups += _by_position(_coalesced(batch))
                batch, cost = [], 0
            batch.append(each)
            cost += each.cost
        return groups + _by_position(_coalesced(batch))

    def next_group(self, running: int, due: int | None) -> _Group | None:
        """Return the next group to fetch; None if none may be fetched now.

        `due` is the position that the consumer waits for, if nothing that is under way has it.
        """
        if not self._groups or running >= self.concurrency:
            return None
        group = self._groups[0]
        is_due = due is not None and group.members[0].position <= due
        if self._held and self._held + group.cost > self._max_bytes and not (is_due and not running):
            return None
        self._groups.popleft()
        share = (group.stop - group.start) // len(group.members)
        for each in group.members:
            self._costs[each.position] = share + each.info.file_size
            self._held += self._costs[each.position]
        return group

    def note_given(self, position: int) -> None:
        """Record that the consumer has taken a member."""
        self._held -= self._costs.pop(position)

    def decoded(self, group: _Group, data: bytes) -> list[Found | tuple[_Wanted, int]]:
        """Return the members of the fetched group; or (member, missing bytes) if one is longer than estimated."""
        view = memoryview(data)
        return [self._decode(each, view[each.extent.start - group.start :]) for each in group.members]

    def label(self, info: ZipInfo) -> str:
        return f"{self.where}: member {info.filename!r}"

    def _decode(self, wanted: _Wanted, view: memoryview) -> Found | tuple[_Wanted, int]:
        info, label = wanted.info, self.label(wanted.info)
        span = wanted.extent.limit - wanted.extent.start
        head = bytes(view[: min(len(view), 30 + 2 * 0xFFFF)])
        skipped = header_size(head, info, label)
        if skipped is None:
            if len(view) >= span:
                raise header_cut(label)
            return wanted, min(span, len(view) + (1 << 17)) - len(view)
        end = skipped + info.compress_size
        if end > span:
            raise too_long(label)
        if end > len(view):
            return wanted, end - len(view)
        decoder = Decoder(info, label)
        parts: list[bytes] = []
        decoder.feed(bytes(view[skipped:end]))
        while part := decoder.take():
            parts.append(part)
        decoder.check()
        return wanted.position, wanted.name, parts[0] if len(parts) == 1 else b"".join(parts)


def _by_position(groups: list[_Group]) -> list[_Group]:
    """Sort the members of each group by position, and the groups by their first member."""
    sorted_groups = [group._replace(members=sorted(group.members)) for group in groups]
    return sorted(sorted_groups, key=lambda group: group.members[0].position)


def _coalesced(wanted: Sequence[_Wanted]) -> list[_Group]:
    """Return groups of members that lie near each other: the smallest gaps are fetched, up to the allowed waste."""
    by_place = sorted(wanted, key=lambda each: (each.extent.start, each.position))
    gaps = [max(0, later.extent.start - sooner.extent.stop) for sooner, later in pairwise(by_place)]
    left = _MAX_WASTE * sum(each.extent.stop - each.extent.start for each in by_place)
    joined: set[int] = set()
    for gap, index in sorted((gap, index) for index, gap in enumerate(gaps)):
        left -= gap
        if left < 0:
            break
        joined.add(index)
    groups: list[_Group] = []
    for index, each in enumerate(by_place):
        start, stop = each.extent.start, each.extent.stop
        last = groups[-1] if groups else None
        if last is not None and index - 1 in joined and max(stop, last.stop) - last.start <= _MAX_GROUP_BYTES:
            last.members.append(each)
            groups[-1] = last._replace(stop=max(stop, last.stop))
        else:
            groups.append(_Group(start, stop, [each]))
    return groups


# On threads.


class _Fetch:
    """A group that a thread fetches and decodes."""

    def __init__(self, plan: _Plan, group: _Group) -> None:
        self._plan = plan
        self.group = group
        self._chunks: Chunks | None = None
        self._dropped = False

    def run(self) -> list[Found]:
        data = self._read(self.group.start, self.group.stop)
        found: list[Found] = []
        for each in self._plan.decoded(self.group, data):
            if len(each) == 2:
                each = self._completed(*each, data)
            found.append(each)
        return found

    def _completed(self, wanted: _Wanted, missing: int, data: bytes) -> Found:
        """Fetch the bytes of a member after its estimated end, and decode it."""
        have = data[wanted.extent.start - self.group.start :]
        while True:
            at = wanted.extent.start + len(have)
            have += self._read(at, at + missing)
            (each,) = self._plan.decoded(_Group(wanted.extent.start, at + missing, [wanted]), have)
            if len(each) == 3:
                return each
            missing = each[1]

    def _read(self, start: int, stop: int) -> bytes:
        with closing(self._plan.remote.source.chunks(start, stop)) as chunks:
            self._chunks = chunks
            if self._dropped:
                chunks.close()
            return b"".join(chunks)

    def drop(self) -> None:
        """End the request."""
        self._dropped = True
        if self._chunks is not None:
            self._chunks.close()


def _read_on_threads(plan: _Plan) -> Generator[tuple[str | ZipInfo, bytes], None, None]:
    threads = range_threads()
    running: dict[Future[list[Found]], _Fetch] = {}
    order = _Order(plan)
    source = plan.remote.source
    try:
        while order.given < plan.count:
            with call_within(source.waiting.deadline):
                while not order.has_next:
                    while (group := plan.next_group(len(running), order.due)) is not None:
                        fetch = _Fetch(plan, group)
                        running[_submitted(threads.executor.submit, fetch.run)] = fetch
                    done, _ = wait(running, time_left(), return_when=FIRST_COMPLETED)
                    if not done:
                        raise_late(source.where, source.waiting.deadline)
                    for future in done:
                        del running[future]
                        order.add(future.result())
            yield order.take()
    finally:
        for future, fetch in running.items():
            future.cancel()
            fetch.drop()
        threads.close()


def _submitted(submit: Callable[..., Any], run: Callable[[], list[Found]]) -> Future[list[Found]]:
    """Run on a thread; or here, if no thread can be started."""
    try:
        future: Future[list[Found]] = submit(run)
    except RuntimeError:
        future = Future()
        future.set_result(run())
    return future


class _Order:
    """Complete members, in the order in which they are yielded.

    Attributes:
        given: members yielded.
    """

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self.given = 0
        self._there: dict[int, tuple[str | ZipInfo, bytes]] = {}

    @property
    def due(self) -> int | None:
        """The position that comes next; None if any may."""
        return self.given if self._plan.in_order else None

    @property
    def has_next(self) -> bool:
        return self.given in self._there if self._plan.in_order else bool(self._there)

    def add(self, found: list[Found]) -> None:
        for position, name, data in found:
            self._there[position] = name, data

    def take(self) -> tuple[str | ZipInfo, bytes]:
        position = self.given if self._plan.in_order else next(iter(self._there))
        self.given += 1
        self._plan.note_given(position)
        return self._there.pop(position)


# On an event loop.


async def read_members_async(
    archive: ZipFile,
    names: Iterable[str | ZipInfo],
    *,
    in_order: bool = True,
    max_concurrency: int = _MAX_CONCURRENCY,
    max_bytes: int = _MAX_BYTES,
) -> AsyncGenerator[tuple[str | ZipInfo, bytes], None]:
    """Like `read_members`, on an event loop. Close the generator if it is not iterated to its end (`aclosing`)."""
    check_loop()
    threads = StepThreads("reading many members")
    threads.begin()
    running: dict[asyncio.Task[list[Found]], None] = {}
    try:
        plan = await threads.run(lambda: _Plan(archive, names, in_order, max_concurrency, max_bytes))
        order = _Order(plan)
        while order.given < plan.count:
            while not order.has_next:
                while (group := plan.next_group(len(running), order.due)) is not None:
                    running[asyncio.ensure_future(_fetch_async(plan, group))] = None
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del running[task]
                    order.add(task.result())
            yield order.take()
    finally:
        for task in running:
            task.cancel()
        cancelled = [await dropped(task) for task in running]
        threads.close()
        for error in filter(None, cancelled):
            raise error


async def _fetch_async(plan: _Plan, group: _Group) -> list[Found]:
    data = await plan.remote.source.aread(group.start, group.stop)
    found: list[Found] = []
    for each in await on_thread(partial(plan.decoded, group, data), "decompressing members"):
        have = data
        while len(each) == 2:
            wanted, missing = each
            have = have[wanted.extent.start - group.start :] if have is data else have
            at = wanted.extent.start + len(have)
            have = have + await plan.remote.source.aread(at, at + missing)
            (each,) = plan.decoded(_Group(wanted.extent.start, at + missing, [wanted]), have)
        found.append(each)
    return found
