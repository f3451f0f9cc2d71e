"""Dates by this machine's clock, wherever that stands."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.test_zipstream import infos
from tests.compat.ways import WAYS
from zipstream_adapter.compat import zipfly64
from zipstream_adapter.compat.aiozipstream import ZipStream
from zipstream_adapter.compat.spideroak import ZipStream as SpiderOak
from zipstream_adapter.compat.zipstream import ZipFile

SEPTEMBER = 1_600_000_000  # 2020-09-13 12:26:40 UTC


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize("mtime", [0, 315_532_800, SEPTEMBER, 4_354_819_199, 5_000_000_000])
def test_a_files_date_is_what_the_clock_showed_and_the_instant(mtime: int, zone: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"F")
    os.utime(path, (mtime, mtime))
    z = ZipFile()
    z.write(path)
    fly = zipfly64.ZipFly([zipfly64.LocalFile(path, "f")])
    made = (z, ZipStream([{"file": path}]).stream(), SpiderOak(path), fly.stream())
    for data in (b"".join(chunks) for chunks in made):
        (info,) = infos(data).values()
        assert 1980 <= info.date_time[0] <= 2107
        if mtime == SEPTEMBER:
            assert info.date_time == time.localtime(mtime)[:6]
            assert info.extra == b"UT\5\0\1" + mtime.to_bytes(4, "little")


def test_a_given_date_is_kept_as_it_is(zone: str) -> None:
    z = ZipFile()
    z.writestr("a", b"A", date_time=(2001, 2, 3, 4, 5, 6))
    (info,) = infos(b"".join(z)).values()
    assert (info.date_time, info.extra) == ((2001, 2, 3, 4, 5, 6), b"")


@pytest.mark.parametrize("way", ["push", "zipstream", "zipstreamer", "zipfly64", "aiozipstream"])
def test_the_default_date_is_now_by_the_clock_and_as_an_instant(way: str, zone: str) -> None:
    before = int(time.time())
    (info,) = infos(b"".join(WAYS[way].make([("a", (chunk for chunk in [b"A"]))]))).values()
    instant = int.from_bytes(info.extra[5:9], "little")
    assert before <= instant <= time.time()
    shown = time.localtime(instant)[:6]
    assert info.date_time == (*shown[:5], shown[5] // 2 * 2)
