"""The CRC-32s of a layout, found by workers: threads, processes, or other machines.

Each worker gets a `Share`: the members whose data it reads. The CRC-32 of data in memory is computed by the caller,
since sending the data would take longer.
"""

from __future__ import annotations

import os
import pickle
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .._checks import typed_repr
from .._concurrency.scattered import Task, check_executor, scatter
from ..errors import EntryTypeError
from .ranges import RangeWriter

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .._writer.member_table import MemberTable

# Most members of a share, and the bytes of data from which it takes no further member.
_MOST_MEMBERS = 1 << 10
_ENOUGH = 1 << 26


def find_by_workers(writer: RangeWriter, executor: Executor, max_concurrency: int) -> None:
    """Find the CRC-32s that the table of `writer` lacks. See `ZipLayout.find_checksums`."""
    most = check_executor(executor, max_concurrency)
    table = writer.listed
    began = time.time_ns()
    with closing(scatter(executor, _shares(writer), most)) as results:
        for (first, stop), future in results:
            wanted = table.unknown(first, stop)
            try:
                found = future.result()
            except Exception as exc:
                raise_unpicklable(exc, ((table.info(index).filename, table.sources[index]) for index in wanted))
                raise
            writer.take_crcs(first, found, began)


def _shares(writer: RangeWriter) -> Iterator[tuple[tuple[int, int], Task]]:
    """Yield (index of the first member, index after the last), and the task that finds their CRC-32s."""
    table, first, count, size = writer.listed, 0, 0, 0
    for index in range(len(table)):
        if table.knows_crc(index):
            continue
        if type(table.sources[index]) is bytes or table.sources[index] is None:
            for _ in writer.find_crcs([index]):
                pass
            continue
        if not count:
            first = index
        count += 1
        size += table.info(index).file_size
        if count >= _MOST_MEMBERS or size >= _ENOUGH:
            yield (first, index + 1), Task(found_crcs, (_cut(writer, first, index + 1),))
            count = size = 0
    if count:
        yield (first, len(table)), Task(found_crcs, (_cut(writer, first, len(table)),))


def _cut(writer: RangeWriter, first: int, stop: int) -> RangeWriter:
    """Make a RangeWriter of the members from `first` to `stop`, with the sources whose CRC-32 is unknown only."""
    table = writer.listed.cut(first, stop)
    table.sources = [
        None if table.knows_crc(index) else os.path.abspath(source) if isinstance(source, str) else source
        for index, source in enumerate(table.sources)
    ]
    return RangeWriter(table, table, writer.directory, b"", writer.end_at)


def found_crcs(share: RangeWriter) -> tuple[list[int], array[int]]:
    """Return the indexes of the members of `share` that lacked a CRC-32, and their CRC-32s. Runs on the worker."""
    table: MemberTable = share.listed
    indexes = table.unknown()
    for _ in share.find_crcs(indexes):
        pass
    return indexes, array("I", (table.crcs[index] for index in indexes))


def raise_unpicklable(failure: Exception, sources: Iterable[tuple[str, Any]]) -> None:
    """Raise EntryTypeError, which names the entry, if `failure` is that one of the `sources` cannot be pickled.

    sources: the (name, source) of each entry that was to be sent.
    """
    if not isinstance(failure, pickle.PicklingError | TypeError | AttributeError) or getattr(
        failure, "__notes__", None
    ):
        return  # an error of a source has a note, which names its entry
    dumps: Callable[[Any], bytes] = pickle.dumps
    for name, source in sources:
        try:
            dumps(source)
        except Exception as exc:
            raise EntryTypeError(
                f"entry {name!r}: its source {typed_repr(source)} cannot be sent to another process ({exc}): give a "
                "path, an object of a store, or a function that can be imported there; or an executor of threads"
            ) from failure
