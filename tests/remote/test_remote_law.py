"""Whatever is read of a remote archive, in whatever order, is what stands in the archive."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from tests.support.remote_archives import Fetch, archive_of, members_of
from zipstream_adapter.remote import open_remote

SIZES = st.lists(st.sampled_from([0, 1, 200, 5_000, 70_000, 300_000]), min_size=1, max_size=8)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
# (member, where to go or None, how much to read)
STEPS = st.lists(
    st.tuples(st.integers(0, 7), st.none() | st.integers(0, 310_000), st.integers(0, 200_000)), min_size=1, max_size=25
)
WINDOWS = st.tuples(st.integers(1, 4), st.sampled_from([1 << 16, 100_000, 1 << 20]))
MOST = st.none() | st.sampled_from([999, 65_537])


@given(SIZES, METHODS, STEPS, WINDOWS, MOST)
def test_reads_and_seeks_of_interleaved_members(
    sizes: list[int],
    method: int,
    steps: list[tuple[int, int | None, int]],
    window: tuple[int, int],
    most: int | None,
) -> None:
    data = archive_of(tuple(sizes), method)
    expected = [io.BytesIO(each) for each in members_of(data).values()]
    fetch = Fetch(data, most=most)
    with open_remote(fetch, size=len(data), window=window[0], part_size=window[1]) as archive:
        members = [archive.open(name) for name in archive.namelist()]
        for number, place, size in steps:
            member, beside = members[number % len(sizes)], expected[number % len(sizes)]
            if place is not None:
                assert member.seek(place) == min(place, sizes_of(beside))
                beside.seek(min(place, sizes_of(beside)))
            assert member.read(size) == beside.read(size)
            assert member.tell() == beside.tell()
        for member, beside in zip(members, expected, strict=True):
            assert member.read() == beside.read()


def sizes_of(file: io.BytesIO) -> int:
    return len(file.getbuffer())


@given(SIZES.map(lambda sizes: sizes * 4), METHODS, st.randoms(use_true_random=False), WINDOWS, st.integers(1, 4))
def test_members_in_any_order_by_any_number_of_threads(
    sizes: list[int], method: int, order: object, window: tuple[int, int], threads: int
) -> None:
    data = archive_of(tuple(sizes), method)
    expected = members_of(data)
    names = list(expected)
    # Mostly in order, as programs read, with some out of it.
    for _ in range(3):
        first, second = order.randrange(len(names)), order.randrange(len(names))  # type: ignore[attr-defined]
        names[first], names[second] = names[second], names[first]
    fetch = Fetch(data)
    with (
        open_remote(fetch, size=len(data), window=window[0], part_size=window[1]) as archive,
        ThreadPoolExecutor(threads) as pool,
    ):
        assert dict(zip(names, pool.map(archive.read, names), strict=True)) == expected
